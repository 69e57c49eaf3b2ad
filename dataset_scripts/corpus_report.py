"""What a corpus holds, for people: classes, speakers, lengths; as text, as Markdown, and on its card on the Hub."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .names import natural_order

if TYPE_CHECKING:
    import datasets

    from .corpus_base import SpeechCorpus

NO_LABEL = "(none)"
SPEAKERS_SHOWN = 30


@dataclass(frozen=True)
class ClassReport:
    """One class of a corpus."""

    label: str  # its name in the house vocabulary
    native_labels: tuple[str, ...]  # what the corpus calls it
    clips: int  # number of clips
    women: int  # number of women who speak it
    men: int  # number of men
    others: int  # number of speakers of unknown sex
    minutes: float  # sum of its clips' lengths


@dataclass(frozen=True)
class CorpusReport:
    """What a corpus holds."""

    classes: tuple[ClassReport, ...]  # its classes, alphabetically
    clips_of: Mapping[str, Mapping[str, int]]  # number of clips of each speaker by class
    seconds: tuple[float, float, float, float, float]
    total: ClassReport  # its classes taken together; its label is ``"all"``
    unknown_speakers: int  # number of clips whose speakers are unknown
    sentences: int  # number of different sentences, 0 where unknown

    def summary(self) -> str:
        """Say the numbers in a few sentences."""
        shortest, median, mean, ninetieth, longest = self.seconds
        people = f"{self.total.women} women, {self.total.men} men"
        people += f", {self.total.others} of unknown sex" if self.total.others else ""
        text = (
            f"{self.total.clips} clips ({self.total.minutes / 60:.2f} h) of {len(self.clips_of)} speakers ({people}). "
            f"Lengths: {shortest:.2f} to {longest:.2f} s, median {median:.2f}, mean {mean:.2f}, 90 % below "
            f"{ninetieth:.2f}."
        )
        if self.sentences:
            text += f" {self.sentences} different sentences."
        if self.unknown_speakers:
            text += f" The speakers of {self.unknown_speakers} clips are unknown."
        return text

    def tables(self) -> list[list[list[str]]]:
        """Return the table of classes, and where speakers are few that of speakers by class, each with its header."""
        first = [["class", "own labels", "clips", "women", "men", "unknown sex", "minutes"]]
        for report in (*self.classes, self.total):
            numbers = (report.clips, report.women, report.men, report.others)
            names = ", ".join(report.native_labels)
            first.append([report.label, names, *map(str, numbers), f"{report.minutes:.1f}"])
        names = [report.label for report in self.classes]
        if not 0 < len(self.clips_of) <= SPEAKERS_SHOWN:
            return [first]
        second = [["speaker", *names]]
        for speaker in sorted(self.clips_of, key=natural_order):
            second.append([speaker, *(str(self.clips_of[speaker].get(name, 0)) for name in names)])
        return [first, second]

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
    columns = ("label", "native_label", "speaker", "sex", "sentence", "duration")
    if hasattr(rows, "select_columns"):
        rows = rows.select_columns(list(columns))  # leaves the audio where it is
    clips = [{column: row[column] for column in columns} for row in rows]
    if not clips:
        raise ValueError("There are no rows to describe")
    for clip in clips:
        clip["label"] = clip["label"] or NO_LABEL
    labels = sorted({clip["label"] for clip in clips})
    clips_of: dict[str, dict[str, int]] = {}
    for clip in clips:
        if clip["speaker"] is not None:
            counts = clips_of.setdefault(clip["speaker"], {})
            counts[clip["label"]] = counts.get(clip["label"], 0) + 1
    seconds = np.array([clip["duration"] for clip in clips])
    return CorpusReport(
        classes=tuple(_class_report(label, [clip for clip in clips if clip["label"] == label]) for label in labels),
        clips_of=clips_of,
        seconds=(
            float(seconds.min()),
            float(np.median(seconds)),
            float(seconds.mean()),
            float(np.percentile(seconds, 90)),
            float(seconds.max()),
        ),
        total=_class_report("all", clips),
        unknown_speakers=sum(clip["speaker"] is None for clip in clips),
        sentences=len({clip["sentence"] for clip in clips} - {None}),
    )


def _class_report(label: str, clips: Sequence[Mapping[str, Any]]) -> ClassReport:
    sex_of = {clip["speaker"]: clip["sex"] for clip in clips if clip["speaker"] is not None}
    sexes = list(sex_of.values())
    return ClassReport(
        label=label,
        native_labels=tuple(sorted({clip["native_label"] for clip in clips} - {None})),
        clips=len(clips),
        women=sexes.count("f"),
        men=sexes.count("m"),
        others=sexes.count(None),
        minutes=sum(clip["duration"] for clip in clips) / 60,
    )


def _text_table(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table)
    return "\n".join(line.rstrip() for line in lines)


def _markdown_table(table: list[list[str]]) -> str:
    header, *body = table
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
