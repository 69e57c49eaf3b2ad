"""Tables for terminals and Markdown."""

from collections.abc import Sequence

import numpy as np


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows in columns, numbers to the right.

    Args:
        header: Name of each column.
        rows: The cells, each printed with `str`.

    Returns:
        The lines, joined; no line break at the end.

    Example:
        >>> print(text_table(["class", "clips"], [["anger", 12], ["joy", 3]]))
        class  clips
        -----  -----
        anger     12
        joy        3
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [
        bool(rows) and all(isinstance(cell, int | float) or is_number(str(cell)) for cell in column)
        for column in (zip(*rows, strict=True) if rows else [[] for _ in header])
    ]

    def line(row: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, cells)])


def is_number(text: str) -> bool:
    """Tell whether a cell reads as a number, a percent sign allowed."""
    try:
        float(text.removesuffix("%").strip())
    except ValueError:
        return False
    return True


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write rows as a Markdown table.

    Args:
        header: Name of each column.
        rows: The cells, each written with `str`; a vertical bar in a cell is escaped.

    Returns:
        The lines, joined; no line break at the end.

    Example:
        >>> print(markdown_table(["class", "clips"], [["anger", 12]]))
        | class | clips |
        | --- | --- |
        | anger | 12 |
    """

    def line(row: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])


def confusion_table(counts: np.ndarray, labels: Sequence[str], markdown: bool = False) -> str:
    r"""Write a confusion matrix with the recall of each class.

    Args:
        counts: Clips by true class (rows) and predicted class (columns), (classes, classes).
        labels: Name of each class.
        markdown: Whether to write Markdown rather than plain text.

    Returns:
        The table; the recall of a class without clips is a dash.

    Example:
        >>> print(confusion_table(np.array([[3, 1], [0, 4]]), ["anger", "neutral"]))
        true \ predicted  anger  neutral  recall
        ----------------  -----  -------  ------
        anger                 3        1   75.0%
        neutral               0        4  100.0%
    """
    rows = []
    for index, label in enumerate(labels):
        total = counts[index].sum()
        recall = f"{100 * counts[index, index] / total:.1f}%" if total else "-"
        rows.append([label, *counts[index].tolist(), recall])
    return (markdown_table if markdown else text_table)(["true \\ predicted", *labels, "recall"], rows)


__all__ = ["confusion_table", "markdown_table", "text_table"]
