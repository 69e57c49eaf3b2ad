"""Tables from score files: what each file holds, what is marked as missing, and what a project can add to a report."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from speech_emotion.cli.main import main as ser
from speech_emotion.cross_validation.report import Report, Section, page_facts
from speech_emotion.cross_validation.report_table import (
    Column,
    Interval,
    MeanSD,
    ReportTable,
    Share,
    format_cell,
    mean_sd,
)
from speech_emotion.cross_validation.score_table import SystemScores, gather_systems
from speech_emotion.cross_validation.tables import summary_table

from .simulated_scores import all_folds, save_all

BY_KIND = ["recall", "sexes", "confusion-model-1", "confusion-model-2", "speakers"]
FOLDS = [f"folds-{name}" for name in ("wa", "ua", "macro-f1", "weighted-f1")]
TABLES = ["summary", "averages", *BY_KIND, *FOLDS, "calibration", "abstention", "chance", "reliability"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of two complete systems and one without a complete seed, on two conditions."""
    entries = []
    for corpus in ("emodb", "my-corpus"):
        entries += all_folds("model-1", corpus=corpus, quality=0.2)
        entries += all_folds("model-2", corpus=corpus, quality=4.0)
    entries += all_folds("model-3", seeds=(0,), corpus="emodb")[:2]
    return save_all(entries, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def report(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("tables") / "new" / "folder"
    written = Report().write(results, output)
    assert written == [output / f"{name}.{kind}" for name in ("emodb", "my-corpus") for kind in ("md", "csv", "tex")]
    assert sorted(output.iterdir()) == sorted(written)
    return output


def test_the_same_results_give_the_same_bytes(results: Path, report: Path, tmp_path: Path) -> None:
    for path in Report().write(results, tmp_path, ["emodb"]):
        assert path.read_bytes() == (report / path.name).read_bytes()
    assert not (tmp_path / "my-corpus.md").exists()


def test_every_table_is_in_every_file(report: Path) -> None:
    with (report / "emodb.csv").open() as file:
        records = list(csv.DictReader(file))
    assert list(records[0]) == ["table", "row", "column", "value"]
    assert list(dict.fromkeys(record["table"] for record in records)) == TABLES
    assert {record["row"] for record in records if record["table"] == "recall"} == {"model-1", "model-2"}
    assert re.findall(r"\\label\{tab:emodb-([\w-]+)\}", (report / "emodb.tex").read_text()) == TABLES
    text = (report / "emodb.md").read_text()
    assert text.count("\n### ") == len(TABLES) and text.startswith("# EmoDB\n") and "{{" not in text
    assert text.count("<details>") == text.count("</details>") == 8
    assert "\n\n\n" not in text
    confusions = [int(r["value"]) for r in records if r["table"] == "confusion-model-1" and "_count" in r["column"]]
    assert sum(confusions) == 2 * 54


def test_incomplete_systems_have_no_figures_and_say_why(report: Path) -> None:
    text = (report / "emodb.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| Model-3 (fusion) |")]
    assert row.split(" | ")[1:] == ["–"] * 4 + [
        "0 of 2",
        "2 of 6",
        "36.00",
        "0.02",
        "seeds 0: folds 2; seeds 1: folds 0-2 |",
    ]


def test_each_table_has_a_note(results: Path, report: Path) -> None:
    systems = Report().read(results)["my-corpus"]
    assert all(Report().note(ReportTable(key, "t", [Column("a", "a")], [])) for key in TABLES)
    plain = Report().note(summary_table(systems))
    assert plain in (report / "my-corpus.md").read_text()
    for name in ("model-1-permuted", "model-1-average", "model-1-best"):  # of which more is to be known
        assert len(Report().note(summary_table(gather_systems(all_folds(name))))) > len(plain)


def test_facts_of_a_page() -> None:
    about = {"threads": 1, "settings": {"condition": {"scheme": "k-fold"}}}
    entries = all_folds(about=about) + all_folds("part", (0,), about=about)[:1]
    assert page_facts(gather_systems(entries)) == {
        "finished": 7,
        "hours": pytest.approx(0.07),
        "threads": [1],
        "clips": 54,
        "speakers": 6,
        "labels": ["anger", "fear", "neutral"],
        "folds": 3,
        "scheme": "k-fold",
        "given": None,
        "shares_speakers": False,
        "most_frequent": pytest.approx(1 / 3),
    }
    none = page_facts(gather_systems(all_folds(about={"seconds": None, "folds": 4})[:1]))
    assert (none["clips"], none["hours"], none["threads"]) == (None, None, [])


def test_a_page_without_figures(tmp_path: Path) -> None:
    save_all(all_folds(about={"folds": 4})[:1], tmp_path)
    Report().write(tmp_path, tmp_path)
    with (tmp_path / "toy.csv").open() as file:
        assert {record["table"] for record in csv.DictReader(file)} == {"summary"}


def test_published_figures_stand_beside_ours() -> None:
    systems = gather_systems(all_folds(seeds=(0, 1, 2)))
    table = summary_table(systems, {"other": (0.5, 0.4), "model-1": (0.7, 0.6)}, lambda name: name.upper())
    row, absent = (dict(zip([column.key for column in table.columns], one, strict=True)) for one in table.rows)
    assert row["wa_ci"].low < row["wa"].mean < row["wa_ci"].high and row["hours"] == pytest.approx(9 * 0.01)
    assert (row["missing"], row["paper_wa"], row["paper_ua"]) == (None, 0.7, 0.6)
    assert absent["system"] == ("other", "OTHER") and (absent["wa"], absent["paper_ua"]) == (None, 0.4)
    assert len(summary_table(systems).columns) == len(table.columns) - 2


def test_one_speaker_has_no_interval_and_one_seed_no_spread() -> None:
    (row,) = summary_table(gather_systems(all_folds(seeds=(0,), speakers=1))).rows
    assert row[2] is row[4] is row[1].sd is None and row[3] is not None
    with pytest.raises(ValueError, match="no seed"):
        mean_sd([])


def test_latex_is_balanced_and_escaped(report: Path) -> None:
    for path in report.glob("*.tex"):
        text = path.read_text()
        assert re.findall(r"\\begin\{(\w+)\}", text).count("tabular") == text.count(r"\end{tabular}") > 0
        body = [line for line in text.splitlines() if not line.startswith("%")]
        assert not [line for line in body if re.search(r"(?<!\\)[%#]", line)]
        assert not [line for line in body if "_" in line and not re.search(r"\\_", line)]
        assert not set("±−–×") & set("".join(body))
        assert all(line.count("&") for line in body if line.endswith(r" \\"))


@pytest.mark.parametrize(
    ("cell", "style", "text"),
    [
        (None, "percent", "–"),
        (float("nan"), "percent", "–"),
        (MeanSD(0.5, None), "percent", "50.0"),
        (MeanSD(0.613, 0.02), "percent", "61.3 ± 2.0"),
        (MeanSD(1.234, 0.056), "number", "1.23 ± 0.06"),
        (Interval(-0.02, 0.013), "points", "[−2.0, +1.3]"),
        (Share(3, 0.25), "text", "3 (25.0)"),
        (0.0004, "p", "< 0.001"),
        (0.05, "p", "0.050"),
        (7, "text", "7"),
    ],
)
def test_cells(cell: object, style: str, text: str) -> None:
    assert format_cell(cell, style) == text


def test_rows_must_fit_the_columns() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        ReportTable("key", "Title", [Column("a", "a"), Column("b", "b")], [["x"]])


def test_what_is_not_there_is_an_error(results: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no score files"):
        Report().write(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match=r"no scores of ravdess, only of emodb, my-corpus"):
        Report().write(results, tmp_path / "out", ["ravdess"])
    assert not (tmp_path / "out").exists()


def test_folds_of_several_folders_are_told_together_and_packed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folders = [tmp_path / "running", tmp_path / "finished"]
    folds = all_folds("model-1")
    save_all(folds[:4], folders[0])
    save_all(folds[2:], folders[1])
    words = ["report", "--results", *map(str, folders), "--tables", str(tmp_path / "tables")]
    assert ser(words) == 0
    figures = (tmp_path / "tables" / "toy.csv").read_bytes()
    assert b"summary,model-1,folds,6 of 6" in figures
    packed = tmp_path / "packed"
    assert ser([*words, "--pack", str(packed), "--scores-jsonl", str(tmp_path / "scores.jsonl")]) == 0
    assert (tmp_path / "tables" / "toy.csv").read_bytes() == figures
    assert sorted(path.name for path in packed.iterdir()) == ["runs.parquet", "toy.parquet"]
    assert not list(tmp_path.rglob("seed-*.parquet"))
    assert len((tmp_path / "scores.jsonl").read_text().splitlines()) == sum(len(fold.scores) for fold in folds)
    capsys.readouterr()
    assert ser(["report", "--results", str(tmp_path / "gone")]) == 1
    assert "gone" in capsys.readouterr().err


EXTRA = ReportTable("extra", "Mine", [Column("a", "a"), Column("b", "b")], [["x", 0.5]])


class MyReport(Report):
    """What a project can say of its own conditions and systems."""

    def condition_title(self, name: str) -> str:
        return name.upper()

    def system_title(self, name: str) -> str:
        return f"my {name}"

    def condition_order(self, names: Sequence[str]) -> list[str]:
        return sorted(names, reverse=True)

    def system_order(self, systems: Sequence[SystemScores]) -> list[SystemScores]:
        return sorted(systems, key=lambda system: system.system, reverse=True)

    def published(self, condition: str) -> Mapping[str, tuple[float, float]]:
        return {"model-1": (0.7, 0.6)} if condition == "emodb" else {}

    def extra_tables(self, condition: str, gathered: Mapping[str, Sequence[SystemScores]]) -> list[ReportTable]:
        assert list(gathered) == ["my-corpus", "emodb"]
        return [EXTRA] if condition == "emodb" else []

    def facts(self, condition: str, systems: Sequence[SystemScores]) -> dict[str, Any]:
        return {"known": f"known of {condition}"}

    def more_pages(self, output: Path, gathered: Mapping[str, Sequence[SystemScores]]) -> list[Path]:
        return self.write_page(output, "more", "More", [Section("One", [EXTRA])], "more", conditions=len(gathered))


def test_a_project_adds_to_a_report(results: Path, tmp_path: Path) -> None:
    templates, output = tmp_path / "templates", tmp_path / "tables"
    templates.mkdir()
    for name, text in {
        "report.md.j2": '{% extends "library/report.md.j2" %}'
        "{% block introduction %}{{ known }} {{ super() }}{% endblock %}",
        "notes.j2": '{% include "library/notes.j2" %}{% if table.key == "extra" %}my note{% endif %}',
        "more.md.j2": "# {{ title }} of {{ conditions }}",
        "more.tex.j2": "{{ tables[0].latex(name) }}",
    }.items():
        (templates / name).write_text(text)
    mine = MyReport()
    mine.templates = [templates]
    written = mine.write(results, output)
    assert [path.name for path in written[::3]] == ["my-corpus.md", "emodb.md", "more.md"]
    text = (output / "emodb.md").read_text()
    assert text.startswith("# EMODB\n\nknown of emodb ") and "54 clips" in text and "\nmy note\n" in text
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| my model")]
    assert rows[:3] == ["| my model-3", "| my model-2", "| my model-1"]
    with (output / "emodb.csv").open() as file:
        records = {tuple(row.values()) for row in csv.DictReader(file)}
    assert {("extra", "x", "b", "0.5"), ("summary", "model-1", "paper_ua", "0.6")} < records
    assert "extra" not in (output / "my-corpus.csv").read_text()
    assert (output / "more.md").read_text() == "# More of 2\n"
    assert r"\label{tab:more-extra}" in (output / "more.tex").read_text()
