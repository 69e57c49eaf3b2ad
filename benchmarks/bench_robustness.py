"""What gain, silence, coding, bands, echoes and noise do to what models of two presets say of unseen speakers."""

import tempfile
from pathlib import Path

from benchmarks.measuring import section, table
from dataset_scripts import Fold, load_corpus, save_fold
from speech_emotion.inference.robustness import ChangeEffect, measure_robustness, own_test_clips
from speech_emotion.inference.saved_model import load_saved
from speech_emotion.training import parse_arguments, run_training

TESTED = {f"Actor_{number:02d}" for number in range(1, 9)}
VALIDATING = {f"Actor_{number:02d}" for number in (9, 10, 15, 16)}  # two women, two men; twelve others train
PRESETS = ("recommended", "paper")


def train_and_measure(preset: str, folder: Path) -> list[ChangeEffect]:
    """Train on 16 actors of RAVDESS, four of them for validation, and change the clips of the 8 others."""
    rows = load_corpus("ravdess")
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for clip, speaker in zip(rows["id"][:], rows["speaker"][:], strict=True):
        splits["test" if speaker in TESTED else "validation" if speaker in VALIDATING else "train"].append(clip)
    folder.mkdir()
    save_fold(Fold(**{name: tuple(clips) for name, clips in splits.items()}), rows, folder / "actors.jsonl")
    words = ["--corpus", "ravdess", "--preset", preset, "--seed", "0", "--report_to", "none"]
    words += ["--folds_file", str(folder / "actors.jsonl"), "--output_dir", str(folder / "run")]
    run_training(*parse_arguments(words))
    network, extractor = load_saved(str(folder / "run"))
    waveforms, labels = own_test_clips(folder / "run", extractor.load_audio)
    return list(measure_robustness(network.as_pipeline(extractor), waveforms, labels))


def main() -> str:
    """Return the section of RESULTS.md; without RAVDESS it says so."""
    title = "Labels flipped by changes of the recording"
    try:
        load_corpus("ravdess")
    except FileNotFoundError as error:
        return section(title, "Not measured: RAVDESS is not there.", str(error))
    with tempfile.TemporaryDirectory(prefix="ser-robustness-") as folder:
        found = {preset: train_and_measure(preset, Path(folder, preset)) for preset in PRESETS}
    rows = [
        [effects[0].change, *(f"{100 * one.flipped:.1f} ({100 * (one.ua or 0):.1f})" for one in effects)]
        for effects in zip(*found.values(), strict=True)
    ]
    text = (
        f"Labels in per cent that a change of the clip flips, in parentheses UA. RAVDESS, 8 emotions: {len(TESTED)} "
        f"actors are tested whom neither training nor validation has heard ({len(VALIDATING)} of the other 16 "
        "validate); seed 0. The noise is white, 15 dB below the whole clip; `ser robustness` measures any saved model."
    )
    return section(title, text, table(["change", *(f"`--preset {preset}`" for preset in PRESETS)], rows))
