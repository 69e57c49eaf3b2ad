"""Tables for terminals, Markdown and LaTeX; those for spreadsheets are written by `speech_emotion.files`."""

from collections.abc import Sequence

import numpy as np

from feature_extraction.safe_text import is_number, markdown_text, printable


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows in columns, numbers to the right.

    >>> print(text_table(["class", "clips"], [["anger", 12], ["joy", 3]]))
    class  clips
    -----  -----
    anger     12
    joy        3
    """
    header, *cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [
        bool(rows)
        and all(isinstance(cell, int | float) or is_number(str(cell).removesuffix("%").strip()) for cell in column)
        for column in (zip(*rows, strict=True) if rows else [[] for _ in header])
    ]

    def line(row: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, cells)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write rows as a Markdown table.

    >>> print(markdown_table(["class", "clips"], [["anger", 12]]))
    | class | clips |
    | --- | --- |
    | anger | 12 |
    """

    def line(row: Sequence[object]) -> str:
        return "| " + " | ".join(map(markdown_text, row)) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])


def confusion_table(counts: np.ndarray, labels: Sequence[str], markdown: bool = False) -> str:
    r"""Write a confusion matrix with the recall of each class.

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


# Typed by their character, so that a cell is written once for all kinds of table.
LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "±": r"$\pm$", "−": r"$-$",
    "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "Δ": r"$\Delta$", "→": r"$\rightarrow$", "–": "--",
    "…": r"\ldots{}",
})  # fmt: skip
LONGEST_FLOAT = 45  # rows that fit on a page; a longer table may break


def latex_escape(text: str) -> str:
    """Write text so that LaTeX prints it as it is."""
    return printable(text.replace("\n", " ")).translate(LATEX)


def latex_table(header: Sequence[str], rows: Sequence[Sequence[object]], caption: str, label: str) -> str:
    r"""Write rows as a LaTeX table with the rules of `booktabs`.

    >>> print(latex_table(["class", "UA, %"], [["anger", 61.5]], "Recall", "tab:recall"))
    \begin{table}
    \centering
    \caption{Recall}\label{tab:recall}
    \begin{tabular}{lr}
    \toprule
    class & UA, \% \\
    \midrule
    anger & 61.5 \\
    \bottomrule
    \end{tabular}
    \end{table}
    """

    def line(row: Sequence[object]) -> str:
        # A bracket that begins a row would be read as the optional argument of the \\ before it.
        cells = [latex_escape(str(cell)) for cell in row]
        return " & ".join("{[}" + cell[1:] if cell.startswith("[") else cell for cell in cells) + r" \\"

    columns = "l" + "r" * (len(header) - 1)
    title = rf"\caption{{{latex_escape(caption)}}}\label{{{label}}}"
    head, body = [r"\toprule", line(header), r"\midrule"], [*map(line, rows)]
    if len(rows) > LONGEST_FLOAT:
        # The last rule is declared as the foot of the last page; the caption line needs its own end of row.
        parts = [title + r"\\", *head, r"\endhead", r"\bottomrule", r"\endlastfoot", *body]
        return "\n".join([rf"\begin{{longtable}}{{{columns}}}", *parts, r"\end{longtable}"])
    inside = [rf"\begin{{tabular}}{{{columns}}}", *head, *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([r"\begin{table}", r"\centering", title, *inside, r"\end{table}"])
