"""What a corpus holds, for people: classes, speakers, lengths; as text, as Markdown, and on its card on the Hub."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from feature_extraction.safe_text import markdown_text, printable

from .names import natural_order

if TYPE_CHECKING:
    import datasets

    from .corpus_base import SpeechCorpus

COLUMNS = ["label", "native_label", "speaker", "sex", "sentence", "duration"]
NO_LABEL = "(none)"
SPEAKERS_SHOWN = 30


@dataclass(frozen=True)
class CorpusReport:
    """What a corpus holds."""

    clips: pd.DataFrame  # ``COLUMNS`` of each clip

    @property
    def clips_of(self) -> pd.DataFrame:
        """Number of clips of each speaker (row) by class (column)."""
        counts = pd.crosstab(self.clips["speaker"], self.clips["label"])
        labels = sorted(self.clips["label"].unique())
        return counts.reindex(index=sorted(counts.index, key=natural_order), columns=labels, fill_value=0)

    def summary(self) -> str:
        """Say the numbers in a few sentences."""
        women, men, others = _people(self.clips)
        people = f"{women} women, {men} men" + (f", {others} of unknown sex" if others else "")
        seconds, speakers = self.clips["duration"], self.clips["speaker"]
        text = (
            f"{len(self.clips)} clips ({seconds.sum() / 3600:.2f} h) of {speakers.nunique()} speakers ({people}). "
            f"Lengths: {seconds.min():.2f} to {seconds.max():.2f} s, median {seconds.median():.2f}, "
            f"mean {seconds.mean():.2f}, 90 % below {seconds.quantile(0.9):.2f}."
        )
        if sentences := self.clips["sentence"].nunique():
            text += f" {sentences} different sentences."
        if unknown := speakers.isna().sum():
            text += f" The speakers of {unknown} clips are unknown."
        return text

    def tables(self) -> list[list[list[str]]]:
        """Return the table of classes, and where speakers are few that of speakers by class, each with its header."""
        classes = [["class", "own labels", "clips", "women", "men", "unknown sex", "minutes"]]
        for label, clips in [*self.clips.groupby("label"), ("all", self.clips)]:
            names = ", ".join(sorted(clips["native_label"].dropna().unique()))
            numbers = map(str, (len(clips), *_people(clips)))
            classes.append([label, names, *numbers, f"{clips['duration'].sum() / 60:.1f}"])
        counts = self.clips_of
        if not 0 < len(counts) <= SPEAKERS_SHOWN:
            return [classes]
        lines = [[speaker, *map(str, clips)] for speaker, *clips in counts.itertuples()]
        return [classes, [["speaker", *counts.columns], *lines]]

    def as_text(self) -> str:
        """Return the report for a terminal."""
        return "\n\n".join([self.summary(), *map(_text_table, self.tables())])

    def as_markdown(self) -> str:
        """Return the report for a data set card."""
        return "\n\n".join([self.summary(), *map(_markdown_table, self.tables())])


def describe_corpus(rows: Iterable[Mapping[str, Any]]) -> CorpusReport:
    """Count what a corpus holds.

    >>> row = {"label": "fear", "native_label": "s", "speaker": "m1", "sex": "m", "sentence": None, "duration": 1}
    >>> print(describe_corpus([row, row | {"label": "anger", "native_label": "a"}]).as_text())
    2 clips (0.00 h) of 1 speakers (0 women, 1 men). Lengths: 1.00 to 1.00 s, median 1.00, mean 1.00, ...
    <BLANKLINE>
    class  own labels  clips  women  men  unknown sex  minutes
    anger  a           1      0      1    0            0.0
    fear   s           1      0      1    0            0.0
    all    a, s        2      0      1    0            0.0
    <BLANKLINE>
    speaker  anger  fear
    m1       1      1
    """
    if hasattr(rows, "select_columns"):
        rows = rows.select_columns(COLUMNS)  # leaves the audio where it is
    clips = pd.DataFrame([{column: row[column] for column in COLUMNS} for row in rows], columns=COLUMNS)
    if clips.empty:
        raise ValueError("There are no rows to describe")
    return CorpusReport(clips.assign(label=clips["label"].fillna(NO_LABEL)))


def _people(clips: pd.DataFrame) -> tuple[int, int, int]:
    """Count the speakers who are women, men, and of unknown sex."""
    sexes = clips.dropna(subset="speaker").drop_duplicates("speaker", keep="last")["sex"]
    return int((sexes == "f").sum()), int((sexes == "m").sum()), int(sexes.isna().sum())


def _text_table(table: list[list[str]]) -> str:
    table = [list(map(printable, line)) for line in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table)
    return "\n".join(line.rstrip() for line in lines)


def _markdown_table(table: list[list[str]]) -> str:
    header, *body = table
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(map(markdown_text, line))} |" for line in lines)


def corpus_card(corpus: "SpeechCorpus", rows: "datasets.Dataset") -> str:
    """Write the card of a corpus on the Hub."""
    import jinja2
    from huggingface_hub import DatasetCardData

    emotions = rows.unique("label") != [None]
    files = [{"split": "train", "path": "data/train-*.parquet"}]
    bounds = {"n<1K": 1_000, "1K<n<10K": 10_000, "10K<n<100K": 100_000, "100K<n<1M": float("inf")}
    unnamed = corpus.license_id == "other"
    data = DatasetCardData(
        language=corpus.language,
        license=corpus.license_id,
        license_name=f"{corpus.name}-licence" if unnamed else None,
        license_link=corpus.homepage or None if unnamed else None,
        pretty_name=corpus.title,
        task_categories=["audio-classification" if emotions else "automatic-speech-recognition"],
        size_categories=[next(name for name, bound in bounds.items() if len(rows) < bound)],
        tags=["speech", "audio", *(["emotion", "speech-emotion-recognition"] if emotions else [])],
        configs=[{"config_name": corpus.config.name, "data_files": files}],
    )
    template = Path(__file__).with_name("corpus_card.md.j2").read_text(encoding="utf-8")
    return jinja2.Template(template, keep_trailing_newline=True).render(
        corpus=corpus, rows=rows, metadata=data.to_yaml(), report=describe_corpus(rows).as_markdown()
    )
