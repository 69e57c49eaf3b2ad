"""The pages of the paper's comparison: the library's tables with claims, published figures and what is to be known."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speech_emotion.cross_validation.report import Report, Section
from speech_emotion.cross_validation.report_table import ReportTable
from speech_emotion.cross_validation.score_table import SystemScores
from speech_emotion.cross_validation.titles import compared_note

from .claim_sentences import beside_sentences
from .claim_tables import CLAIMS_NOTE, COMPARISON_NOTE, claims_table, comparison_table, families_at_hand
from .claims import Finding, evaluate_claims
from .head_claim import head_sentence
from .paper_figures import published_figures
from .planned_comparisons import BEST_NOTE, HISTORY
from .reading_order import CONDITION_TITLES, condition_order, condition_title, system_order
from .recomputing import commands, encoders_note, settings_text
from .references import references


class PaperReport(Report):
    """The report of `make report`."""

    templates = (Path(__file__).parent / "templates",)

    def __init__(self, results: str | Path) -> None:
        self.results = results
        self._found: list[Finding] | None = None

    def condition_title(self, name: str) -> str:
        """Return what a condition is called."""
        return condition_title(name)

    def condition_order(self, names: Iterable[str]) -> list[str]:
        """Sort the names of conditions as they are to be read."""
        return condition_order(names)

    def system_order(self, systems: Iterable[SystemScores]) -> list[SystemScores]:
        """Sort the systems of a condition as they are to be read."""
        return system_order(systems)

    def published(self, condition: str) -> Mapping[str, tuple[float, float]]:
        """Return WA and UA in the paper."""
        return published_figures(condition)

    def extra_tables(self, condition: str, gathered: Mapping[str, Sequence[SystemScores]]) -> list[ReportTable]:
        """Make the table of the comparisons that are planned on a condition."""
        found = [finding for finding in self._findings(gathered) if finding.comparison.condition == condition]
        return [comparison_table(found)] if found else []

    def facts(self, condition: str, systems: Sequence[SystemScores]) -> dict[str, Any]:
        """Return what is to be known of a condition, and how to compute it."""
        known = CONDITION_TITLES.get(condition)
        works = references([condition], [system.system for system in systems])
        return {
            "known": known.note if known else "",
            "compared": compared_note(system.title for system in systems if system.seeds),
            "commands": commands(systems),
            "settings": settings_text(systems),
            "references": works,
        }

    def more_pages(self, output: Path, gathered: Mapping[str, Sequence[SystemScores]]) -> list[Path]:
        """Write the page of the claims."""
        findings = self._findings(gathered)
        at_hand, left_out = families_at_hand(findings)
        everything = [system for systems in gathered.values() for system in systems]
        return self.write_page(
            output,
            "claims",
            "Claims",
            [Section("Outcomes", [claims_table(at_hand), comparison_table(at_hand)])],
            template="claims",
            run=sum(finding.outcome != "not run" for finding in at_hand),
            planned=len(at_hand),
            left_out=left_out,
            heads=head_sentence(self.results),
            beside=beside_sentences(gathered),
            heard=encoders_note(everything),
            history=HISTORY,
            best=BEST_NOTE,
            commands=commands(everything),
            settings=settings_text(everything),
            references=references(gathered, [system.system for system in everything]),
        )

    def note(self, table: ReportTable) -> str:
        """Return what is to be said below a table."""
        own = {"comparisons": COMPARISON_NOTE, "claims": CLAIMS_NOTE}
        return own.get(table.key) or super().note(table)

    def _findings(self, gathered: Mapping[str, Sequence[SystemScores]]) -> list[Finding]:
        if self._found is None:
            self._found = evaluate_claims(gathered)
        return self._found


def write_report(results: Path, output: Path, conditions: Sequence[str] | None = None) -> list[Path]:
    """Write the pages."""
    return PaperReport(results).write(results, output, conditions)
