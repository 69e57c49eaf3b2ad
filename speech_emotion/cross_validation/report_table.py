"""A table kept as numbers, and written as Markdown, LaTeX or records for a CSV file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from speech_emotion.evaluation.tables import latex_table, markdown_table

Style = Literal["percent", "points", "p", "number", "hours", "text"]
MISSING = "–"


class MeanSD(NamedTuple):
    """A mean over seeds and the standard deviation of a single seed (ddof = 1); `None` for one seed."""

    mean: float
    sd: float | None


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


def mean_sd(values: Sequence[float] | np.ndarray) -> MeanSD:
    """Average over seeds."""
    values = np.asarray(values, dtype=np.float64)
    if not values.size:
        raise ValueError("There is no seed to average over.")
    return MeanSD(float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else None)


class Name(NamedTuple):
    """What a row is called: `key` in CSV files, `title` in tables to read."""

    key: str
    title: str


class Share(NamedTuple):
    """A number of clips, and which share it is of those of its row."""

    count: int
    share: float


Cell = str | int | float | Name | MeanSD | Interval | Share | None


class Column(NamedTuple):
    """A column: `key` in CSV files, `title` in tables to read, `style` of its numbers."""

    key: str
    title: str
    style: Style = "text"


@dataclass(frozen=True)
class ReportTable:
    """Rows of numbers with their titles; what is to be said of them is in the templates.

    >>> columns = [Column("system", "system"), Column("ua", "UA, %", "percent")]
    >>> table = ReportTable("summary", "Summary", columns, [["model-1", MeanSD(0.6, 0.01)]])
    >>> print(table.markdown())
    | system | UA, % |
    | --- | --- |
    | model-1 | 60.0 ± 1.0 |
    >>> table.records()
    [['summary', 'model-1', 'ua_mean', '0.6'], ['summary', 'model-1', 'ua_sd', '0.01']]
    """

    key: str  # short name, for CSV files and labels
    title: str  # heading
    columns: Sequence[Column]  # the columns; the first names the rows
    rows: Sequence[Sequence[Cell]]  # the cells; fractions lie in [0, 1], `None` is unknown

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row has {len(row)} cells for {len(self.columns)} columns: {row}.")

    @property
    def names(self) -> list[str]:
        """What the rows are called in CSV files, such as the names of the systems."""
        return [row[0].key if isinstance(row[0], Name) else str(row[0]) for row in self.rows]

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Return the titles of the columns and the rows, as text."""
        styles = [column.style for column in self.columns]
        rows = [[format_cell(cell, style) for cell, style in zip(row, styles, strict=True)] for row in self.rows]
        return [column.title for column in self.columns], rows

    def markdown(self) -> str:
        """Write the rows in Markdown, without a line break at the end."""
        return markdown_table(*self.cells())

    def latex(self, prefix: str) -> str:
        r"""Write a LaTeX table; its label is `tab:<prefix>-<key>`."""
        return latex_table(*self.cells(), self.title, f"tab:{prefix}-{self.key}")

    def records(self) -> list[list[str]]:
        """Return a record for each number: table, row, column, value."""
        found = []
        for name, (_, *cells) in zip(self.names, self.rows, strict=True):
            for column, cell in zip(self.columns[1:], cells, strict=True):
                values = {column.key: cell}
                if isinstance(cell, MeanSD | Interval | Share):
                    values = {f"{column.key}_{part}": value for part, value in cell._asdict().items()}
                for key, value in values.items():
                    if value is not None and value != "":
                        text = f"{value:.6g}" if isinstance(value, float) else str(value)
                        found.append([self.key, name, key, text])
        return found


def format_cell(cell: Cell, style: Style) -> str:
    """Write a cell as a reader wants it."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return MISSING
    if isinstance(cell, Name):
        return cell.title
    if isinstance(cell, MeanSD):
        spread = "" if cell.sd is None else f" ± {format_cell(cell.sd, 'percent' if style == 'points' else style)}"
        return format_cell(cell.mean, style) + spread
    if isinstance(cell, Interval):
        return f"[{format_cell(cell.low, style)}, {format_cell(cell.high, style)}]"
    if isinstance(cell, Share):
        return f"{cell.count} ({format_cell(cell.share, 'percent')})"
    if isinstance(cell, str) or style == "text":
        return str(cell)
    if style == "p":
        return "< 0.001" if cell < 0.001 else f"{cell:.3f}"
    if style == "hours":
        return "< 0.01" if 0 < cell < 0.01 else f"{cell:.2f}"
    if style == "number":
        return f"{cell:.2f}"
    if style == "points":
        return f"{100 * cell:+.1f}".replace("-", "−")
    return f"{100 * cell:.1f}"
