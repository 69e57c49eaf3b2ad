"""Look into every file of a corpus: is it whole, is it speech, is it there once, is it as published."""

import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from feature_extraction.audio_decoding import SilentClipWarning

from .audio_leaks import decode_clip, digest_of, read_header
from .corpus_base import SpeechCorpus
from .names import first_few

SILENT_PEAK = 0.001
"""Of full scale, -60 dB: below it a clip counts as silent."""
CLIPPED_LEVEL = 0.999
CLIPPED_RUN = 3
"""So many successive samples at full scale, several times in a clip, are no chance."""
CLIPPED_RUNS = 3
LEAST_SPEAKERS = 3
"""One to test, one to validate, one to train."""
FEW_CLIPS = 10
"""An emotion with fewer is hardly learned, and its recall moves by more than ten points with each clip."""
FAR_OUT = 3.0
"""Quartile ranges of the lengths (as ratios) beyond the quartiles from which on a clip is unlike the others."""
LEAST_RANGE = 1.3
"""Ratio that the quartiles are taken to differ by at least, where clips are of almost one length."""
SAME_LENGTH = 0.05
"""Seconds by which a re-encoded copy may differ from the published length."""


COLUMNS = ("speaker", "label", "native_label")
FACTS = ("error", "seconds", "rate", "channels", "peak", "clipped_runs", "digest")
"""What decoding a clip tells."""


@dataclass(frozen=True)
class Finding:
    """Something a user of the corpus must know."""

    kind: str
    serious: bool  # whether figures from this copy would be wrong or not comparable; else it is only worth knowing
    message: str  # one sentence
    clips: tuple[str, ...] = ()  # ids of the clips concerned


def audit_corpus(corpus: SpeechCorpus, num_threads: int = 2) -> list[Finding]:
    """Decode every clip of a corpus and compare it with what is published; serious findings come first."""
    with ThreadPoolExecutor(num_threads) as pool, warnings.catch_warnings(record=True) as told:
        # The filter is set once, here, because it belongs to the process.
        warnings.simplefilter("always", UserWarning)
        inspected = list(pool.map(lambda clip: inspect_clip(corpus, clip), corpus.clips))
    clips = pd.DataFrame([clip | facts for clip, facts in zip(corpus.clips, inspected, strict=True)])
    clips = clips.set_index("id").reindex(columns=[*COLUMNS, *FACTS])
    findings = [Finding("count", True, f"Not as published: {phrase}.") for phrase in corpus.count_differences()]
    findings += _speakers(corpus, clips)
    findings += [
        Finding("unreadable", True, f"{clip_id} cannot be decoded: {error}", (clip_id,))
        for clip_id, error in clips["error"].dropna().items()
    ]
    # Digital silence is found below.
    odd = sorted({str(one.message) for one in told if one.category is not SilentClipWarning})
    findings += [Finding("odd", False, message) for message in odd]
    readable = clips[clips["error"].isna()]
    for look in (_lengths, _outliers, _duplicates, _levels, _formats):
        findings += look(corpus, readable)
    return sorted(findings, key=lambda finding: not finding.serious)


def inspect_clip(corpus: SpeechCorpus, clip: Mapping[str, Any]) -> dict[str, Any]:
    """Decode a clip: its ``FACTS``, or why they are not known."""
    try:
        audio = corpus.audio_of(clip)
        samples, rate = decode_clip(audio)
    except (ValueError, OSError) as error:
        return {"error": str(error)}
    level = abs(samples)
    edges = np.flatnonzero(np.diff(level >= CLIPPED_LEVEL, prepend=False, append=False))  # of runs at full scale
    return {
        "seconds": len(samples) / rate,
        "rate": rate,
        "channels": read_header(audio).channels,
        "peak": level.max(),  # largest magnitude, in [0, 1]
        "clipped_runs": int((edges[1::2] - edges[::2] >= CLIPPED_RUN).sum()),
        "digest": digest_of(samples, rate),  # none where there is digital silence
    }


def _speakers(corpus: SpeechCorpus, clips: pd.DataFrame) -> Iterator[Finding]:
    """Are speakers known, and are own recordings enough? A published corpus is as it is."""
    unknown = tuple(clips.index[clips["speaker"].isna()])
    if unknown:
        message = f"The speakers of {len(unknown)} clip(s) are unknown, no folds can be made: {first_few(unknown)}. "
        message += "Add a column speaker, or a folder for each speaker (label/speaker/)."
        yield Finding("speaker", True, message, unknown)
    if unknown or corpus.published_counts():
        return
    speakers = sorted(corpus.speakers)
    if len(speakers) < LEAST_SPEAKERS:
        message = (
            f"There are {len(speakers)} speaker(s), {first_few(speakers)}; a training wants at least "
            f"{LEAST_SPEAKERS}, one to learn from, one to choose by and one to be tested on."
        )
        yield Finding("speaker", True, message)
    labels = clips.groupby("label")
    if len(labels) == 1:
        yield Finding("label", True, f"All clips are of one emotion, {clips['label'].iloc[0]}: add others.")
    for label, those in labels:
        ids, who = tuple(those.index), sorted(those["speaker"].unique())
        if len(who) < LEAST_SPEAKERS <= len(speakers):
            message = (
                f"Of {label} there are clips of {' and '.join(who)} only: where they are tested or validate, nobody "
                "is left to learn it from. Record more speakers, or leave it out (--labels)."
            )
            yield Finding("label", True, message, ids)
        elif len(ids) < FEW_CLIPS:
            yield Finding("label", False, f"There are only {len(ids)} clips of {label}: {first_few(ids)}.", ids)


def _lengths(corpus: SpeechCorpus, clips: pd.DataFrame) -> Iterator[Finding]:
    published = clips.index.map(corpus.expected_clips()).astype(float)
    other = clips.assign(published=published)[(clips["seconds"] - published).abs() > SAME_LENGTH]
    if len(other):
        shorter = (other["seconds"] < other["published"]).sum()
        pairs = zip(other.index, other["seconds"], other["published"], strict=True)
        examples = first_few(f"{clip} {ours:.2f} s instead of {theirs:.2f}" for clip, ours, theirs in pairs)
        message = (
            f"{len(other)} clip(s) have not their published length, {shorter} of them are shorter: {examples}. "
            "This copy was cut or resampled wrongly; figures from it cannot be compared."
        )
        yield Finding("length", True, message, tuple(other.index))


def _outliers(corpus: SpeechCorpus, clips: pd.DataFrame) -> Iterator[Finding]:
    """Find clips far longer or shorter than the others, which were not cut, perhaps, or cut off."""
    if clips.empty or corpus.expected_clips():  # published lengths tell better
        return
    lengths = clips["seconds"].sort_values()
    low, high = lengths.quantile([0.25, 0.75])
    reach = max(high / low, LEAST_RANGE) ** FAR_OUT
    longer, shorter = lengths[lengths > high * reach][::-1], lengths[lengths < low / reach]
    for kind, others in (("longer", longer), ("shorter", shorter)):
        if len(others):
            examples = first_few(f"{clip_id} {seconds:.2f} s" for clip_id, seconds in others.items())
            usual = f"of which half have {low:.2f} to {high:.2f} s"
            message = f"{len(others)} clip(s) are far {kind} than the others, {usual}: {examples}."
            yield Finding("length", False, message, tuple(others.index))


def _duplicates(corpus: SpeechCorpus, clips: pd.DataFrame) -> Iterator[Finding]:
    for _, same in clips.groupby("digest", sort=False):
        if len(same) < 2:
            continue
        columns = {"speaker": "speaker", "label": "native_label"}
        problems = [name for name, column in columns.items() if same[column].nunique(dropna=False) > 1]
        verdict = "of one speaker and label, so they stay in one split"
        if problems:
            verdict = (
                f"they differ in {' and '.join(problems)}, so at least one is wrong, and one may train, one be tested"
            )
        message = f"{', '.join(same.index)} are the same recording; {verdict}."
        yield Finding("duplicate", bool(problems), message, tuple(same.index))


def _levels(corpus: SpeechCorpus, clips: pd.DataFrame) -> Iterator[Finding]:
    quiet = clips.index[clips["peak"] < SILENT_PEAK]
    published = tuple(clip_id for clip_id in quiet if clip_id.rpartition("/")[2] in corpus.known_silent)
    silent = tuple(clip_id for clip_id in quiet if clip_id not in published)
    clipped = tuple(clips.index[clips["clipped_runs"] >= CLIPPED_RUNS])
    if silent:
        yield Finding("silent", True, f"{len(silent)} clip(s) are silent: {first_few(silent)}.", silent)
    if published:
        message = f"{', '.join(published)} is silent, as it is published; leave it out of a training."
        yield Finding("silent", False, message, published)
    if clipped:
        message = f"{len(clipped)} clip(s) are clipped at full scale: {first_few(clipped)}."
        yield Finding("clipped", False, message, clipped)


def _formats(corpus: SpeechCorpus, clips: pd.DataFrame) -> Iterator[Finding]:
    for kind, unit in (("rate", "Hz"), ("channels", "channels")) if len(clips) else ():
        found = clips[kind].astype(int)
        usual = found.mode()[0]
        others = found[found != usual]
        if len(others):
            examples = first_few(f"{clip_id} {value}" for clip_id, value in others.items())
            message = f"{len(others)} clip(s) have another number of {unit} than the usual {usual}: {examples}."
            yield Finding(kind, False, message, tuple(others.index))
        if kind == "rate" and corpus.published_rate not in (None, usual):
            message = f"Clips are stored at {usual} Hz; they were published at {corpus.published_rate} Hz."
            yield Finding(kind, False, message)
