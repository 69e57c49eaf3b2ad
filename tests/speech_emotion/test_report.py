"""Tables from score files: what they say, what they mark as missing, and that they never change by themselves."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reproduction.claim_sentences import beside_sentences
from reproduction.claims import Finding, claim_outcome, evaluate_claims, judge
from reproduction.paper_figures import published_difference
from reproduction.planned_comparisons import BEST, CLAIMS, LITTLE, OURS, PLANNED, SECOND, THIRD, Comparison
from reproduction.recomputing import commands, encoders_note, overrides, settings_text
from reproduction.report import write_report
from speech_emotion.cross_validation.neural_arguments import parse_overrides
from speech_emotion.cross_validation.registry import get_system
from speech_emotion.cross_validation.score_table import SystemScores, gather_systems
from speech_emotion.cross_validation.titles import system_title
from speech_emotion.evaluation.intervals import Estimate
from tests.speech_emotion.cross_validation.simulated_scores import all_folds, save_all


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of two complete systems and one without a complete seed, on two conditions."""
    entries = []
    for corpus in ("ased-own", "iemocap-scripted"):
        entries += all_folds("model-1", corpus=corpus, quality=0.2)
        entries += all_folds("model-2", corpus=corpus, quality=4.0)
    entries += all_folds("model-3", seeds=(0,), corpus="ased-own")[:2]
    return save_all(entries, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def report(results: Path) -> Path:
    output = results.parent / "new" / "tables"
    written = write_report(results, output)
    names = ("ased-own", "iemocap-scripted", "claims")
    assert written == [output / f"{name}.{kind}" for name in names for kind in ("md", "csv", "tex")]
    assert sorted(output.iterdir()) == sorted(written)
    return output


def test_the_papers_figures_stand_beside_ours_for_iemocap_only(report: Path) -> None:
    text = (report / "iemocap-scripted.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| Model-2 (linguistic) |") and "| 60.4 |" in line]
    assert row.endswith("| 68.6 | 60.4 |")
    (row,) = [line for line in text.splitlines() if line.startswith("| Model-3 (fusion) |")]
    assert row.endswith("| not computed | 67.1 | 59.0 |") and row.count("–") == 7
    assert "in the paper, %" not in (report / "ased-own.md").read_text()
    assert published_difference("iemocap-both", "model-3", "model-1", "ua") == pytest.approx(0.0286)
    assert published_difference("iemocap-improvised", "model-1-ensemble", "model-1", "wa") == pytest.approx(-0.0203)
    assert published_difference("emodb", "model-1", "model-2", "ua") is None


def test_the_command_computes_what_is_there_and_what_is_missing(report: Path) -> None:
    command = "python cross_validate.py --corpora ased-own --systems model-1 model-2 model-3 --seeds 0 1"
    assert f"```sh\n{command}\n```" in (report / "ased-own.md").read_text()
    assert (report / "ased-own.tex").read_text().startswith(f"% {command}\n")


def test_conditions_with_other_systems_have_commands_of_their_own() -> None:
    of_condition = {
        corpus: gather_systems([entry for name in names for entry in all_folds(name, corpus=corpus)])
        for corpus, names in (("one", ["a"]), ("two", ["a", "b"]), ("three", ["a"]))
    }
    assert commands([system for systems in of_condition.values() for system in systems]) == [
        "python cross_validate.py --corpora one three --systems a --seeds 0 1",
        "python cross_validate.py --corpora two --systems a b --seeds 0 1",
    ]


def test_commands_say_how_the_models_were_trained() -> None:
    entries = []
    for name in ("model-1", "model-2", "model-1-best"):
        settings = get_system(name, {"hidden_size": 16, "attention_dropout": 0.0, "max_steps": 800}).settings()
        encoders = {"deepspeech": "deepspeech-0.4.1" if name == "model-2" else "deepspeech-small"}
        entries += all_folds(name, about={"settings": {"system": settings}, "encoders": encoders})
    entries += all_folds("plain", about={"settings": {"system": {"kind": "svm"}}})
    systems = {system.system: system for system in gather_systems(entries)}
    start = "python cross_validate.py --corpora toy --systems"
    compact = "--set hidden_size=16 attention_dropout=0 max_steps=800"
    assert commands([systems["model-1"], systems["model-1-best"]])[0].startswith(
        f"{start} model-1 --seeds 0 1 {compact}"
    )
    assert commands([systems["model-2"]]) == [f"{start} model-2 --seeds 0 1 {compact} --encoder deepspeech-0.4.1"]
    assert commands([systems["plain"]]) == [f"{start} plain --seeds 0 1"]
    assert settings_text([systems["model-1"], systems["plain"]]) == (
        f"Trained with `{compact}`, instead of `hidden_size=128 attention_dropout=0.1 max_steps=-1`: "
        "Model-1 (acoustic)."
    )
    # The words give back the settings.
    words = compact.split()[1:]
    assert get_system("model-1", parse_overrides(words)).settings() == settings_of(systems["model-1"])
    assert settings_text([systems["plain"]]) == ""


def test_commands_say_of_what_window_and_layer_features_were() -> None:
    def command(features: dict[str, Any], **about: Any) -> str:
        system = get_system("model-2").settings()
        facts = {"settings": {"system": system, "features": features}, "encoders": {"deepspeech": "deepspeech-small"}}
        return commands(gather_systems(all_folds("model-2", (0,), about=facts | about)))[0].partition(" --set ")[2]

    usual = {"win_length": 400, "encoders": {"deepspeech": {"layer": 5}}}
    assert command(usual) == ""
    assert command(usual | {"win_length": 2048}) == "win_length=2048"
    other = {"win_length": 400, "encoders": {"deepspeech": {"layer": 2}}}
    assert command(other) == "encoder_layer=2"
    words = {"encoders": {"deepspeech": "you/words"}}
    assert command(usual, **words) == "encoder_layer=5 --encoder you/words"
    # A model that folds start from brings features and encoder with it.
    assert command(other, **words, starts_from="you/start") == "model_name_or_path=you/start"
    assert overrides({"model": {"stem_channels": [16]}, "training": {}}, {"model": {}, "training": {}}) == {
        "stem_channels": "16"
    }


def test_pages_say_which_network_hears_words() -> None:
    def note(*names: str) -> str:
        systems = []
        for name in names:
            about = {"encoders": {"deepspeech": name}}
            systems += gather_systems(all_folds("model-2", (0,), corpus=name.replace("/", "-"), about=about))
        return encoders_note(systems)

    assert encoders_note(gather_systems(all_folds("model-1"))) == ""
    assert note("deepspeech-small").endswith("learned from 2.3 hours of English, not the paper's.")
    assert note("you/words", "deepspeech-0.4.1") == "Models 2 and 3 hear through deepspeech-0.4.1 or you/words."


def test_a_claim_is_not_tested_by_systems_that_were_trained_otherwise() -> None:
    def finding(**changes: int) -> Finding:
        systems = []
        for name, changed in (("model-1-ensemble", {}), ("model-1", changes)):
            about = {"settings": {"system": get_system(name, changed).settings()}}
            systems += gather_systems(all_folds(name, corpus="ased-imbalanced", about=about))
        return next(one for one in evaluate_claims({"ased-imbalanced": systems}) if one.comparison.name == "4, UA")

    assert finding().difference is not None
    other = finding(hidden_size=64)
    assert other.outcome == "not run" and other.difference is None
    assert other.reason == "trained otherwise: model.hidden_size is 128 there and 64 here"


def settings_of(system: SystemScores) -> dict[str, Any]:
    return system.parts[0, 0].about["settings"]["system"]


def test_titles() -> None:
    assert system_title("model-3-late") == "Model-3 (late fusion)"
    assert system_title("model-1-ensemble-best") == "Model-1 (acoustic), downsampling + ensembling, best recipe"
    assert system_title("satt-2017") == "Satt et al. 2017 (reduced)"
    assert system_title("satt-2017-permuted") == "Satt et al. 2017 (reduced), labels permuted (control)"
    assert system_title("mine-best") == "mine-best"


@pytest.mark.parametrize(
    ("expected", "low", "high", "outcome"),
    [
        ("higher", 0.001, 0.05, "supported"),
        ("higher", -0.05, -0.001, "contradicted"),
        ("higher", 0.0, 0.05, "not decided"),
        ("lower", -0.05, -0.001, "supported"),
        ("lower", 0.001, 0.05, "contradicted"),
        ("lower", -0.01, 0.01, "not decided"),
        ("little", -0.02, 0.02, "supported"),
        ("little", 0.005, 0.015, "supported"),
        ("little", 0.021, 0.05, "contradicted"),
        ("little", -0.05, -0.021, "contradicted"),
        ("little", -0.03, 0.01, "not decided"),
    ],
)
def test_outcomes_follow_the_stated_rule(expected: str, low: float, high: float, outcome: str) -> None:
    assert judge(expected, Estimate((low + high) / 2, low, high)) == outcome


def test_a_clear_difference_is_found_and_corrected_within_its_family() -> None:
    seen = Comparison("a", "2", "family", "toy", "good", "bad", "ua", "higher")
    planned = [
        seen,
        Comparison("b", "3", "family", "toy", "bad", "good", "ua", "higher"),
        Comparison("c", "3", "family", "elsewhere", "good", "bad", "ua", "higher"),
        Comparison("d", "1", "family", "toy", "good", "bad", "ua", "little"),
        Comparison("e", "4", "another", "toy", "good", "bad", "wa", "lower"),
    ]
    systems = gather_systems(all_folds("good", quality=5.0, speakers=9) + all_folds("bad", quality=0.0, speakers=9))
    findings = evaluate_claims({"toy": systems}, planned)
    outcomes = ["supported", "contradicted", "not run", "contradicted", "contradicted"]
    assert [finding.outcome for finding in findings] == outcomes
    first = findings[0]
    assert first.wilcoxon == pytest.approx(2 / 2**9) and first.seeds == (2, 2) and first.speakers == 9
    # Three planned differences in the family, of which one was not run; equality has no part in the correction.
    assert first.holm == pytest.approx(3 * first.wilcoxon) == findings[1].holm
    assert findings[3].holm is None and findings[4].holm == findings[4].wilcoxon
    assert first.difference.value == -findings[1].difference.value
    assert first.clips.only_first > first.clips.only_second == findings[1].clips.only_first
    assert claim_outcome(findings[:1]) == "supported"
    assert claim_outcome(findings[1:3]) == "contradicted" and claim_outcome([first, findings[2]]) == "not run"
    with pytest.raises(ValueError, match="no outcome"):
        claim_outcome([])


def test_one_speaker_decides_nothing() -> None:
    systems = gather_systems(all_folds("good", speakers=1) + all_folds("bad", speakers=1))
    (finding,) = evaluate_claims({"toy": systems}, [Comparison("a", "2", "f", "toy", "good", "bad", "ua", "higher")])
    assert (finding.outcome, finding.reason) == ("not run", "fewer than 2 known speakers")


def test_controls_are_told_beside_the_claims_that_they_are_of() -> None:
    entries = {"ased": ["model-1", "model-1-ensemble"], "ased-imbalanced": ["model-1", "model-1-average"]}
    (plain,) = beside_sentences(_simulated(entries))
    assert plain.startswith("- Beside claim 4, neither planned") and "control" not in plain

    entries["emodb"] = ["model-2", "model-2-shuffled"]
    entries["ased-imbalanced"].append("model-1-ensemble")
    of_2, again, of_4 = beside_sentences(_simulated(entries))
    assert again == plain
    what = "Model-2 (linguistic) − Model-2 (linguistic), DeepSpeech's weights shuffled (control) on EmoDB"
    assert re.search(re.escape(what) + r" [+−]\d+\.\d points \[.*\]; provisional, of 2 and 2 seeds\.$", of_2)
    average = "Model-1 (acoustic), average of 3 networks"
    assert f"on ASED, imbalanced: {average} − Model-1 (acoustic): UA " in of_4
    assert of_4.count(f"Model-1 (acoustic), downsampling + ensembling − {average}: ") == 2  # UA and WA


def _simulated(names: dict[str, list[str]]) -> dict[str, list[SystemScores]]:
    return {
        corpus: gather_systems([entry for name in systems for entry in all_folds(name, corpus=corpus)])
        for corpus, systems in names.items()
    }


def test_the_plan_is_whole() -> None:
    assert {comparison.claim for comparison in PLANNED} == set(CLAIMS) == {"1", "2", "2b", "3", "4", *OURS}
    assert len({(one.family, one.name) for one in PLANNED}) == len(PLANNED) == 23
    assert {one.family for one in PLANNED} == {"acted corpora", "IEMOCAP"}
    assert (BEST, SECOND, THIRD) == ("model-1-best", "model-3-functionals", "model-1-average-best")
    for comparison in PLANNED:
        if comparison.paper_condition:
            names = (comparison.first, comparison.second, comparison.metric)
            difference = published_difference(comparison.paper_condition, *names)
            if comparison.expected == "little":
                assert abs(difference) <= LITTLE
            else:
                assert np.sign(difference) == {"higher": 1, "lower": -1}[comparison.expected]


def test_claims_are_in_plain_words(report: Path) -> None:
    text = (report / "claims.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| 2 |") and "| ASED, own sentences |" in line][:1]
    assert row.startswith("| 2 | Where the words go with the emotion") and row.endswith("| supported | 2: supported |")
    assert "Model-1 hears the words too" in text
