"""The tables of finished runs as Markdown, CSV and LaTeX, from the score files alone."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from dataset_scripts.registry import CORPORA
from feature_extraction.safe_text import markdown_text, printable
from speech_emotion.evaluation.tables import latex_escape
from speech_emotion.files import write_csv, write_text

from .report_table import ReportTable
from .score_store import FoldScores, read_fold_scores
from .score_table import SystemScores, condition_settings, gather_systems, hours_of
from .system_names import system_title
from .tables import (
    abstention_table,
    averages_table,
    calibration_table,
    chance_table,
    confusion_tables,
    fold_tables,
    recall_table,
    reliability_table,
    sex_table,
    speaker_table,
    summary_table,
)

Folders = str | Path | Sequence[str | Path]  # one folder of scores, or several
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """Some tables under a heading."""

    title: str  # the heading
    tables: Sequence[ReportTable]  # what it holds
    folded: Sequence[ReportTable] = ()  # tables that a reader opens if wanted: those that are long


class Report:
    """The tables of a cross-validation and the words around them.

    What is to be said of certain corpora and systems beyond their figures is not this library's business. A project
    that compares them makes a subclass and calls `MyReport().write("results", "tables")`:

    - `templates`: folders of Jinja2 templates, looked into before the library's. One of the same name takes the place
      of the library's, and may extend or include that as "library/<name>":
      `{% extends "library/report.md.j2" %}{% block introduction %}German, acted. {{ super() }}{% endblock %}`.
      The templates are `report.md.j2` and `report.tex.j2`, a page of each condition; `notes.j2`, what is to be said
      below a table (it is given `table`, and tells tables apart by `table.key`); and `card.md.j2`.
    - the methods of the first half of this class, each of which says what it gives.
    - `more_pages`: pages that are not of one condition, written by `write_page`.
    """

    templates: Sequence[Path] = ()

    def condition_title(self, name: str) -> str:
        """Return what a condition is called."""
        return CORPORA[name].title if name in CORPORA else name

    def system_title(self, name: str) -> str:
        """Return what a system is called in tables; its own name if that is not known."""
        return system_title(name)

    def condition_order(self, names: Iterable[str]) -> list[str]:
        """Sort the names of conditions as they are to be read."""
        return sorted(names)

    def system_order(self, systems: Iterable[SystemScores]) -> list[SystemScores]:
        """Sort the systems of a condition as they are to be read."""
        return list(systems)

    def published(self, condition: str) -> Mapping[str, tuple[float, float]]:
        """Return WA and UA, in [0, 1], that were published of systems on a condition; they stand beside ours."""
        return {}

    def extra_tables(self, condition: str, gathered: Mapping[str, Sequence[SystemScores]]) -> list[ReportTable]:
        """Make tables that follow the summary of a condition; `gathered` has the systems of every condition."""
        return []

    def facts(self, condition: str, systems: Sequence[SystemScores]) -> dict[str, Any]:
        """Return more names for the templates of a condition's page."""
        return {}

    def more_pages(self, output: Path, gathered: Mapping[str, Sequence[SystemScores]]) -> list[Path]:
        """Write pages that are not of one condition."""
        return []

    def read(self, results: Folders, condition: str | None = None) -> dict[str, list[SystemScores]]:
        """Read the scores of all finished folds, of one condition or all: the systems of each.

        Of several folders the first that has a fold counts.
        """
        folders = [results] if isinstance(results, str | Path) else results
        by_condition: dict[str, list[FoldScores]] = {}
        for entry in read_fold_scores(*folders, condition=condition):
            by_condition.setdefault(entry.corpus, []).append(entry)
        return {
            name: self.system_order(gather_systems(by_condition[name], self.system_title))
            for name in self.condition_order(by_condition)
        }

    def write(self, results: Folders, output: Path, conditions: Sequence[str] | None = None) -> list[Path]:
        """Write the tables of finished runs, of some conditions or all."""
        gathered = self.read(results)
        if not gathered:
            raise ValueError(f"{told(results)} holds no score files; cross_validate.py writes them.")
        absent = [name for name in conditions or () if name not in gathered]
        if absent:
            raise ValueError(f"{told(results)} has no scores of {', '.join(absent)}, only of {', '.join(gathered)}.")
        output.mkdir(parents=True, exist_ok=True)
        written = []
        for name in self.condition_order(conditions or gathered):
            systems = gathered[name]
            complete = [system for system in systems if system.seeds]
            tables = [summary_table(systems, self.published(name), self.system_title)]
            tables += self.extra_tables(name, gathered)
            tables += [averages_table(complete)] if complete else []
            sections = [Section("Results", tables), *system_sections(complete)]
            facts = page_facts(systems) | self.facts(name, systems)
            written += self.write_page(output, name, self.condition_title(name), sections, **facts)
        return written + self.more_pages(output, gathered)

    def write_page(
        self, output: Path, name: str, title: str, sections: Sequence[Section], template: str = "report", **facts: Any
    ) -> list[Path]:
        """Write a page as Markdown and LaTeX, by the templates of that name, and its figures as CSV."""
        tables = [table for section in sections for table in (*section.tables, *section.folded)]
        facts |= {"name": name, "title": title, "sections": sections, "tables": tables}
        records = [record for table in tables for record in table.records()]
        return [
            write_text(output / f"{name}.md", self.render(f"{template}.md.j2", **facts)),
            write_csv(output / f"{name}.csv", ["table", "row", "column", "value"], records),
            write_text(output / f"{name}.tex", self.render(f"{template}.tex.j2", **facts)),
        ]

    def render(self, template: str, **facts: Any) -> str:
        """Fill a template; of several empty lines one is left."""
        text = self._environment.get_template(template).render(facts)
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"

    def note(self, table: ReportTable) -> str:
        """Return what is to be said below a table, in one line; may be empty."""
        return " ".join(self.render("notes.j2", table=table).split())

    @cached_property
    def _environment(self) -> jinja2.Environment:
        library = jinja2.FileSystemLoader(TEMPLATES)
        loader = jinja2.ChoiceLoader(
            [jinja2.FileSystemLoader(self.templates), library, jinja2.PrefixLoader({"library": library})]
        )
        found = jinja2.Environment(
            loader=loader, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
        )
        found.filters |= {"latex": latex_escape, "markdown": markdown_text, "printable": printable}
        found.globals["note"] = self.note
        return found


def told(results: Folders) -> str:
    """Name one folder or several, for an error."""
    return str(results) if isinstance(results, str | Path) else " or ".join(map(str, results))


def system_sections(systems: Sequence[SystemScores]) -> list[Section]:
    """Make every section but the first, of the results themselves."""
    if not systems:
        return []
    by_kind = [recall_table(systems), sex_table(systems)]
    long = [*confusion_tables(systems), speaker_table(systems), *fold_tables(systems)]
    worth = [calibration_table(systems), abstention_table(systems), chance_table(systems)]
    return [
        Section("By emotion, sex, speaker and fold", by_kind, long),
        Section("What the scores are worth", worth, [reliability_table(systems)]),
    ]


def page_facts(systems: Sequence[SystemScores]) -> dict[str, Any]:
    """What a page says of the clips and of the computing; `clips` is `None` where no system has a complete seed."""
    parts = [part for system in systems for part in system.parts.values()]
    computing = {
        "finished": len(parts),
        "hours": hours_of(parts),
        "threads": sorted({part.about["threads"] for part in parts if "threads" in part.about}),
    }
    test = next((system.test for system in systems if system.seeds), None)
    if test is None:
        return computing | {"clips": None}
    chosen = condition_settings(parts[0])
    return computing | {
        "clips": len(test.ids),
        "speakers": len(set(test.speakers) - {None}),
        "labels": test.labels,
        "folds": len(systems[0].planned_folds),
        "scheme": chosen.get("scheme"),
        "given": chosen.get("given"),
        "shares_speakers": chosen.get("shares_speakers", False),
        "most_frequent": np.bincount(test.truth).max() / len(test.truth),
    }
