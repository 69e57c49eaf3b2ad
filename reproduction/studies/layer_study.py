"""The layer study: which of an encoder's layers hold emotion, which the speaker, and which the words."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import torch
from tqdm import tqdm

from dataset_scripts import load_corpus, speaker_folds
from dataset_scripts.audio_leaks import digest_of
from dataset_scripts.registry import CORPORA
from feature_extraction.audio_decoding import load_audio
from feature_extraction.frozen_encoder import CLIPS_PER_PASS, SpeechEncoder
from feature_extraction.speech_encoders import DeepSpeechEncoder, load_encoder
from speech_emotion.cross_validation.corpus_conditions import get_condition
from speech_emotion.evaluation.figures import FORMATS, figure_style, save_figure
from speech_emotion.evaluation.intervals import RESAMPLES
from speech_emotion.files import write_csv, write_json
from speech_emotion.pretrained import encoder_place
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CORRELATED = "ravdess"  # the corpus whose names tell takes apart
INTENSITIES = {"normal": "01", "strong": "02"}
VARIANTS = {"plain": "Pearson's r", "centered": "Pearson's r, unit means removed"}
PROBED = ("emotion", "sentence")

# Layer → what was measured of it → estimate and ends of its 95% interval, (3,).
Quantities = dict[str, dict[str, np.ndarray]]


def run_layer_study(
    output_dir: str | Path,
    data_dir: str | None,
    encoder: str,
    encoder_revision: str | None,
    labels: Sequence[str],
    intensity: str,
    corpora: Sequence[str],
    num_folds: int,
    cache_dir: str | None,
) -> Quantities:
    """Run the study and write `layers.json`, `layers.csv`, `layers.png`, `layers.svg` and `activations.png`.

    Labels and intensity choose the clips of RAVDESS that are correlated; the probes take all clips of the corpora, in
    folds of speakers.
    """
    if intensity not in INTENSITIES:
        raise ValueError(f"intensity={intensity!r}: choose one of {', '.join(INTENSITIES)}.")
    with figure_style():  # before the work, not after it: figures need matplotlib
        pass
    network = load_layers(encoder_place(encoder), encoder_revision)
    rows_of = {name: _read_rows(name, data_dir, cache_dir) for name in dict.fromkeys((CORRELATED, *corpora))}
    rows = rows_of[CORRELATED]
    keep_labels(rows, labels)  # an emotion that the corpus does not have is refused before the work
    takes = ravdess_takes(rows.remove_columns("audio"))
    chosen = [take.emotion in labels and take.intensity == INTENSITIES[intensity] for take in takes]
    _one_sentence([take for take, one in zip(takes, chosen, strict=True) if one], labels)  # refuses early, too

    found: Quantities = {}
    probes = {}
    for corpus, clips in rows_of.items():
        wanted = chosen if corpus == CORRELATED else [False] * len(clips)
        kept, statistics, sequences = read_clips(clips, network, wanted)
        if corpus == CORRELATED:
            compared = [takes[index] for index in kept if chosen[index]]
            shown = [[layer[index] for layer in sequences] for index in _one_sentence(compared, labels)]
            found = correlate_layers(layer_names(network), sequences, compared)
        probes[corpus] = probe_layers(corpus, clips.select(kept), statistics, num_folds, found)
    facts = {
        "encoder": Path(encoder).name,
        "model_type": network.model.config.model_type,
        "hidden_size": network.model.config.hidden_size,
        "correlated": {
            "corpus": CORRELATED,
            "labels": list(labels),
            "intensity": intensity,
            "clips": len(compared),
            "frames": FRAMES,
        },
        "probes": probes,
        "intervals": f"95%, {RESAMPLES} resamples of speakers",
    }
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_layer_study(found, facts, folder, shown)
    return found


def load_layers(name_or_path: str, revision: str | None = None) -> SpeechEncoder:
    """Load a network for all of its layers at once."""
    loaded = load_encoder(name_or_path, revision=revision)
    if isinstance(loaded, DeepSpeechEncoder):  # which gives them all by itself
        return loaded
    context = {"context": "clip"} if loaded.model.config.model_type == "whisper" else {}
    return load_encoder(name_or_path, layer=list(loaded.layers), revision=revision, **context)


def layer_names(encoder: SpeechEncoder) -> list[str]:
    """Name the layers: of a DeepSpeech what enters it and its six, of others 0, what enters the blocks, to the last.

    >>> from speech_emotion.pretrained import pretrained_path
    >>> layer_names(load_layers(str(pretrained_path("deepspeech-small"))))
    ['MFCC', '1', '2', '3', '4', '5', '6']
    """
    numbers = map(str, encoder.layers)
    return ["MFCC", *numbers] if isinstance(encoder, DeepSpeechEncoder) else list(numbers)


@torch.no_grad()
def layer_activations(encoder: SpeechEncoder, waveforms: Sequence[torch.Tensor]) -> list[list[np.ndarray]]:
    """Compute the activations of every layer in one pass: for each clip, of each of `layer_names`, (frames, units)."""
    if not isinstance(encoder, DeepSpeechEncoder):
        clips = encoder(waveforms)  # (frames, layers × units)
        return [[layer.numpy() for layer in clip.chunk(len(encoder.layers), dim=1)] for clip in clips]
    inputs = encoder.extractor.extract(waveforms)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    states = encoder.model(**inputs, output_hidden_states=True).hidden_states  # windows, then the six layers
    batch = [inputs["input_features"], *states[1:]]
    return [[layer[clip, :length].float().numpy() for layer in batch] for clip, length in enumerate(lengths)]


def read_clips(
    rows: datasets.Dataset, encoder: SpeechEncoder, chosen: list[bool]
) -> tuple[list[int], list[list[np.ndarray]], list[np.ndarray]]:
    """Read each recording once: positions, statistics of each by layer, and by layer sequences of the chosen ones."""
    kept: list[int] = []
    statistics: list[list[np.ndarray]] = []
    sequences: list[list[np.ndarray]] = [[] for _ in layer_names(encoder)]
    recordings = _recordings(rows, encoder.sampling_rate)
    while batch := list(itertools.islice(recordings, CLIPS_PER_PASS)):
        activations = layer_activations(encoder, [waveform for _, waveform in batch])
        for (position, _), layers in zip(batch, activations, strict=True):
            kept.append(position)
            statistics.append([np.concatenate([layer.mean(axis=0), layer.std(axis=0)]) for layer in layers])
            if chosen[position]:
                for sequence, layer in zip(sequences, layers, strict=True):
                    sequence.append(resample_frames(layer))
    return kept, statistics, [np.stack(layer) for layer in sequences if layer]


def _read_rows(corpus: str, data_dir: str | None, cache_dir: str | None) -> datasets.Dataset:
    if data_dir is not None and Path(data_dir, corpus).is_dir():
        data_dir = str(Path(data_dir, corpus))
    return load_corpus(corpus, data_dir=data_dir, cache_dir=cache_dir)


def _recordings(rows: datasets.Dataset, sampling_rate: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Decode clips with their positions, of several with one recording the first."""
    seen: set[str | None] = set()
    for position, audio in enumerate(tqdm(rows["audio"], unit="clip", disable=not sys.stderr.isatty())):
        waveform = load_audio(audio, sampling_rate)
        recording = digest_of(waveform, sampling_rate)
        if recording is None or recording not in seen:
            yield position, torch.from_numpy(waveform)
        seen.add(recording)


def correlate_layers(names: Sequence[str], sequences: list[np.ndarray], takes: list[Take]) -> Quantities:
    """Correlate clips in each layer, with and without the units' own levels."""
    found: Quantities = {}
    for name, layer in zip(names, sequences, strict=True):
        centered = layer - layer.mean(axis=(0, 1), dtype=np.float64)  # (clips, frames, units)
        found[name] = {}
        for variant, values in (("plain", layer), ("centered", centered)):
            with np.errstate(invalid="ignore"):  # NaN for a clip that does not vary
                matrix = np.corrcoef(values.reshape(len(takes), -1), dtype=np.float64)  # (clips, clips)
            summary = summarize_correlations(matrix, takes)
            found[name] |= {f"{variant} {what}": figures for what, figures in summary.items()}
    return found


def probe_layers(
    corpus: str, rows: datasets.Dataset, statistics: list[list[np.ndarray]], num_folds: int, found: Quantities
) -> dict[str, Any]:
    """Probe emotion and sentence in each layer, add what came to `found`, and return what was probed."""
    condition = get_condition(corpus)
    folds = condition.num_folds and num_folds
    divided = speaker_folds(rows.remove_columns("audio"), scheme=condition.scheme, k=folds)
    features = {name: np.stack([clip[number] for clip in statistics]) for number, name in enumerate(found)}
    classes = {"emotion": sorted(set(rows["label"])), "sentence": sorted(set(rows["sentence"]))}
    for what, column in zip(PROBED, ("label", "sentence"), strict=True):
        numbers = [classes[what].index(one) for one in rows[column]]
        for layer, probe in ua_by_layer(features, rows["id"][:], numbers, rows["speaker"][:], divided).items():
            found[layer][probe_name(corpus, what)] = np.array(astuple(probe))
    speakers = len(set(rows["speaker"]))
    return {**classes, "clips": len(rows), "folds": len(divided), "speakers": speakers}


def probe_name(corpus: str, what: str) -> str:
    """Name a probe's UA among the quantities."""
    return f"probe of the {what}, {corpus}"


def write_layer_study(
    found: Quantities, facts: dict[str, Any], folder: Path, activations: list[list[np.ndarray]]
) -> None:
    """Write figures and numbers; the activations are of one sentence, by emotion and layer."""
    header = ["layer", "quantity", "estimate", "low", "high"]
    numbers = [
        [layer, name, *values.tolist()] for layer, quantities in found.items() for name, values in quantities.items()
    ]
    written = [[layer, name, *(f"{value:.6f}" for value in values)] for layer, name, *values in numbers]
    write_csv(folder / "layers.csv", header, written)
    write_json(folder / "layers.json", facts | {"layers": [dict(zip(header, row, strict=True)) for row in numbers]})

    figure = draw_layers(found, facts)
    for ending in FORMATS:
        save_figure(figure, folder / f"layers{ending}")
    names = [f"layer {layer}" if layer.isdecimal() else layer for layer in found]
    save_figure(activations_figure(activations, facts["correlated"]["labels"], names), folder / "activations.png")


def draw_layers(found: Quantities, facts: dict[str, Any]) -> "Figure":
    """Draw what was measured, by layer."""

    def curve(quantity: str) -> np.ndarray:
        return np.stack([of_layer[quantity] for of_layer in found.values()], axis=1)  # (3, layers)

    panels = {axis: {name: curve(f"{variant} r, {name}") for name in CONDITIONS} for variant, axis in VARIANTS.items()}
    chance = {}
    for corpus, probe in facts["probes"].items():
        panel = f"UA of probes, {CORPORA[corpus].title} (%)"
        panels[panel] = {f"probe: {what}": 100 * curve(probe_name(corpus, what)) for what in PROBED}
        chance[panel] = {f"probe: {what}": 100 / len(probe[what]) for what in PROBED}
    title = f"{facts['encoder']}: means and 95% intervals over speakers; r on {CORPORA[CORRELATED].title}"
    return layer_figure(list(found), panels, chance, title)


def _one_sentence(takes: Sequence[Take], labels: Sequence[str]) -> list[int]:
    """Positions of one speaker's sentence in each emotion: of the first clip whose sentence has them all."""
    places = {take: index for index, take in enumerate(takes)}
    for take in takes:
        wanted = [take._replace(emotion=label) for label in labels]
        if all(one in places for one in wanted):
            return [places[one] for one in wanted]
    raise ValueError(f"Nobody says a sentence in all of {', '.join(labels)} with the intensity asked for.")
