"""Look into every file of a corpus: is it whole, is it speech, is it there once, is it as published."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

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
SAME_LENGTH = 0.05
"""Seconds by which a re-encoded copy may differ from the published length."""


@dataclass(frozen=True)
class Finding:
    """Something a user of the corpus must know."""

    kind: str
    serious: bool  # whether figures from this copy would be wrong or not comparable; else it is only worth knowing
    message: str  # one sentence
    clips: tuple[str, ...] = ()  # ids of the clips concerned


@dataclass(frozen=True)
class ClipFacts:
    """What decoding a clip tells."""

    error: str | None = None  # why it could not be decoded; the rest then has no meaning
    seconds: float = 0.0  # length
    rate: int = 0  # sampling rate in Hz
    channels: int = 0  # number of channels
    peak: float = 0.0  # largest magnitude, in [0, 1]
    clipped_runs: int = 0  # runs of at least ``CLIPPED_RUN`` samples at full scale
    digest: str | None = None  # hash of the samples; ``None`` for digital silence


Facts = Mapping[str, ClipFacts]
"""What decoding tells of each clip that can be decoded, by its id."""


def audit_corpus(corpus: SpeechCorpus, num_threads: int = 2) -> list[Finding]:
    """Decode every clip of a corpus and compare it with what is published; serious findings come first."""
    with ThreadPoolExecutor(num_threads) as pool, warnings.catch_warnings():
        # Digital silence is reported below; the filter is set once, here, because it belongs to the process.
        warnings.simplefilter("ignore", UserWarning)
        inspected = pool.map(inspect_clip, (clip["audio"] for clip in corpus.clips))
        facts = dict(zip((clip["id"] for clip in corpus.clips), inspected, strict=True))
    readable = {clip_id: fact for clip_id, fact in facts.items() if fact.error is None}
    findings = [Finding("count", True, f"Not as published: {phrase}.") for phrase in corpus.count_differences()]
    findings += _speakers(corpus)
    findings += [
        Finding("unreadable", True, f"{clip_id} cannot be decoded: {fact.error}", (clip_id,))
        for clip_id, fact in facts.items()
        if fact.error is not None
    ]
    for look in (_lengths, _duplicates, _levels, _formats):
        findings += look(corpus, readable)
    return sorted(findings, key=lambda finding: not finding.serious)


def inspect_clip(audio: Mapping[str, Any]) -> ClipFacts:
    """Decode a clip."""
    try:
        samples, rate = decode_clip(audio)
    except (ValueError, OSError) as error:
        return ClipFacts(error=str(error))
    level = abs(samples)
    edges = np.flatnonzero(np.diff(level >= CLIPPED_LEVEL, prepend=False, append=False))  # of runs at full scale
    return ClipFacts(
        seconds=len(samples) / rate,
        rate=rate,
        channels=read_header(audio).channels,
        peak=float(level.max()),
        clipped_runs=int((edges[1::2] - edges[::2] >= CLIPPED_RUN).sum()),
        digest=digest_of(samples, rate),
    )


def _speakers(corpus: SpeechCorpus) -> Iterator[Finding]:
    """Are speakers known, and are own recordings enough? A published corpus is as it is."""
    unknown = tuple(clip["id"] for clip in corpus.clips if clip["speaker"] is None)
    if unknown:
        message = f"The speakers of {len(unknown)} clip(s) are unknown, no folds can be made: {first_few(unknown)}. "
        message += "Add a column speaker, or a folder for each speaker (label/speaker/)."
        yield Finding("speaker", True, message, unknown)
    if unknown or corpus.published_counts():
        return
    speakers = corpus.speakers
    if len(speakers) < LEAST_SPEAKERS:
        message = (
            f"There are {len(speakers)} speaker(s), {first_few(sorted(speakers))}; a training wants at least "
            f"{LEAST_SPEAKERS}, one to learn from, one to choose by and one to be tested on."
        )
        yield Finding("speaker", True, message)
    clips_of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for clip in corpus.clips:
        if clip["label"] is not None:
            clips_of[clip["label"]].append(clip)
    if len(clips_of) == 1:
        yield Finding("label", True, f"All clips are of one emotion, {next(iter(clips_of))}: add others.")
    for label, clips in sorted(clips_of.items()):
        ids = tuple(clip["id"] for clip in clips)
        those = sorted({clip["speaker"] for clip in clips})
        if len(those) < LEAST_SPEAKERS <= len(speakers):
            message = (
                f"Of {label} there are clips of {' and '.join(those)} only: where they are tested or validate, nobody "
                "is left to learn it from. Record more speakers, or leave it out (--labels)."
            )
            yield Finding("label", True, message, ids)
        elif len(ids) < FEW_CLIPS:
            yield Finding("label", False, f"There are only {len(ids)} clips of {label}: {first_few(ids)}.", ids)


def _lengths(corpus: SpeechCorpus, facts: Facts) -> Iterator[Finding]:
    published = corpus.expected_clips()
    lengths = {clip_id: (fact.seconds, published.get(clip_id)) for clip_id, fact in facts.items()}
    other = {
        clip_id: (ours, theirs)
        for clip_id, (ours, theirs) in lengths.items()
        if theirs is not None and abs(ours - theirs) > SAME_LENGTH
    }
    if other:
        shorter = sum(ours < theirs for ours, theirs in other.values())
        examples = first_few(f"{clip} {ours:.2f} s instead of {theirs:.2f}" for clip, (ours, theirs) in other.items())
        message = (
            f"{len(other)} clip(s) have not their published length, {shorter} of them are shorter: {examples}. "
            "This copy was cut or resampled wrongly; figures from it cannot be compared."
        )
        yield Finding("length", True, message, tuple(other))


def _duplicates(corpus: SpeechCorpus, facts: Facts) -> Iterator[Finding]:
    about = {clip["id"]: clip for clip in corpus.clips}
    alike: dict[str, list[str]] = defaultdict(list)
    for clip_id, fact in facts.items():
        if fact.digest is not None:
            alike[fact.digest].append(clip_id)
    for ids in alike.values():
        if len(ids) < 2:
            continue
        columns = {"speaker": "speaker", "label": "native_label"}
        problems = [name for name, column in columns.items() if len({about[clip_id][column] for clip_id in ids}) > 1]
        verdict = "of one speaker and label, so they stay in one split"
        if problems:
            verdict = (
                f"they differ in {' and '.join(problems)}, so at least one is wrong, and one may train, one be tested"
            )
        message = f"{', '.join(ids)} are the same recording; {verdict}."
        yield Finding("duplicate", bool(problems), message, tuple(ids))


def _levels(corpus: SpeechCorpus, facts: Facts) -> Iterator[Finding]:
    quiet = [clip_id for clip_id, fact in facts.items() if fact.peak < SILENT_PEAK]
    published = tuple(clip_id for clip_id in quiet if clip_id.rpartition("/")[2] in corpus.known_silent)
    silent = tuple(clip_id for clip_id in quiet if clip_id not in published)
    clipped = tuple(clip_id for clip_id, fact in facts.items() if fact.clipped_runs >= CLIPPED_RUNS)
    if silent:
        yield Finding("silent", True, f"{len(silent)} clip(s) are silent: {first_few(silent)}.", silent)
    if published:
        message = f"{', '.join(published)} is silent, as it is published; leave it out of a training."
        yield Finding("silent", False, message, published)
    if clipped:
        message = f"{len(clipped)} clip(s) are clipped at full scale: {first_few(clipped)}."
        yield Finding("clipped", False, message, clipped)


def _formats(corpus: SpeechCorpus, facts: Facts) -> Iterator[Finding]:
    for kind, unit in (("rate", "Hz"), ("channels", "channels")) if facts else ():
        found = {clip_id: getattr(fact, kind) for clip_id, fact in facts.items()}
        ((usual, _),) = Counter(found.values()).most_common(1)
        others = tuple(clip_id for clip_id, value in found.items() if value != usual)
        if others:
            examples = first_few(f"{clip_id} {found[clip_id]}" for clip_id in others)
            message = f"{len(others)} clip(s) have another number of {unit} than the usual {usual}: {examples}."
            yield Finding(kind, False, message, others)
        if kind == "rate" and corpus.published_rate not in (None, usual):
            message = f"Clips are stored at {usual} Hz; they were published at {corpus.published_rate} Hz."
            yield Finding(kind, False, message)
