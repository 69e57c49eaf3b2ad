"""Clips of several corpora at once, with other emotions in each, beside sounds without speech."""

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import soundfile

from dataset_scripts import load_corpus
from feature_extraction import SERFeatureExtractor
from feature_extraction.audio_decoding import SilentClipWarning
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.splits import ClipSplit
from speech_emotion.training.waveform_effects import RATE
from speech_emotion.training.waveform_variants import EXCERPT

from .no_speech import LEARNED, NO_SPEECH, SOUNDS_VERSION, TESTED, make_sound

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
LABELS = (*EMOTIONS, NO_SPEECH)
SOUNDS = "sounds"  # where the sounds without speech are from
# An emotion of a corpus counts as if it had so many clips at least: small corpora are not drowned by large ones.
CLIPS_OF_EMOTION = 500


@dataclass(frozen=True)
class JointClips:
    """Clips with their features, and what is known of each; all arrays (clips,)."""

    features: datasets.Dataset
    variants: tuple[datasets.Dataset, ...]  # the last one of them holds short parts of the clips
    positions: np.ndarray  # row of the features
    ids: np.ndarray  # corpus/clip
    speakers: np.ndarray  # corpus/speaker; of a sound without speech its kind
    places: np.ndarray  # corpus
    sexes: np.ndarray  # "f", "m" or ""
    truth: np.ndarray  # index into LABELS
    allowed: np.ndarray  # (clips, labels): what the clip's label was chosen among, and `no_speech`

    def of(self, *places: str) -> np.ndarray:
        """Give the positions of the clips of some corpora."""
        return np.flatnonzero(np.isin(self.places, places))

    def part(self, positions: Sequence[int] | np.ndarray, learned: bool = False) -> "JointSplit":
        """Take some of the clips; those to learn from come in variants, and those of a rare emotion several times."""
        chosen = np.asarray(positions)
        if learned:
            cells = [f"{self.places[one]} {self.truth[one]}" for one in chosen]
            _, cell, count = np.unique(cells, return_inverse=True, return_counts=True)
            times = np.maximum(1, np.round(CLIPS_OF_EMOTION / count[cell])).astype(int)
            chosen = np.repeat(chosen, np.where(self.places[chosen] == SOUNDS, 1, times))
        return JointSplit(self, chosen, self.features, self.variants if learned else ())

    def excerpts(self, positions: Sequence[int] | np.ndarray) -> "JointSplit":
        """Take short parts of some of the clips."""
        return JointSplit(self, np.asarray(positions), self.variants[-1], ())


class JointSplit(ClipSplit):
    """Clips of a split, each with the labels that it could have."""

    def __init__(
        self,
        clips: JointClips,
        chosen: np.ndarray,
        features: datasets.Dataset,
        variants: Sequence[datasets.Dataset],
    ) -> None:
        super().__init__(
            features,
            clips.positions[chosen],
            clips.ids[chosen].tolist(),
            clips.speakers[chosen].tolist(),
            clips.truth[chosen].tolist(),
            variants,
        )
        self.clips, self.chosen = clips, chosen
        self.allowed, self.sexes = clips.allowed[chosen], clips.sexes[chosen]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read a clip, as `ClipSplit` does, and `class_mask`, (labels,)."""
        return super().__getitem__(index) | {"class_mask": self.allowed[index % len(self)]}


def corpus_rows(name: str, data_dir: str | Path | None, cache_dir: str | Path | None) -> datasets.Dataset:
    """Load a corpus from its usual place, or from a folder of folders of corpora."""
    return load_corpus(name, data_dir=None if data_dir is None else Path(data_dir, name), cache_dir=cache_dir)


def read_clips(
    corpora: Sequence[str],
    extractor: SERFeatureExtractor,
    *,
    sounds: Sequence[str] = (),
    sounds_of_kind: int = 100,
    variants: int = 0,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> JointClips:
    """Read corpora, compute features or find them computed, and keep the clips of `EMOTIONS`."""
    tables = {name: corpus_rows(name, data_dir, cache_dir) for name in corpora}
    if sounds:
        tables[SOUNDS] = sound_rows(sounds, sounds_of_kind, cache_dir)
    with warnings.catch_warnings(action="ignore", category=SilentClipWarning):  # which some sounds are
        found = [
            [cache_features(rows, extractor, variant=variant) for rows in tables.values()]
            for variant in (*range(variants + 1), EXCERPT)
        ]
    joined = [datasets.concatenate_datasets(parts).with_format("numpy") for parts in found]
    clips: list[tuple[Any, ...]] = []
    first = 0  # row of the features
    for name, rows in tables.items():
        labels = rows["label"][:]
        present = EMOTIONS if name == SOUNDS else set(labels)
        allowed = [label in present or label == NO_SPEECH for label in LABELS]
        known = zip(rows["id"][:], rows["speaker"][:], rows["sex"][:], labels, strict=True)
        clips += [
            (row, f"{name}/{clip}", f"{name}/{speaker}", name, sex or "", LABELS.index(label), allowed)
            for row, (clip, speaker, sex, label) in enumerate(known, start=first)
            if label in LABELS  # corpora have others, too
        ]
        first += len(rows)
    return JointClips(joined[0], tuple(joined[1:]), *(np.array(values) for values in zip(*clips, strict=True)))


def sound_rows(kinds: Sequence[str], of_kind: int, cache_dir: str | Path | None = None) -> datasets.Dataset:
    """Make sounds without speech, as a corpus whose speakers are the kinds."""

    def generate() -> Iterator[dict[str, Any]]:
        for kind in kinds:
            for number in range(of_kind):
                sound = make_sound(kind, number)
                soundfile.write(file := io.BytesIO(), sound, RATE, format="WAV", subtype="FLOAT")
                name = f"{kind}-{number:03d}"
                yield {
                    "id": name,
                    "file": f"{name}.wav",
                    "audio": {"path": None, "bytes": file.getvalue()},
                    "duration": len(sound) / RATE,
                    "speaker": kind,
                    "sex": None,
                    "label": NO_SPEECH,
                }

    texts = {name: datasets.Value("string") for name in ("id", "file", "speaker", "sex", "label")}
    audio = {"path": datasets.Value("string"), "bytes": datasets.Value("binary")}
    return datasets.Dataset.from_generator(
        generate,
        features=datasets.Features({**texts, "duration": datasets.Value("float64"), "audio": audio}),
        cache_dir=None if cache_dir is None else str(cache_dir),
        fingerprint=datasets.fingerprint.Hasher.hash([SOUNDS_VERSION, list(kinds), of_kind]),
    )


__all__ = ["EMOTIONS", "LABELS", "LEARNED", "SOUNDS", "TESTED", "JointClips", "JointSplit", "read_clips", "sound_rows"]
