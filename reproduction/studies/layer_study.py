"""The layer study: which of DeepSpeech's six layers holds emotion, and which the speaker, on RAVDESS."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from tqdm import tqdm

from dataset_scripts import load_corpus, speaker_folds
from dataset_scripts.audio_leaks import digest_of
from feature_extraction.frozen_encoder import CLIPS_PER_PASS
from feature_extraction.speech_encoders import DeepSpeechEncoder, load_encoder
from speech_emotion.evaluation.figures import FORMATS, figure_style, save_figure
from speech_emotion.evaluation.intervals import RESAMPLES
from speech_emotion.files import write_csv, write_json
from speech_emotion.training.arguments import ModelArguments
from speech_emotion.training.building import make_extractor
from speech_emotion.training.splits import keep_labels

from .layer_figures import activations_figure, layer_figure
from .layer_measures import (
    CONDITIONS,
    FRAMES,
    Take,
    ravdess_takes,
    resample_frames,
    summarize_correlations,
    ua_by_layer,
)

# The coefficients that enter the network stand before its six layers, for comparison.
LAYERS = ("MFCC", "1", "2", "3", "4", "5", "6")
INTENSITIES = {"normal": "01", "strong": "02"}
VARIANTS = {"plain": "Pearson's r", "centered": "Pearson's r, unit means removed"}
PROBE = "UA of a linear probe (%)"

# Layer → what was measured of it → estimate and ends of its 95% interval, (3,).
Quantities = dict[str, dict[str, np.ndarray]]


def run_layer_study(
    output_dir: str | Path,
    data_dir: str | None,
    encoder: str | None,
    encoder_revision: str | None,
    labels: Sequence[str],
    intensity: str,
    num_folds: int,
    cache_dir: str | None,
) -> Quantities:
    """Run the study and write `layers.json`, `layers.csv`, `layers.png`, `layers.svg` and `activations.png`.

    Labels and intensity choose the clips that are correlated; the probe takes all clips, in folds of speakers.
    """
    if intensity not in INTENSITIES:
        raise ValueError(f"intensity={intensity!r}: choose one of {', '.join(INTENSITIES)}.")
    with figure_style():  # before the work, not after it: figures need matplotlib
        pass
    network = load_deepspeech(encoder, encoder_revision)
    rows = load_corpus("ravdess", data_dir=data_dir, cache_dir=cache_dir)
    keep_labels(rows, labels)  # an emotion that the corpus does not have is refused before the work
    takes = ravdess_takes(rows.remove_columns("audio"))
    chosen = [take.emotion in labels and take.intensity == INTENSITIES[intensity] for take in takes]
    _one_sentence([take for take, one in zip(takes, chosen, strict=True) if one], labels)  # refuses early, too
    kept, statistics, sequences = read_clips(rows, network, chosen)
    rows, takes = rows.select(kept), [takes[index] for index in kept]
    compared = [takes[index] for index, clip in enumerate(kept) if chosen[clip]]
    classes = sorted(set(rows["label"]))
    probes = ua_by_layer(
        {name: np.stack([clip[number] for clip in statistics]) for number, name in enumerate(LAYERS)},
        rows["id"][:],
        [classes.index(label) for label in rows["label"]],
        rows["speaker"][:],
        speaker_folds(rows.remove_columns("audio"), scheme="k-fold", k=num_folds),
    )
    facts = {
        "corpus": "ravdess",
        "encoder": Path(encoder).name if encoder else "deepspeech-small",
        "hidden_size": network.model.config.hidden_size,
        "speakers": len(set(rows["speaker"])),
        "correlated": {"labels": list(labels), "intensity": intensity, "clips": len(compared), "frames": FRAMES},
        "probe": {"labels": classes, "clips": len(kept), "folds": num_folds},
        "intervals": f"95%, {RESAMPLES} resamples of speakers",
    }
    found = correlate_layers(sequences, compared)
    for layer, probe in probes.items():
        found[layer]["probe UA"] = np.array(astuple(probe))
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    shown = _one_sentence(compared, labels)
    write_layer_study(found, facts, folder, [[layer[index] for layer in sequences] for index in shown])
    return found


def load_deepspeech(encoder: str | None, revision: str | None) -> DeepSpeechEncoder:
    """Load the DeepSpeech that a training with the same words would use."""
    arguments = ModelArguments(streams=["deepspeech"], encoder=encoder, encoder_revision=revision)
    entry = make_extractor(arguments).encoders["deepspeech"]
    loaded = load_encoder(entry["name_or_path"], revision=entry.get("revision"))
    if not isinstance(loaded, DeepSpeechEncoder):
        raise ValueError(
            f"{entry['name_or_path']} is a {loaded.model.config.model_type!r} model. The study is of DeepSpeech's six "
            "layers; pass a folder or an id of a DeepSpeech."
        )
    return loaded


@torch.no_grad()
def layer_activations(encoder: DeepSpeechEncoder, waveforms: Sequence[torch.Tensor]) -> list[list[np.ndarray]]:
    """Compute the activations of every layer in one pass: for each clip, of each of `LAYERS` (frames, units)."""
    inputs = encoder.extractor.extract(waveforms)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    states = encoder.model(**inputs, output_hidden_states=True).hidden_states  # windows, then the six layers
    batch = [inputs["input_features"], *states[1:]]
    return [[layer[clip, :length].float().numpy() for layer in batch] for clip, length in enumerate(lengths)]


def read_clips(
    rows: datasets.Dataset, encoder: DeepSpeechEncoder, chosen: list[bool]
) -> tuple[list[int], list[list[np.ndarray]], list[np.ndarray]]:
    """Read each recording once: positions, statistics of each by layer, and by layer sequences of the chosen ones."""
    kept: list[int] = []
    statistics: list[list[np.ndarray]] = []
    sequences: list[list[np.ndarray]] = [[] for _ in LAYERS]
    recordings = _recordings(rows, encoder)
    while batch := list(itertools.islice(recordings, CLIPS_PER_PASS)):
        activations = layer_activations(encoder, [waveform for _, waveform in batch])
        for (position, _), layers in zip(batch, activations, strict=True):
            kept.append(position)
            statistics.append([np.concatenate([layer.mean(axis=0), layer.std(axis=0)]) for layer in layers])
            if chosen[position]:
                for sequence, layer in zip(sequences, layers, strict=True):
                    sequence.append(resample_frames(layer))
    return kept, statistics, [np.stack(layer) for layer in sequences]


def _recordings(rows: datasets.Dataset, encoder: DeepSpeechEncoder) -> Iterator[tuple[int, torch.Tensor]]:
    """Decode clips with their positions, of several with one recording the first."""
    seen: set[str | None] = set()
    for position, audio in enumerate(tqdm(rows["audio"], unit="clip", disable=not sys.stderr.isatty())):
        waveform = encoder.extractor.load_audio(audio)
        recording = digest_of(waveform, encoder.sampling_rate)
        if recording is None or recording not in seen:
            yield position, torch.from_numpy(waveform)
        seen.add(recording)


def correlate_layers(sequences: list[np.ndarray], takes: list[Take]) -> Quantities:
    """Correlate clips in each layer, with and without the units' own levels."""
    found: Quantities = {}
    for name, layer in zip(LAYERS, sequences, strict=True):
        centered = layer - layer.mean(axis=(0, 1), dtype=np.float64)  # (clips, frames, units)
        found[name] = {}
        for variant, values in (("plain", layer), ("centered", centered)):
            with np.errstate(invalid="ignore"):  # NaN for a clip that does not vary
                matrix = np.corrcoef(values.reshape(len(takes), -1), dtype=np.float64)  # (clips, clips)
            summary = summarize_correlations(matrix, takes)
            found[name] |= {f"{variant} {what}": figures for what, figures in summary.items()}
    return found


def write_layer_study(
    found: Quantities, facts: dict[str, Any], folder: Path, activations: list[list[np.ndarray]]
) -> None:
    """Write figures and numbers; the activations are of one sentence, by emotion and layer."""
    header = ["layer", "quantity", "estimate", "low", "high"]
    numbers = [[layer, name, *values.tolist()] for layer in LAYERS for name, values in found[layer].items()]
    written = [[layer, name, *(f"{value:.6f}" for value in values)] for layer, name, *values in numbers]
    write_csv(folder / "layers.csv", header, written)
    write_json(folder / "layers.json", facts | {"layers": [dict(zip(header, row, strict=True)) for row in numbers]})

    def curve(quantity: str) -> np.ndarray:
        return np.stack([found[layer][quantity] for layer in LAYERS], axis=1)  # (3, layers)

    panels = {axis: {name: curve(f"{variant} r, {name}") for name in CONDITIONS} for variant, axis in VARIANTS.items()}
    panels[PROBE] = {"probe": 100 * curve("probe UA")}
    title = f"RAVDESS, {facts['encoder']}: means and 95% intervals over {facts['speakers']} speakers"
    figure = layer_figure(LAYERS, panels, {PROBE: 100 / len(facts["probe"]["labels"])}, title)
    for ending in FORMATS:
        save_figure(figure, folder / f"layers{ending}")
    names = [layer if layer == "MFCC" else f"layer {layer}" for layer in LAYERS]
    save_figure(activations_figure(activations, facts["correlated"]["labels"], names), folder / "activations.png")


def _one_sentence(takes: Sequence[Take], labels: Sequence[str]) -> list[int]:
    """Positions of one speaker's sentence in each emotion: of the first clip whose sentence has them all."""
    places = {take: index for index, take in enumerate(takes)}
    for take in takes:
        wanted = [take._replace(emotion=label) for label in labels]
        if all(one in places for one in wanted):
            return [places[one] for one in wanted]
    raise ValueError(f"Nobody says a sentence in all of {', '.join(labels)} with the intensity asked for.")
