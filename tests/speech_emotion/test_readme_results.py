"""The README's results: what the command writes, what it refuses, and that the file never says anything else."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from reproduction.head_claim import head_sentence, judge_heads
from reproduction.layer_section import layer_section
from reproduction.readme_results import REGION, results_region
from reproduction.report import write_report
from speech_emotion.cli.main import main as ser
from speech_emotion.cross_validation.clip_lines import NAME
from speech_emotion.cross_validation.report import read_results
from speech_emotion.cross_validation.score_store import FoldScores
from speech_emotion.cross_validation.score_table import pooled_metrics
from speech_emotion.marked_region import read_region, replace_region
from tests.speech_emotion.cross_validation.simulated_scores import all_folds, save_all
from tests.subprocess_tools import PROJECT_ROOT

MARKS = "# Title\n\n<!-- results:start -->\n<!-- results:end -->\n\nThe rest.\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EmoDB: one whole system, one that lacks a fold of a seed, one without a whole seed. RAVDESS: one seed only."""
    entries = all_folds("model-1-best", (0, 1, 2), corpus="emodb", quality=5.0, speakers=9)
    entries += all_folds("opensmile-compare-svm", (0, 1, 2), corpus="emodb", quality=0.5, speakers=9)[:-1]
    entries += [one for one in all_folds("model-1", (0, 1, 2), corpus="emodb", speakers=9) if one.fold]
    entries += all_folds("model-1", (0,), corpus="ravdess")
    return save_all(entries, tmp_path_factory.mktemp("project") / "results")


@pytest.fixture(scope="module")
def region(results: Path) -> str:
    return results_region(results)


def cell_of(region: str, title: str, corpus: str) -> str:
    """The cell of a system and a corpus in the table of all."""
    lines = [line.strip("|").split("|") for line in region.splitlines() if line.startswith("|")]
    (column,) = [place for place, name in enumerate(lines[0]) if f"[{corpus}]" in name]
    (row,) = [line for line in lines[2:] if line[0].strip() == title]
    return row[column].strip()


def test_whole_systems_have_ua_and_wa_with_their_spread(results: Path, region: str) -> None:
    cell = cell_of(region, "Model-1 (acoustic), best recipe", "EmoDB")
    metrics = [pooled_metrics(one.test) for one in read_results(results)["emodb"] if one.system == "model-1-best"]
    ua, wa = (metrics[0][name] for name in ("ua", "wa"))
    means = [f"{100 * np.mean(one):.1f} ± {100 * np.std(one, ddof=1):.1f}" for one in (ua, wa)]
    assert len(ua) == 3 and cell == f"{means[0]} ({means[1]})"
    assert cell_of(region, "chance", "EmoDB") == "33.3, 3 emotions"


def test_a_system_that_lacks_a_fold_is_never_shown_as_whole(results: Path, region: str, tmp_path: Path) -> None:
    cell = cell_of(region, "openSMILE ComParE 2016 + SVM", "EmoDB")
    assert re.fullmatch(r"\d+\.\d ± \d+\.\d \(\d+\.\d ± \d+\.\d\), \*\*partial\*\*", cell)
    # Its figures are those of its two whole seeds: the third seed's other folds have no part in them.
    for path in (results / "emodb").glob("*/*.parquet"):
        if "seed-2" not in path.name:
            FoldScores.load(path).save(tmp_path)
    assert cell_of(results_region(tmp_path), "openSMILE ComParE 2016 + SVM", "EmoDB") == cell
    assert cell_of(region, "Model-1 (acoustic)", "EmoDB") == "**partial**"


def test_a_single_seed_is_not_whole_though_no_file_tells_of_others(region: str) -> None:
    cell = cell_of(region, "Model-1 (acoustic)", "RAVDESS")
    assert re.fullmatch(r"\d+\.\d \(\d+\.\d\), \*\*partial\*\*", cell)
    assert cell_of(region, "Model-1 (acoustic), best recipe", "RAVDESS") == ""


def test_claims_aims_and_commands_are_told(region: str) -> None:
    assert "- **Ours: not run.** The system chosen beforehand, Model-1 (acoustic), best recipe, leads" in region
    part = r"on EmoDB: UA \+\d+\.\d points \[.*\], p .*; supported;.* provisional, of 3 and 2 seeds\."
    assert re.search(part, region)
    assert "- Not run, for want of complete results on acted corpora: claims 1, 2, 2b, 3, 4." in region
    assert re.search(r"- \*\*(Reached|Missed)(, provisionally)?\.\*\* Aim: UA of 83 % on EmoDB", region)
    assert "- **Not computed.** Aim: UA of 62 % on RAVDESS" in region
    assert "recipe with functionals; it has" not in region
    assert "python cross_validate.py --corpora ravdess --systems model-1 --seeds 0\nmake report" in region
    assert "Model-1 hears the words too" in region and "[EmoDB](results/emodb.md)" in region


def test_what_the_second_recipe_missed_is_not_forgotten(tmp_path: Path) -> None:
    region = results_region(save_all(all_folds("model-3-functionals", (0, 1, 2), corpus="emodb"), tmp_path))
    assert "- **Not computed.** Aim: UA of 83 % on EmoDB with Model-1 (acoustic), best recipe." in region
    found = re.search(r"- \*\*(\w+)\.\*\* Aim: UA of 83 % on EmoDB with Model-3 .*functionals.* (\d+\.\d) ±", region)
    assert found is not None
    assert found[1] == ("Reached" if float(found[2]) >= 83 else "Missed")


def test_the_claim_of_heads_is_told_from_their_study(results: Path, region: str, tmp_path: Path) -> None:
    assert "- **Claim 5: not run.** Not all heads contribute equally" in region
    studies = {"emodb": [0.1, 0.05, 0.15], "ravdess": [0.031, 0.004, 0.058]}
    for corpus, correlation in studies.items():
        folder = tmp_path / "heads" / corpus
        folder.mkdir(parents=True)
        pooled = {"lead": [0.2, 0.1, 0.3], "correlation": correlation, "models": 6, "speakers": 24}
        heads = [{"importance": {"value": value}, "ua_change": {"value": value}} for value in (0.1, -0.2, -0.3)]
        (folder / "heads.json").write_text(json.dumps({"pooled": pooled, "models": [{"heads": heads}]}))
    text = head_sentence(tmp_path)
    assert text.startswith("- **Claim 5: supported.** Not all heads") and "(`make heads`)" in text
    assert "EmoDB dropping a head lowers UA for 2 of 3 heads, but raises the true emotion's mean" in text
    assert "next to none" not in text  # by its interval the correlation may be 0.15
    told = "+0.20 nats [+0.10, +0.30]; correlation +0.03 [+0.00, +0.06]; 6 models, 24 speakers."
    assert f"\n  - RAVDESS: {told}\n  - EmoDB: " in text
    (tmp_path / "heads" / "ravdess" / "heads.json").unlink()
    text = head_sentence(tmp_path)
    assert text.startswith("- **Claim 5: not run.** Not all heads") and "\n  - RAVDESS: not studied." in text
    unsure = {"lead": [0.2, -0.1, 0.3], "correlation": [0.1, 0.05, 0.2]}
    assert judge_heads([pooled, unsure]) == "not decided" and judge_heads([pooled]) == "supported"
    for damaged in ('[{"model": "a"}]', '{"pooled": null}', '{"pooled": {"lead": [1, 1, 1]}}'):
        (folder / "heads.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"heads.json holds no study of heads"):
            head_sentence(tmp_path)


def test_the_layer_study_is_told_where_there_is_one(region: str, tmp_path: Path) -> None:
    assert "DeepSpeech's layers" not in region and layer_section(tmp_path, "results") == ""
    quantities = {
        "plain r, two emotions": {"MFCC": 0.3, "1": 0.7, "2": 0.6},
        "probe UA": {"MFCC": 0.31, "1": 0.402, "2": 0.39},
        "centered effect of the emotion": {"MFCC": 0.05, "1": 0.01, "2": -0.002},
        "centered effect of the speaker": {"MFCC": 0.2, "1": 0.1, "2": 0.3},
    }
    numbers = [
        {"layer": layer, "quantity": quantity, "estimate": value, "low": value - 0.01, "high": value + 0.01}
        for quantity, values in quantities.items()
        for layer, value in values.items()
    ]
    facts = {
        "encoder": "small",
        "hidden_size": 8,
        "speakers": 24,
        "probe": {"clips": 1440, "folds": 6, "labels": ["fear", "anger"]},
        "correlated": {"clips": 480, "labels": ["fear"], "intensity": "normal"},
    }
    path = tmp_path / "layers" / "layers.json"
    path.parent.mkdir()
    path.write_text(json.dumps({**facts, "layers": numbers}))
    text = layer_section(tmp_path, "results")
    assert "| 1 | 40.2 [39.2, 41.2] | 0.700 [0.690, 0.710] | 0.010 [0.000, 0.020] | 0.100 [0.090, 0.110] |" in text
    assert "here, of layers 1 to 6, 2 and 1 do, otherwise than there." in text
    assert "does best on layer 1; two emotions differ most in the MFCC that enter it;" in text
    assert "with small (8 units), 24 speakers. The probe: 1440 clips, 2 emotions, 6 folds" in text
    assert "480 clips of normal intensity, 1 emotions" in text and "(results/layers/layers.png)" in text
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"layers.json holds no study of layers"):
        layer_section(tmp_path, "results")


def test_the_command_fills_the_region_and_leaves_the_rest(
    results: Path, region: str, capsys: pytest.CaptureFixture
) -> None:
    readme = results.parent / "README.md"
    readme.write_text(MARKS)
    assert ser(["report", "--results", str(results), "--readme", str(readme)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        *(str(results / f"{name}.{kind}") for name in ("emodb", "ravdess", "claims") for kind in ("md", "csv", "tex")),
        str(readme),
    ]
    text = readme.read_text()
    assert text == replace_region(MARKS, REGION, region)
    assert text.startswith("# Title\n") and text.endswith("\n\nThe rest.\n")
    assert ser(["report", "--results", str(results), "--readme", str(readme)]) == 0
    assert readme.read_text() == text
    assert not list(results.parent.rglob("*.partial"))
    for link in re.findall(r"\]\((.*?)\)", text):
        assert (readme.parent / link).is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Title\n", "exactly one line <!-- results:start -->, and has 0"),
        ("<!-- results:start -->\n", "exactly one line <!-- results:end -->, and has 0"),
        (MARKS + MARKS, "exactly one line <!-- results:start -->, and has 2"),
        ("<!-- results:end -->\n<!-- results:start -->\n", "stands before the start"),
    ],
)
def test_a_readme_without_its_marks_is_refused_before_anything_is_written(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture, text: str, message: str
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    words = ["report", "--results", str(results), "--tables", str(tmp_path / "tables"), "--readme", str(readme)]
    assert ser(words) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {readme} has no region “results”") and message in error
    assert readme.read_text() == text and list(tmp_path.iterdir()) == [readme]


def test_without_scores_nothing_is_filled(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(MARKS)
    assert ser(["report", "--results", str(tmp_path / "typo"), "--readme", str(readme)]) == 1
    assert "holds no score files" in capsys.readouterr().err
    assert readme.read_text() == MARKS


def test_each_clips_scores_can_be_had_as_json_lines(results: Path, tmp_path: Path) -> None:
    lines = tmp_path / NAME
    words = ["report", "--results", str(results), "--tables", str(tmp_path), "--scores-jsonl", str(lines)]
    assert ser(words) == 0
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(rows) == sum(len(FoldScores.load(path).scores) for path in results.glob("*/*/*.parquet"))
    assert list(rows[0])[:5] == ["corpus", "system", "seed", "fold", "id"]


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_git_passes_over_the_json_lines() -> None:
    ignored = subprocess.run(["git", "check-ignore", "-q", f"results/{NAME}"], cwd=PROJECT_ROOT, check=False)
    assert ignored.returncode in (0, 128)  # 128: not a checkout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """README and results as they are committed, not as a cross-validation that is going on has them."""
    folder = tmp_path_factory.mktemp("committed")
    git = ["git", "-C", str(PROJECT_ROOT)]
    if shutil.which("git"):
        listed = subprocess.run([*git, "ls-files", "-z", "README.md", "results"], check=False, capture_output=True)
        if b"README.md" in listed.stdout.split(b"\0"):
            export = [*git, "checkout-index", "-z", "--stdin", f"--prefix={folder}/"]
            subprocess.run(export, input=listed.stdout, check=True)
            return folder
    shutil.copy(PROJECT_ROOT / "README.md", folder)
    if (PROJECT_ROOT / "results").is_dir():
        shutil.copytree(PROJECT_ROOT / "results", folder / "results")
    return folder


NUMBER = re.compile(r"\d+(?:\.\d+)?")


def assert_same_but_for_rounding(text: str, other: str, name: str) -> None:
    """Words and whole numbers are equal; fractions may differ by one in their last place on other machines."""
    told = f"run `make report` and commit {name}"
    assert NUMBER.sub("0", text) == NUMBER.sub("0", other), told
    for one, two in zip(NUMBER.findall(text), NUMBER.findall(other), strict=True):
        unit = 10.0 ** -len(one.partition(".")[2]) if "." in one else 0.0
        assert abs(float(one) - float(two)) <= 1.5 * unit, f"{one} or {two}: {told}"


def test_numbers_are_compared_but_for_rounding() -> None:
    assert_same_but_for_rounding("WA 54.3 of 12", "WA 54.4 of 12", "x")
    for other in ("WA 54.5 of 12", "WA 54.3 of 13", "UA 54.3 of 12", "WA 54.3 of 12 1"):
        with pytest.raises(AssertionError, match="commit x"):
            assert_same_but_for_rounding("WA 54.3 of 12", other, "x")


def test_the_readme_says_what_the_committed_results_say(project: Path) -> None:
    committed = read_region(project / "README.md", REGION)
    assert_same_but_for_rounding(committed, results_region(project / "results"), "README.md")


def test_the_committed_tables_say_what_the_committed_results_say(project: Path, tmp_path: Path) -> None:
    if not read_results(project / "results"):
        pytest.skip("no results are committed")
    written = {path.name: path for path in write_report(project / "results", tmp_path)}
    kinds = ("*.md", "*.csv", "*.tex")
    committed = {path.name: path for kind in kinds for path in (project / "results").glob(kind)}
    assert sorted(committed) == sorted(written)
    for name in written:
        ours, theirs = (one[name].read_text() for one in (committed, written))
        if name.endswith(".csv"):
            assert_same_values(ours, theirs, f"results/{name}")
        else:
            assert_same_but_for_rounding(ours, theirs, f"results/{name}")


def assert_same_values(text: str, other: str, name: str) -> None:
    """Figures in CSV files have six digits, the last of which may differ on other machines."""
    rows, others = (list(csv.DictReader(one.splitlines())) for one in (text, other))
    told = f"run `make report` and commit {name}"
    assert len(rows) == len(others) > 0, told
    for row, known in zip(rows, others, strict=True):
        value, expected = row.pop("value"), known.pop("value")
        assert row == known, told
        try:
            expected = pytest.approx(float(expected), rel=2e-5, abs=1e-9)
            value = float(value)
        except ValueError:
            pass  # words
        assert value == expected, f"{row}: {told}"
