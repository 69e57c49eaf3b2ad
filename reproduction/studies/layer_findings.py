"""What the layer study found, and how it is written: figures, CSV and JSON."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reproduction.studies.figures_layers import activations_figure, layer_figure
from speech_emotion.evaluation.figures import save_figure
from speech_emotion.evaluation.intervals import Estimate
from speech_emotion.files import write_json, write_text

from .layer_activations import LAYERS
from .layer_correlation import CONDITIONS, LayerCorrelation
from .layer_probe import LayerUA

VARIANTS = {"plain": "Pearson's r", "centered": "Pearson's r, unit means removed"}
PROBE = "UA of a linear probe (%)"


@dataclass(frozen=True)
class LayerStudy:
    """What was found, layer by layer."""

    correlations: dict[str, dict[str, LayerCorrelation]]
    probes: dict[str, LayerUA]  # for each layer the probe's UA
    facts: dict[str, Any]  # Clips, speakers, encoder and settings, for JSON


def write_layer_study(study: LayerStudy, folder: Path, activations: list[list[np.ndarray]]) -> None:
    """Write figures and numbers."""
    numbers = [
        {"layer": layer, "quantity": quantity, "estimate": value[0], "low": value[1], "high": value[2]}
        for layer in LAYERS
        for quantity, value in _quantities(study, layer).items()
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["layer", "quantity", "estimate", "low", "high"], lineterminator="\n")
    writer.writeheader()
    for row in numbers:
        writer.writerow({name: f"{value:.6f}" if isinstance(value, float) else value for name, value in row.items()})
    write_text(folder / "layers.csv", text.getvalue())
    write_json(folder / "layers.json", study.facts | {"layers": numbers})
    panels = {
        axis: {
            name: np.stack([study.correlations[variant][layer].conditions[name] for layer in LAYERS], axis=1)
            for name in CONDITIONS
        }
        for variant, axis in VARIANTS.items()
    }
    panels[PROBE] = {"probe": 100 * np.array([_triple(study.probes[layer].ua) for layer in LAYERS]).T}
    title = f"RAVDESS, {study.facts['encoder']}: means and 95% intervals over {study.facts['speakers']} speakers"
    chance = {PROBE: 100 / len(study.facts["probe"]["labels"])}
    figure = layer_figure(LAYERS, panels, chance, title)
    save_figure(figure, folder / "layers.png")
    save_figure(figure, folder / "layers.svg")
    names = [layer if layer == "MFCC" else f"layer {layer}" for layer in LAYERS]
    save_figure(
        activations_figure(activations, study.facts["correlated"]["labels"], names), folder / "activations.png"
    )


def _quantities(study: LayerStudy, layer: str) -> dict[str, list[float]]:
    """Everything measured of a layer: estimate and ends of the interval."""
    found = {}
    for variant in VARIANTS:
        correlation = study.correlations[variant][layer]
        found |= {f"{variant} r, {name}": value for name, value in correlation.conditions.items()}
        found |= {f"{variant} effect of the {name}": value for name, value in correlation.effects.items()}
    return {name: value.tolist() for name, value in found.items()} | {"probe UA": _triple(study.probes[layer].ua)}


def _triple(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


__all__ = ["VARIANTS", "LayerStudy", "write_layer_study"]
