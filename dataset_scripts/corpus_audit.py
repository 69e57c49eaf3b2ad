"""Look into every file of a corpus: is it whole, is it speech, is it there once, is it as published."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
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


def audit_corpus(corpus: SpeechCorpus, num_threads: int = 2) -> list[Finding]:
    """Decode every clip of a corpus and compare it with what is published."""
    with ThreadPoolExecutor(num_threads) as pool, warnings.catch_warnings():
        # Digital silence is reported below; the filter is set once, here, because it belongs to the process.
        warnings.simplefilter("ignore", UserWarning)
        facts = dict(
            zip(
                (clip["id"] for clip in corpus.clips),
                pool.map(inspect_clip, (clip["audio"] for clip in corpus.clips)),
                strict=True,
            )
        )
    readable = {clip_id: fact for clip_id, fact in facts.items() if fact.error is None}
    findings = [Finding("count", True, f"Not as published: {phrase}.") for phrase in corpus.count_differences()]
    findings += _speakers(corpus)
    findings += _fewness(corpus)
    findings += _unreadable(facts)
    findings += _lengths(corpus, readable)
    findings += _duplicates(corpus, readable)
    findings += _levels(corpus, readable)
    findings += _formats(corpus, readable)
    return sorted(findings, key=lambda finding: not finding.serious)


def inspect_clip(audio: Mapping[str, Any]) -> ClipFacts:
    """Decode a clip."""
    try:
        samples, rate = decode_clip(audio)
    except (ValueError, OSError) as error:
        return ClipFacts(error=str(error))
    level = abs(samples)
    return ClipFacts(
        seconds=len(samples) / rate,
        rate=rate,
        channels=read_header(audio).channels,
        peak=float(level.max()),
        clipped_runs=_count_runs(level >= CLIPPED_LEVEL),
        digest=digest_of(samples, rate),
    )


def _count_runs(full: np.ndarray) -> int:
    """Count the runs of at least ``CLIPPED_RUN`` true values in (samples,)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], full, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2] >= CLIPPED_RUN).sum())


def _speakers(corpus: SpeechCorpus) -> list[Finding]:
    unknown = tuple(clip["id"] for clip in corpus.clips if clip.get("speaker") is None)
    if not unknown:
        return []
    message = (
        f"The speakers of {len(unknown)} clip(s) are unknown, no folds can be made: {first_few(unknown)}. Add a "
        "column speaker, or a folder for each speaker (label/speaker/)."
    )
    return [Finding("speaker", True, message, unknown)]


def _fewness(corpus: SpeechCorpus) -> list[Finding]:
    """What own recordings are too few for; a published corpus is as it is."""
    if corpus.published_counts():
        return []
    if any(clip.get("speaker") is None for clip in corpus.clips):  # then nothing is known of who says what
        return []
    findings = []
    speakers = {clip["speaker"] for clip in corpus.clips}
    if len(speakers) < LEAST_SPEAKERS:
        message = (
            f"There are {len(speakers)} speaker(s), {first_few(sorted(speakers))}; a training wants at least "
            f"{LEAST_SPEAKERS}, one to learn from, one to choose by and one to be tested on."
        )
        findings.append(Finding("speaker", True, message))
    clips_of: dict[str, list[str]] = defaultdict(list)
    speakers_of: dict[str, set[str]] = defaultdict(set)
    for clip in corpus.clips:
        if clip["label"] is not None:
            clips_of[clip["label"]].append(clip["id"])
            speakers_of[clip["label"]].add(clip["speaker"])
    if len(clips_of) == 1:
        findings.append(Finding("label", True, f"All clips are of one emotion, {next(iter(clips_of))}: add others."))
    for label, ids in sorted(clips_of.items()):
        if len(speakers_of[label]) < LEAST_SPEAKERS <= len(speakers):
            few = " and ".join(sorted(speakers_of[label]))
            message = (
                f"Of {label} there are clips of {few} only: where they are tested or validate, nobody is left to "
                "learn it from. Record more speakers, or leave it out (--labels)."
            )
            findings.append(Finding("label", True, message, tuple(ids)))
        elif len(ids) < FEW_CLIPS:
            message = f"There are only {len(ids)} clips of {label}: {first_few(ids)}."
            findings.append(Finding("label", False, message, tuple(ids)))
    return findings


def _unreadable(facts: Mapping[str, ClipFacts]) -> list[Finding]:
    return [
        Finding("unreadable", True, f"{clip_id} cannot be decoded: {fact.error}", (clip_id,))
        for clip_id, fact in facts.items()
        if fact.error is not None
    ]


def _lengths(corpus: SpeechCorpus, facts: Mapping[str, ClipFacts]) -> list[Finding]:
    expected = corpus.expected_clips()
    other = {
        clip_id: (fact.seconds, expected[clip_id])
        for clip_id, fact in facts.items()
        if expected.get(clip_id) is not None and abs(fact.seconds - expected[clip_id]) > SAME_LENGTH
    }
    if not other:
        return []
    examples = first_few(
        f"{clip_id} {ours:.2f} s instead of {theirs:.2f}" for clip_id, (ours, theirs) in other.items()
    )
    shorter = sum(ours < theirs for ours, theirs in other.values())
    message = (
        f"{len(other)} clip(s) have not their published length, {shorter} of them are shorter: {examples}. "
        "This copy was cut or resampled wrongly; figures from it cannot be compared."
    )
    return [Finding("length", True, message, tuple(other))]


def _duplicates(corpus: SpeechCorpus, facts: Mapping[str, ClipFacts]) -> list[Finding]:
    about = {clip["id"]: clip for clip in corpus.clips}
    alike: dict[str, list[str]] = defaultdict(list)
    for clip_id, fact in facts.items():
        if fact.digest is not None:
            alike[fact.digest].append(clip_id)
    findings = []
    for ids in alike.values():
        if len(ids) < 2:
            continue
        speakers, labels = ({about[clip_id][column] for clip_id in ids} for column in ("speaker", "native_label"))
        problems = [name for name, values in (("speaker", speakers), ("label", labels)) if len(values) > 1]
        verdict = "of one speaker and label, so they stay in one split"
        if problems:
            verdict = (
                f"they differ in {' and '.join(problems)}, so at least one is wrong, and one may train, one be tested"
            )
        findings.append(
            Finding("duplicate", bool(problems), f"{', '.join(ids)} are the same recording; {verdict}.", tuple(ids))
        )
    return findings


def _levels(corpus: SpeechCorpus, facts: Mapping[str, ClipFacts]) -> list[Finding]:
    quiet = [clip_id for clip_id, fact in facts.items() if fact.peak < SILENT_PEAK]
    published = tuple(clip_id for clip_id in quiet if clip_id.rpartition("/")[2] in corpus.known_silent)
    silent = tuple(clip_id for clip_id in quiet if clip_id not in published)
    clipped = tuple(clip_id for clip_id, fact in facts.items() if fact.clipped_runs >= CLIPPED_RUNS)
    findings = []
    if silent:
        findings.append(Finding("silent", True, f"{len(silent)} clip(s) are silent: {first_few(silent)}.", silent))
    if published:
        text = f"{', '.join(published)} is silent, as it is published; leave it out of a training."
        findings.append(Finding("silent", False, text, published))
    if clipped:
        findings.append(
            Finding(
                "clipped", False, f"{len(clipped)} clip(s) are clipped at full scale: {first_few(clipped)}.", clipped
            )
        )
    return findings


def _formats(corpus: SpeechCorpus, facts: Mapping[str, ClipFacts]) -> list[Finding]:
    findings = []
    for kind, unit in (("rate", "Hz"), ("channels", "channels")):
        counts = Counter(getattr(fact, kind) for fact in facts.values())
        if not counts:
            continue
        usual, _ = counts.most_common(1)[0]
        others = tuple(clip_id for clip_id, fact in facts.items() if getattr(fact, kind) != usual)
        if others:
            examples = first_few(f"{clip_id} {getattr(facts[clip_id], kind)}" for clip_id in others)
            message = f"{len(others)} clip(s) have another number of {unit} than the usual {usual}: {examples}."
            findings.append(Finding(kind, False, message, others))
        if kind == "rate" and corpus.published_rate not in (None, usual):
            message = f"Clips are stored at {usual} Hz; they were published at {corpus.published_rate} Hz."
            findings.append(Finding(kind, False, message))
    return findings
