"""The layer study: which of DeepSpeech's six layers holds emotion, and which the speaker, on RAVDESS."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
import torch
from tqdm import tqdm

from dataset_scripts import load_corpus, speaker_folds
from dataset_scripts.audio_leaks import digest_of
from feature_extraction.speech_encoders import CLIPS_PER_PASS, DeepSpeechEncoder
from speech_emotion.evaluation.figures import figure_style
from speech_emotion.evaluation.intervals import RESAMPLES
from speech_emotion.training.splits import keep_labels

from .layer_activations import FRAMES, LAYERS, clip_statistics, layer_activations, load_deepspeech, resample_frames
from .layer_correlation import LayerCorrelation, Take, pearson_matrix, ravdess_takes, summarize_correlations
from .layer_findings import VARIANTS, LayerStudy, write_layer_study
from .layer_probe import ua_by_layer

# The slides' rows: anger, fearful, happy, calm, sad.
PAPER_LABELS = ("anger", "fear", "happiness", "calm", "sadness")
INTENSITIES = {"normal": "01", "strong": "02"}


@dataclass(frozen=True)
class LayerStudyArguments:
    """What to study."""

    output_dir: str  # folder for figures and numbers
    data_dir: str | None = None  # folder of RAVDESS; `None` for its usual place
    encoder: str | None = None
    encoder_revision: str | None = None  # its revision on the Hub
    labels: list[str] = field(default_factory=lambda: list(PAPER_LABELS))  # emotions whose activations are correlated
    intensity: str = "normal"
    num_folds: int = 6  # folds of speakers for the probe
    cache_dir: str | None = None  # folder of the built corpus; `None` for the cache of `datasets`


def run_layer_study(args: LayerStudyArguments) -> LayerStudy:
    """Run the study and write `layers.json`, `layers.csv`, `layers.png`, `layers.svg` and `activations.png`."""
    if args.intensity not in INTENSITIES:
        raise ValueError(f"intensity={args.intensity!r}: choose one of {', '.join(INTENSITIES)}.")
    with figure_style():  # before the work, not after it: figures need matplotlib
        pass
    encoder = load_deepspeech(args.encoder, args.encoder_revision)
    rows = load_corpus("ravdess", data_dir=args.data_dir, cache_dir=args.cache_dir)
    keep_labels(rows, args.labels)  # an emotion that the corpus does not have is refused before the work
    takes = ravdess_takes(rows.remove_columns("audio"))
    chosen = [take.emotion in args.labels and take.intensity == INTENSITIES[args.intensity] for take in takes]
    _one_sentence([take for take, one in zip(takes, chosen, strict=True) if one], args.labels)  # refuses early, too
    kept, statistics, sequences = read_clips(rows, encoder, chosen)
    rows, takes = rows.select(kept), [takes[index] for index in kept]
    compared = [index for index, clip in enumerate(kept) if chosen[clip]]
    correlations = correlate_layers(sequences, [takes[index] for index in compared])
    classes = sorted(set(rows["label"]))
    probes = ua_by_layer(
        {name: np.stack([clip[number] for clip in statistics]) for number, name in enumerate(LAYERS)},
        rows["id"][:],
        [classes.index(label) for label in rows["label"]],
        rows["speaker"][:],
        speaker_folds(rows.remove_columns("audio"), scheme="k-fold", k=args.num_folds),
    )
    facts = {
        "corpus": "ravdess",
        "encoder": Path(args.encoder).name if args.encoder else "deepspeech-small",
        "hidden_size": encoder.model.config.hidden_size,
        "speakers": len(set(rows["speaker"])),
        "correlated": {
            "labels": list(args.labels),
            "intensity": args.intensity,
            "clips": len(compared),
            "frames": FRAMES,
        },
        "probe": {"labels": classes, "clips": len(kept), "folds": args.num_folds},
        "intervals": f"95%, {RESAMPLES} resamples of speakers",
    }
    study = LayerStudy(correlations, probes, facts)
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    first = _one_sentence([takes[index] for index in compared], args.labels)
    write_layer_study(study, folder, [[layer[index] for layer in sequences] for index in first])
    return study


def read_clips(
    rows: datasets.Dataset, encoder: DeepSpeechEncoder, chosen: list[bool]
) -> tuple[list[int], list[list[np.ndarray]], list[np.ndarray]]:
    """Compute all layers of all clips in one pass; keep statistics of each, and sequences of the chosen ones."""
    kept: list[int] = []
    statistics: list[list[np.ndarray]] = []
    sequences: list[list[np.ndarray]] = [[] for _ in LAYERS]
    seen: set[str] = set()
    waiting: list[tuple[int, torch.Tensor]] = []

    def flush() -> None:
        for (position, _), layers in zip(waiting, layer_activations(encoder, [w for _, w in waiting]), strict=True):
            kept.append(position)
            statistics.append([clip_statistics(layer) for layer in layers])
            if chosen[position]:
                for sequence, layer in zip(sequences, layers, strict=True):
                    sequence.append(resample_frames(layer))
        waiting.clear()

    for position, audio in enumerate(tqdm(rows["audio"], unit="clip", disable=not sys.stderr.isatty())):
        waveform = encoder.extractor.load_audio(audio)
        recording = digest_of(waveform, encoder.sampling_rate)
        if recording is not None and recording in seen:
            continue
        seen.add(recording)
        waiting.append((position, torch.from_numpy(waveform)))
        if len(waiting) == CLIPS_PER_PASS:
            flush()
    if waiting:
        flush()
    return kept, statistics, [np.stack(layer) for layer in sequences]


def correlate_layers(sequences: list[np.ndarray], takes: list[Take]) -> dict[str, dict[str, LayerCorrelation]]:
    """Correlate clips in each layer, with and without the units' own levels."""
    found: dict[str, dict[str, LayerCorrelation]] = {variant: {} for variant in VARIANTS}
    for name, layer in zip(LAYERS, sequences, strict=True):
        centered = layer - layer.mean(axis=(0, 1), dtype=np.float64)  # (clips, frames, units)
        for variant, values in (("plain", layer), ("centered", centered)):
            matrix = pearson_matrix(values.reshape(len(takes), -1))  # (clips, clips)
            found[variant][name] = summarize_correlations(matrix, takes)
    return found


def _one_sentence(takes: list[Take], labels: list[str]) -> list[int]:
    """Positions of one speaker's sentence in each emotion: of the first clip whose sentence has them all."""
    places = {take: index for index, take in enumerate(takes)}
    for take in takes:
        wanted = [take._replace(emotion=label) for label in labels]
        if all(one in places for one in wanted):
            return [places[one] for one in wanted]
    raise ValueError(f"Nobody says a sentence in all of {', '.join(labels)} with the intensity asked for.")


__all__ = ["LayerStudyArguments", "correlate_layers", "read_clips", "run_layer_study"]
