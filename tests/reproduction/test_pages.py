"""Pages and the README's table: their numbers are those of the scores, and what lacks folds never passes for whole."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from reproduction.__main__ import main
from reproduction.plan import read_plan
from reproduction.report import REGION, PaperReport
from reproduction.study_results import judge_heads, read_heads, read_layers
from reproduction.systems import system_title
from speech_emotion.cross_validation.score_table import find_system, pooled_metrics
from speech_emotion.marked_region import read_region, replace_region
from tests.speech_emotion.cross_validation.simulated_scores import all_folds, save_all
from tests.subprocess_tools import PROJECT_ROOT

MARKS = "# Title\n\n<!-- results:start -->\n<!-- results:end -->\n\nThe rest.\n"
NUMBER = re.compile(r"[−-]?\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EmoDB: one whole system, one that lacks a fold of a seed, one without a whole seed. RAVDESS: one seed only."""
    entries = all_folds("model-1-best", (0, 1, 2), corpus="emodb", quality=5.0, speakers=9)
    entries += all_folds("opensmile-compare-svm", (0, 1, 2), corpus="emodb", quality=0.5, speakers=9)[:-1]
    entries += [one for one in all_folds("model-1", (0, 1, 2), corpus="emodb", speakers=9) if one.fold]
    entries += all_folds("model-1", (0,), corpus="ravdess")
    return save_all(entries, tmp_path_factory.mktemp("project") / "results")


def read_report(results: Path) -> PaperReport:
    report = PaperReport()
    report.read(results)
    return report


@pytest.fixture(scope="module")
def report(results: Path) -> PaperReport:
    return read_report(results)


def cell_of(table: str, title: str, place: int) -> str:
    """The cell of a system in the column of that number, 1 for the first condition."""
    (row,) = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith(f"| {title} |")]
    return row[place].strip() if place < len(row) else ""


def figures(report: PaperReport, condition: str, name: str) -> list[float]:
    """UA and WA of a system in %, each with its SD over seeds."""
    system = find_system(report.gathered.get(condition, ()), name)
    if system is None:
        return []
    metrics = [100 * pooled_metrics(system.test)[metric] for metric in ("ua", "wa")]
    return [value for metric in metrics for value in (np.mean(metric), np.std(metric, ddof=1))]


def test_a_table_tells_whole_systems_from_partial_ones(report: PaperReport) -> None:
    table = report.table(["emodb", "ravdess"], ["model-1", "model-1-best", "opensmile-compare-svm"])
    whole = cell_of(table, system_title("model-1-best"), 1)
    expected = pytest.approx(figures(report, "emodb", "model-1-best"), abs=0.051)
    assert [float(number) for number in NUMBER.findall(whole)] == expected
    # The figures of two whole seeds: the third seed's other folds have no part in them.
    partial = cell_of(table, system_title("opensmile-compare-svm"), 1)
    assert partial.endswith("**partial**") and find_system(
        report.gathered["emodb"], "opensmile-compare-svm"
    ).seeds == [0, 1]
    expected = pytest.approx(figures(report, "emodb", "opensmile-compare-svm"), abs=0.051)
    assert [float(number) for number in NUMBER.findall(partial)] == expected
    assert cell_of(table, system_title("model-1"), 1) == "**partial**"
    one_seed = cell_of(table, system_title("model-1"), 2)
    assert "±" not in one_seed and one_seed.endswith("**partial**")  # though no file tells of other seeds
    assert cell_of(table, system_title("model-1-best"), 2) == ""
    assert NUMBER.findall(cell_of(table, "chance", 1)) == ["33.3", "3"]


def test_what_is_missing_is_told_by_the_plan(tmp_path: Path) -> None:
    entries = all_folds("model-2-whisper", (0, 1), corpus="emodb")
    entries += all_folds("unknown", (0,), corpus="emodb") + all_folds("model-2-whisper-top-2", (0,), corpus="ravdess")
    gathered = read_report(save_all(entries, tmp_path)).gathered
    frozen, unknown = (find_system(gathered["emodb"], name) for name in ("model-2-whisper", "unknown"))
    trained = find_system(gathered["ravdess"], "model-2-whisper-top-2")
    assert frozen.planned_seeds == [0, 1, 2] and frozen.missing_text.startswith("seeds 2: folds 0")
    assert trained.planned_seeds == [0] and not trained.missing  # the plan has one seed for it
    assert unknown.planned_seeds == [0, 1]  # not in the plan: all seeds that any system has


def test_the_readme_has_one_short_table_with_the_numbers_of_the_scores(of_today: PaperReport) -> None:
    plan, region = read_plan(), read_region(PROJECT_ROOT / "README.md", REGION)
    assert (
        len([line for line in region.splitlines() if line.startswith("|")]) == 2 + 1 + len(plan.readme_systems) <= 10
    )
    for name in plan.readme_systems:
        for place, condition in enumerate(plan.readme_conditions, 1):
            told = [float(number) for number in NUMBER.findall(cell_of(region, system_title(name), place))]
            known = [figure for figure in figures(of_today, condition, name) if figure == figure]  # one seed: no SD
            assert told == pytest.approx(known, abs=0.051), (name, condition)
    for link in re.findall(r"\]\((.*?)\)", region):
        assert (PROJECT_ROOT / link).is_file(), link


def test_the_pages_have_the_numbers_of_the_scores(of_today: PaperReport, tmp_path: Path) -> None:
    written = {path.name for path in of_today.write(PROJECT_ROOT / "results", tmp_path) if path.suffix == ".md"}
    assert {path.name for path in (PROJECT_ROOT / "results").glob("*.md")} == written
    for name in written:
        texts = [(folder / name).read_text(encoding="utf-8") for folder in (PROJECT_ROOT / "results", tmp_path)]
        assert_same_numbers(*texts, name)


def assert_same_numbers(text: str, other: str, name: str) -> None:
    """Whole numbers are equal; fractions may differ by one in their last place on other machines."""
    numbers, others = (NUMBER.findall(re.sub(r"\]\(.*?\)", "]", one)) for one in (text, other))  # links left out
    assert len(numbers) == len(others), f"run `make report` and commit {name}"
    for one, two in zip(numbers, others, strict=True):
        unit = 10.0 ** -len(one.partition(".")[2]) if "." in one else 0.0
        values = [float(number.replace("−", "-")) for number in (one, two)]
        assert abs(values[0] - values[1]) <= 1.5 * unit, f"{one} or {two}: run `make report` and commit {name}"


def test_claims_and_aims_tell_what_was_not_run(report: PaperReport, results: Path, tmp_path: Path) -> None:
    facts = report.claim_facts(results)
    assert (facts["carried_out"], facts["planned"]) == (1, 15)
    assert facts["left_out"] == ["IEMOCAP", "acted corpora, other ears"]
    (best,) = facts["ours"]["run"]
    assert best["claim"].name == "best" and best["outcome"] == "not run"
    assert {one.outcome for one in best["findings"]} == {"supported", "not run"}
    not_run = {family: [one.name for one in claims] for family, claims in facts["paper"]["not_run"].items()}
    assert (
        facts["paper"]["run"] == []
        and list(not_run.values()) == [["1", "2", "2b", "3", "4"]] * 2 + [["1", "2", "2b", "3"]] * 2
    )
    first, other, *_ = facts["aims"]
    assert (first["condition"], other["condition"]) == ("emodb", "ravdess") and other["reached"] is None
    assert first["reached"].mean == pytest.approx(figures(report, "emodb", "model-1-best")[0] / 100)
    # What a later try missed is told even if the first was not computed.
    later = read_report(save_all(all_folds("model-3-functionals", (0, 1, 2), corpus="emodb"), tmp_path))
    first, second, *_ = later.claim_facts(tmp_path)["aims"]
    assert first["reached"] is None and second["system"] == "model-3-functionals" and second["seeds"] == 3


def test_what_stands_beside_the_claims_is_told_where_it_was_computed(tmp_path: Path) -> None:
    systems = {"ased": ["model-1", "model-1-ensemble"], "emodb": ["model-2", "model-2-shuffled"]}
    entries = [
        entry for corpus, names in systems.items() for name in names for entry in all_folds(name, corpus=corpus)
    ]
    beside = read_report(save_all(entries, tmp_path)).claim_facts(tmp_path)["beside"]
    assert {name: len(findings) for name, findings in beside.items() if findings} == {"learned": 1, "equal-classes": 2}


def test_the_papers_figures_stand_beside_ours_for_iemocap_only(tmp_path: Path) -> None:
    entries = [entry for name in ("ased-own", "iemocap-scripted") for entry in all_folds("model-2", corpus=name)]
    PaperReport().write(save_all(entries, tmp_path / "results"), tmp_path)
    rows = list(csv.DictReader((tmp_path / "iemocap-scripted.csv").open()))
    published = {row["row"]: float(row["value"]) for row in rows if row["column"] == "paper_ua"}
    assert published == {"model-1": 0.5273, "model-2": 0.6037, "model-3": 0.5902}  # computed by us or not
    assert "paper_ua" not in (tmp_path / "ased-own.csv").read_text()


def test_pages_name_the_networks_of_the_linguistic_stream(tmp_path: Path) -> None:
    entries = []
    for corpus, encoder in (("emodb", "you/words"), ("ravdess", "deepspeech-0.4.1"), ("ased", None)):
        about = {"encoders": {"deepspeech": encoder} if encoder else {}}
        entries += all_folds("model-2", (0,), corpus=corpus, about=about)
    assert read_report(save_all(entries, tmp_path)).encoder_names() == ["deepspeech-0.4.1", "you/words"]


def head_study(corpus: str, folder: Path, lead: list[float], correlation: list[float]) -> Path:
    heads = [{"importance": {"value": value}, "ua_change": {"value": value}} for value in (0.1, -0.2, -0.3)]
    pooled = {"lead": lead, "correlation": correlation, "models": 6, "speakers": 24}
    path = folder / "heads" / corpus / "heads.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"pooled": pooled, "models": [{"heads": heads}]}))
    return path


def test_claim_5_is_judged_by_both_halves_on_both_corpora(tmp_path: Path) -> None:
    assert judge_heads(read_heads(tmp_path)) == "not run"
    head_study("emodb", tmp_path, [0.2, 0.1, 0.3], [0.1, 0.05, 0.15])
    assert judge_heads(read_heads(tmp_path)) == "not run"
    path = head_study("ravdess", tmp_path, [0.2, 0.1, 0.3], [0.03, 0.004, 0.06])
    found = read_heads(tmp_path)
    assert judge_heads(found) == "supported"
    assert (found["emodb"].heads, found["emodb"].lowering_ua, found["emodb"].raising_truth) == (3, 2, 2)
    head_study("ravdess", tmp_path, [0.2, -0.1, 0.3], [0.03, 0.004, 0.06])
    assert judge_heads(read_heads(tmp_path)) == "not decided"
    for damaged in ('[{"model": "a"}]', '{"pooled": null}', '{"pooled": {"lead": [1, 1], "correlation": [1, 1, 1]}}'):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=r"heads\.json"):
            read_heads(tmp_path)


def test_layer_studies_are_read_as_they_were_written_and_have_a_page(results: Path, tmp_path: Path) -> None:
    assert read_layers(tmp_path) == {}
    quantities = {
        "plain r, two emotions": {"MFCC": 0.3, "1": 0.7, "2": 0.6},
        "probe of the emotion, ravdess": {"MFCC": 0.31, "1": 0.402, "2": 0.39},
        "probe of the sentence, ravdess": {"MFCC": 0.5, "1": 0.6, "2": 0.7},
        "centered effect of the emotion": {"MFCC": 0.05, "1": 0.01, "2": -0.002},
        "centered effect of the sentence": {"MFCC": 0.0, "1": 0.1, "2": 0.3},
        "centered effect of the speaker": {"MFCC": 0.2, "1": 0.1, "2": 0.3},
    }
    numbers = [
        {"layer": layer, "quantity": quantity, "estimate": value, "low": value - 0.01, "high": value + 0.01}
        for quantity, values in quantities.items()
        for layer, value in values.items()
    ]
    probe = {"emotion": ["fear", "anger"], "sentence": ["01", "02"], "clips": 1439, "folds": 6, "speakers": 24}
    correlated = {"corpus": "ravdess", "labels": ["fear"], "intensity": "normal", "clips": 480, "frames": 50}
    facts = {"model_type": "deepspeech", "hidden_size": 8, "correlated": correlated, "probes": {"ravdess": probe}}
    path = tmp_path / "layers" / "small" / "layers.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"encoder": "small", **facts, "layers": numbers}))
    (found,) = read_layers(tmp_path).values()
    assert found.layers["1"]["emotion, ravdess"] == pytest.approx((0.402, 0.392, 0.412))
    assert (found.best["emotion, ravdess"], found.best["sentence"], found.best["emotion"]) == ("1", "2", "MFCC")
    assert (found.least, found.as_on_slides) == (["1", "2"], False)
    save_all(all_folds("model-1", corpus="emodb"), tmp_path)
    read_report(tmp_path).write(tmp_path, tmp_path)
    text = (tmp_path / "layers.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["layer", "---", "MFCC", "1", "2"] and {len(row) for row in rows} == {6}
    assert NUMBER.findall(rows[3][1]) == ["40.2", "39.2", "41.2"]
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"layers\.json"):
        read_layers(tmp_path)


def test_the_command_writes_pages_and_fills_the_readme(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = results.parent / "README.md"
    readme.write_text(MARKS)
    words = ["report", "--results", str(results), "--readme", str(readme)]
    assert main(words) == 0
    tables = [results / f"{name}.{kind}" for name in ("emodb", "ravdess", "claims") for kind in ("md", "csv", "tex")]
    assert capsys.readouterr().out.splitlines() == [*map(str, tables), str(results / "README.md"), str(readme)]
    text = readme.read_text()
    assert text == replace_region(MARKS, REGION, read_region(readme, REGION)) != MARKS
    assert main(words) == 0 and readme.read_text() == text
    assert not list(results.parent.rglob("*.partial"))
    for link in re.findall(r"\]\((?!http)([^)#]*)\)", (results / "README.md").read_text()):
        assert (results / link).is_file(), link


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Title\n", "start -->, and has 0"),
        ("<!-- results:start -->\n", "end -->, and has 0"),
        (MARKS + MARKS, "start -->, and has 2"),
        ("<!-- results:end -->\n<!-- results:start -->\n", "before the start"),
    ],
)
def test_a_readme_without_its_marks_is_refused_before_anything_is_written(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    assert main(["report", "--results", str(results), "--tables", str(tmp_path / "t"), "--readme", str(readme)]) == 1
    error = capsys.readouterr().err
    assert str(readme) in error and message in error
    assert readme.read_text() == text and list(tmp_path.iterdir()) == [readme]


def test_new_folds_are_packed_first(results: Path, tmp_path: Path) -> None:
    folds = save_all(all_folds("model-1", (0,), corpus="ravdess"), tmp_path / "folds")
    packed = tmp_path / "results"
    packed.mkdir()
    assert main(["report", "--results", str(packed), "--pack", str(folds)]) == 0
    assert {path.name for path in packed.glob("*.parquet")} == {"ravdess.parquet", "runs.parquet"}
    assert not list(folds.rglob("*.parquet")) and (packed / "ravdess.md").is_file()


def test_what_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "typo"):
        assert main(["report", "--results", str(folder)]) == 1
        assert str(folder) in capsys.readouterr().err
    assert main(["run", "--conditions", "emodbb"]) == 1
    assert main(["heads", "--model", "a"]) == 1


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_git_keeps_pages_and_scores_only() -> None:
    names = ["results.jsonl", "emodb.csv", "emodb.tex"]
    command = ["git", "check-ignore", *(f"results/{name}" for name in names)]
    ignored = subprocess.run(command, cwd=PROJECT_ROOT, check=False, capture_output=True, text=True)
    assert ignored.returncode == 128 or len(ignored.stdout.split()) == len(names)  # 128: not a checkout
