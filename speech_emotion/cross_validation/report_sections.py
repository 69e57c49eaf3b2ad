"""What a corpus's report holds, in the order in which it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from speech_emotion.cross_validation.report_table import ReportTable
from speech_emotion.cross_validation.system_scores import SystemScores

from .error_tables import confusion_tables, fold_tables, recall_table, sex_table, speaker_table
from .score_tables import abstention_table, calibration_table, chance_table, reliability_table


@dataclass(frozen=True)
class Section:
    """Some tables under a heading."""

    title: str  # the heading
    tables: Sequence[ReportTable]  # what it holds
    folded: Sequence[ReportTable] = ()  # tables that a reader opens if wanted: those that are long

    def all_tables(self) -> list[ReportTable]:
        """Return all tables, in order."""
        return [*self.tables, *self.folded]

    def markdown(self) -> str:
        """Write heading and tables in Markdown, the long ones in blocks that open by a click.

        >>> from speech_emotion.cross_validation.report_table import Column
        >>> table = ReportTable("a", "Long one", [Column("x", "x")], [["1"]])
        >>> print(Section("More", [], [table]).markdown())
        ## More
        <BLANKLINE>
        <details><summary>Long one</summary>
        <BLANKLINE>
        ### Long one
        <BLANKLINE>
        | x |
        | --- |
        | 1 |
        <BLANKLINE>
        </details>
        """
        blocks = [f"## {self.title}", *(table.markdown() for table in self.tables)]
        for table in self.folded:
            # Without the empty lines GitHub would not read the table as Markdown.
            blocks += [f"<details><summary>{table.title}</summary>", table.markdown(), "</details>"]
        return "\n\n".join(blocks)


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


__all__ = ["Section", "system_sections"]
