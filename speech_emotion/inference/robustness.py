"""How often a saved model changes its mind when the same speech comes from another device, line or room."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speech_emotion.evaluation import classification_metrics, text_table
from speech_emotion.training.waveform_effects import RATE, at_half_rate, coded, echoing, noisy, telephone

from .saved_model import check_emotions

if TYPE_CHECKING:
    from modeling_ser import SERPipeline

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def louder(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Change the level, and write with 16 bits as a recorder does: what is too loud is clipped."""
    return np.clip(np.round(samples * 10 ** (decibels / 20) * 32768), -32768, 32767) / 32768


# What is done to a clip. The noise is white, as strong against the whole clip, pauses included, as is said.
CHANGES: dict[str, Change] = {
    "none": lambda samples, random: samples,
    "12 dB quieter": lambda samples, random: louder(samples, -12),
    "12 dB louder (clipped)": lambda samples, random: louder(samples, 12),
    "1 s of digital silence at both ends": lambda samples, random: np.pad(samples, RATE),
    "MP3, 32 kbit/s": lambda samples, random: coded(samples, "mp3", 0.4),
    "MP3, lowest rate": lambda samples, random: coded(samples, "mp3", 1.0),
    "Opus, lowest rate": lambda samples, random: coded(samples, "opus", 1.0),
    "8 kHz": lambda samples, random: at_half_rate(samples),
    "telephone, 300 to 3400 Hz": lambda samples, random: telephone(samples),
    "room, echoes of 0.4 s 6 dB below": lambda samples, random: echoing(samples, 0.4, 6, random),
    "noise, 15 dB": lambda samples, random: noisy(samples, 15, "white", random),
}


@dataclass(frozen=True)
class ChangeEffect:
    """What a change of the clips did to what a model says of them."""

    change: str  # one of CHANGES
    flipped: float  # share of the clips that are called something else than unchanged
    ua: float | None  # mean recall over emotions; None where nobody knows the emotions
    wa: float | None  # accuracy


def measure_robustness(
    classifier: "SERPipeline",
    waveforms: Sequence[np.ndarray],
    labels: Sequence[str] | None = None,
    batch_size: int = 8,
) -> Iterator[ChangeEffect]:
    """Measure how a model's labels follow changes of the clips that change no emotion.

    Args:
        classifier: The model, with its feature extractor, at 16 kHz.
        waveforms: The clips, (samples,) each; of speakers whom the model has not heard.
        labels: The emotion of each; without them, UA and WA remain unknown.
        batch_size: Clips at a time.

    Yields:
        What each of `CHANGES` did, the first being none.

    Raises:
        ValueError: If there are no clips, a label is none of the model's, or it works at another rate.
    """
    check_emotions(classifier, "The measurement of robustness")
    if not len(waveforms):
        raise ValueError("There are no clips to measure with.")
    if classifier.feature_extractor.sampling_rate != RATE:
        raise ValueError(f"Clips are changed at {RATE} Hz; the model works at another rate.")
    numbers = {label: index for index, label in classifier.model.config.id2label.items()}
    unknown = sorted(set(labels or ()) - set(numbers))
    if unknown:
        raise ValueError(f"The label {unknown[0]!r} is none of the model's: {', '.join(numbers)}.")
    truth = None if labels is None else [numbers[label] for label in labels]
    first: list[int] = []
    for name, change in CHANGES.items():
        found = [numbers[label] for label in _labels(classifier, _changed(waveforms, change, name), batch_size)]
        first = first or found
        flipped = float(np.mean(np.not_equal(found, first)))
        known = {} if truth is None else classification_metrics(truth, found, len(numbers))
        yield ChangeEffect(name, flipped, known.get("ua"), known.get("wa"))


def own_test_clips(
    folder: Path, load_audio: Callable[[Any], np.ndarray], data_dir: str | None = None, cache_dir: str | None = None
) -> tuple[list[np.ndarray], list[str]]:
    """Read the test clips of a run's fold, and their emotions."""
    from dataset_scripts import load_corpus, load_fold
    from speech_emotion.training.card import UNSAFE
    from speech_emotion.training.splits import keep_labels, name_unknown_speakers

    for name in ("fold.jsonl", "results.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}, which tells of its clips. Name a run's folder, or files."
            )
    report = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    corpus = load_corpus(
        report["corpus"], data_dir=data_dir, config=report["arguments"].get("config"), cache_dir=cache_dir
    )
    rows, _ = keep_labels(corpus, report["labels"])
    unsafe = report["arguments"].get("scheme") == UNSAFE
    rows = name_unknown_speakers(rows) if unsafe else rows
    tested = set(load_fold(folder / "fold.jsonl", rows, shares_speakers=unsafe).test)
    clips = rows.select([index for index, clip in enumerate(rows["id"][:]) if clip in tested])
    return [load_audio(audio) for audio in clips["audio"]], clips["label"][:]


def robustness_table(effects: Iterable[ChangeEffect]) -> str:
    """Write what changes did as a table, in per cent."""
    rows = [
        [one.change, *("" if value is None else f"{100 * value:.1f}" for value in (one.flipped, one.ua, one.wa))]
        for one in effects
    ]
    return text_table(["change", "labels flipped %", "UA %", "WA %"], rows)


def _changed(waveforms: Sequence[np.ndarray], change: Change, name: str) -> Iterator[np.ndarray]:
    for index, waveform in enumerate(waveforms):
        seed = hashlib.sha256(f"{name}|{index}".encode()).digest()  # the same chance in every run
        random = np.random.default_rng(int.from_bytes(seed[:16], "big"))
        yield change(waveform.astype(np.float64), random).astype(np.float32)


def _labels(classifier: "SERPipeline", waveforms: Iterable[np.ndarray], batch_size: int) -> list[str]:
    clips = ({"array": waveform, "sampling_rate": RATE} for waveform in waveforms)
    return [scores[0]["label"] for scores in classifier(clips, batch_size=batch_size, top_k=1)]
