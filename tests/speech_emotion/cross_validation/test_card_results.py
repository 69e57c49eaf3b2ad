"""The card of a trained model: it shows the cross-validation of its own recipe, and of no other."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from speech_emotion.cli.main import main as ser
from speech_emotion.cross_validation.card_results import command, fill_card, recipe_differences
from speech_emotion.cross_validation.neural_system import parse_overrides
from speech_emotion.cross_validation.report import Report
from speech_emotion.cross_validation.report_table import mean_sd
from speech_emotion.cross_validation.score_table import gather_systems, pooled_metrics
from speech_emotion.cross_validation.systems import get_system
from speech_emotion.training.arguments import ModelArguments
from speech_emotion.training.card import RunReport, SplitReport, model_card
from speech_emotion.training.run_record import training_settings
from speech_emotion.training.training_arguments import SERTrainingArguments
from tests.speech_emotion.cross_validation.simulated_scores import LABELS, all_folds, save_all

PART = SplitReport(9, ["s1"], {"wa": 0.5, "ua": 0.5, "macro_f1": 0.5, "weighted_f1": 0.5}, [[1, 1, 1]] * 3)


def report_of(**arguments: object) -> RunReport:
    """What a run of train.py tells of itself."""
    training = training_settings(SERTrainingArguments(output_dir="unused", use_cpu=True))
    texts = dict.fromkeys(("title", "homepage", "corpus_license", "citation", "language", "fold"), "a text")
    return RunReport(
        **texts, corpus="emodb", labels=list(LABELS), streams=["mel"], seed=0, epochs=3.0, parameters=9,
        train=SplitReport(9, ["s0"]), validation=PART, test=PART, versions={},
        arguments=vars(ModelArguments()) | training | arguments,
    )  # fmt: skip


def write_run(folder: Path, report: RunReport) -> Path:
    folder.mkdir()
    fields = {name: vars(value) if isinstance(value, SplitReport) else value for name, value in vars(report).items()}
    (folder / "results.json").write_text(json.dumps(fields))
    (folder / "README.md").write_text(str(model_card(report, "you/emotions", "abc123")))
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    entries = []
    for name in ("model-1", "model-1-ensemble"):
        system = get_system(name)
        features = system.make_extractor().to_dict()
        about = {"settings": {"system": system.settings(), "features": features}, "encoders": {}}
        entries += all_folds(name, (0, 1, 2), corpus="emodb", about=about)
    entries += all_folds("opensmile-compare-svm", corpus="emodb", about={"settings": {"system": {"kind": "svm"}}})
    entries += all_folds("model-2", corpus="emodb")[:-4]
    return save_all(entries, tmp_path_factory.mktemp("results"))


@pytest.fixture
def show(results: Path, capsys: pytest.CaptureFixture) -> Callable[[Path, str], tuple[int, str]]:
    def run(folder: Path, system: str) -> tuple[int, str]:
        code = ser(["report", "--results", str(results), "--card", str(folder), "--system", system])
        return code, capsys.readouterr().err

    return run


def test_a_card_without_a_cross_validation_shows_none(tmp_path: Path) -> None:
    text = (write_run(tmp_path / "run", report_of()) / "README.md").read_text()
    assert "<!-- cross-validation:start -->\n<!-- cross-validation:end -->\n" in text
    assert "Cross-validation" not in text and "{{" not in text


def test_figures_of_shared_speakers_are_on_no_card(tmp_path: Path) -> None:
    about = {"settings": {"condition": {"given": "Somebody", "shares_speakers": True}}}
    results = save_all(all_folds("model-1", corpus="emodb", about=about), tmp_path / "results")
    with pytest.raises(ValueError, match="share speakers"):
        fill_card(write_run(tmp_path / "run", report_of()), results, "model-1")


def test_a_card_shows_its_recipes_cross_validation(results: Path, tmp_path: Path, show: Callable) -> None:
    run = write_run(tmp_path / "run", report_of())
    before = (run / "README.md").read_text()
    assert show(run, "model-1") == (0, "")
    text = (run / "README.md").read_text()
    (system,) = [one for one in Report().read(results)["emodb"] if one.system == "model-1"]
    ua = mean_sd(pooled_metrics(system.test)["ua"])
    assert f"| {100 * ua.mean:.1f} ± {100 * ua.sd:.1f} |" in text and text.count("| 3 | 3 |") == 1
    assert "of 9 others" in text and "EmoDB" in text.partition("Not of these weights")[2][:200]
    assert 'revision="abc123"' in text  # of a card from the Hub everything else stays
    head, tail = before.split("<!-- cross-validation:start -->\n")
    assert text.startswith(head) and text.endswith(tail)
    assert show(run, "model-1") == (0, "") and (run / "README.md").read_text() == text


@pytest.mark.parametrize(
    ("changed", "system", "message"),
    [
        ({"hidden_size": 64}, "model-1", "hidden_size is 128 there and 64 here"),
        ({"learning_rate": 0.1}, "model-1", "learning_rate is 0.001 there and 0.1 here"),
        ({"world_size": 2}, "model-1", "per_device_train_batch_size is 16 there and 32 here"),
        ({"win_length": 2048}, "model-1", "win_length is 400 there and 2048 here"),
        ({"model_name_or_path": "you/start"}, "model-1", "model_name_or_path is null there and \"you/start\" here"),
        ({"load_best_model_at_end": False}, "model-1", "load_best_model_at_end is true there and false here"),
        ({}, "model-1-ensemble", "imbalance is \"ensemble\" there"),
        ({}, "opensmile-compare-svm", "train.py"),
        ({}, "model-2", "complete there: model-1, model-1-ensemble"),
    ],
)  # fmt: skip
def test_another_recipe_is_refused(
    tmp_path: Path, show: Callable, changed: dict[str, object], system: str, message: str
) -> None:
    run = write_run(tmp_path / "run", report_of(**changed))
    before = (run / "README.md").read_text()
    code, error = show(run, system)
    assert code == 1 and message in error
    assert (run / "README.md").read_text() == before


def test_another_layer_of_an_encoder_is_another_recipe() -> None:
    system, run = get_system("model-2"), {"streams": ["deepspeech"], "encoder_layer": 2}
    features = system.make_extractor().to_dict()
    about = {"settings": {"system": system.settings(), "features": features}}
    about["encoders"] = {"deepspeech": "deepspeech-small"}
    assert list(recipe_differences(report_of(**run).arguments, about)) == ["encoder_layer is 5 there and 2 here"]
    for layer in (None, 5):
        assert not list(recipe_differences(report_of(**run | {"encoder_layer": layer}).arguments, about))
    about["settings"]["system"] |= {"encoder_weights": "shuffled"}
    (told,) = recipe_differences(report_of(**run | {"encoder_layer": 5}).arguments, about)
    assert "encoder_weights" in told


def test_other_emotions_and_cards_without_a_place_are_refused(tmp_path: Path, show: Callable) -> None:
    run = write_run(tmp_path / "run", replace(report_of(), labels=["anger", "fear", "joy"]))
    assert "not of the same task" in show(run, "model-1")[1]
    run = write_run(tmp_path / "old", report_of())
    (run / "README.md").write_text("# An older card\n")
    assert "exactly one line <!-- cross-validation:start -->, and has 0" in show(run, "model-1")[1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--corpus", "emodb"], "--corpus is of --card"),
        (["--card", "run"], "--system"),
        (["--card", "run", "--system", "model-1", "--scores-jsonl", "scores.jsonl"], "--scores-jsonl"),
    ],
)
def test_ignored_words_are_refused(words: list[str], named: str, capsys: pytest.CaptureFixture) -> None:
    assert ser(["report", *words]) == 1
    assert named in capsys.readouterr().err


def test_the_card_says_by_which_command_its_recipe_is_cross_validated() -> None:
    def told(name: str, changes: dict[str, Any], **arguments: object) -> list[str]:
        about = {"settings": {"system": get_system(name, changes).settings()}}
        (system,) = gather_systems(all_folds(name, corpus="emodb", about=about))
        return shlex.split(command(system, report_of(**changes | arguments).arguments))

    start = ["python", "cross_validate.py", "--corpora", "emodb", "--systems"]
    assert told("model-1", {}) == [*start, "model-1", "--seeds", "0", "1"]
    changes = {"hidden_size": 64, "attention_dropout": 0.0, "max_steps": 800}
    words = told("model-2", changes, encoder="you/words", encoder_layer=4, win_length=2048)
    assert words[5:8] == ["model-2", "--seeds", "0"] and words[-2:] == ["--encoder", "you/words"]
    assert parse_overrides(words[words.index("--set") + 1 : -2]) == changes | {
        "win_length": 2048,
        "encoder_layer": [4],
    }
    layers = {"streams": ["encoder"], "encoder": "whisper-base", "encoder_layer": [2, 3, 4, 5]}
    assert told("model-2-whisper", {}, **layers) == [*start, "model-2-whisper", "--seeds", "0", "1"]
    words = told("model-2-whisper", {}, **layers | {"encoder_layer": [1, 2]})
    assert words[-2:] == ["--set", "encoder_layer=1,2"] and parse_overrides(words[-1:]) == {"encoder_layer": [1, 2]}
