"""The layer study as the README shows it: told from what `ser study layers` wrote."""

import json
from pathlib import Path
from typing import Any

from speech_emotion.evaluation.tables import markdown_table

# Where the study is looked for, below the folder of the score files.
STUDY = "layers/layers.json"
HEADER = ("layer", "UA of a linear probe, %", "two emotions, r", "emotion, Δr", "speaker, Δr")
EFFECTS = {"emotion": "centered effect of the emotion", "speaker": "centered effect of the speaker"}
PROBE = "probe UA"
EMOTIONS = "plain r, two emotions"  # what the slides' figure shows
SLIDES = {"1", "2", "5"}  # the layers across which emotions correlate least there
NOTE = (
    "Which of DeepSpeech's layers tell emotions apart, on RAVDESS with {encoder} ({hidden_size} units), {speakers} "
    "speakers. The probe: {clips} clips, {emotions} emotions, {folds} folds of speakers. r: Pearson's correlation of "
    "the activations of two emotions of a speaker and sentence, clips brought to 50 frames. Δr: how much less the "
    "activations of two emotions, or two speakers, correlate than those of two repetitions, which differ in neither, "
    "each unit's mean removed first; {correlated} clips of {intensity} intensity, {chosen} emotions. In brackets 95 % "
    "intervals over speakers. The probe does best on {best}; two emotions differ most in {apart}; no order of layers "
    "was tested. The slides see layers 1, 2 and 5 correlate least across emotions, 1 and 2 because of speakers, and "
    "take 5; here, of layers 1 to 6, {least} do, {agreement}. "
    "[Figure]({folder}/layers/layers.png); `make layers` computes it."
)


def layer_section(results: str | Path, folder: str) -> str:
    """Write what the README says of the layer study."""
    path = Path(results) / STUDY
    if not path.is_file():
        return ""
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
        layers = _by_layer(study)
        rows = [
            [
                name,
                _interval(found[PROBE], 100, 1),
                *(_interval(found[what], 1, 3) for what in (EMOTIONS, *EFFECTS.values())),
            ]
            for name, found in layers.items()
        ]
        least = _least(layers)
        note = NOTE.format(
            encoder=study["encoder"],
            hidden_size=study["hidden_size"],
            clips=study["probe"]["clips"],
            emotions=len(study["probe"]["labels"]),
            speakers=study["speakers"],
            folds=study["probe"]["folds"],
            correlated=study["correlated"]["clips"],
            chosen=len(study["correlated"]["labels"]),
            intensity=study["correlated"]["intensity"],
            best=_greatest(layers, PROBE),
            least=f"{', '.join(least[:-1])} and {least[-1]}",
            agreement="as there" if set(least) == SLIDES else "otherwise than there",
            apart=_greatest(layers, EFFECTS["emotion"]),
            folder=folder,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no study of layers ({error!r}); `ser study layers` writes one.") from error
    return f"{markdown_table(HEADER, rows)}\n\n{note}"


def _by_layer(study: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """For each layer, in the study's order, its numbers by what they are of."""
    layers: dict[str, dict[str, dict[str, float]]] = {}
    for entry in study["layers"]:
        layers.setdefault(entry["layer"], {})[entry["quantity"]] = entry
    return layers


def _interval(entry: dict[str, float], factor: float, digits: int) -> str:
    value, low, high = (f"{factor * entry[name]:.{digits}f}" for name in ("estimate", "low", "high"))
    return f"{value} [{low}, {high}]"


def _least(layers: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """The three layers across which emotions correlate least, in that order."""
    numbered = [name for name in layers if name.isdecimal()]
    return sorted(numbered, key=lambda layer: layers[layer][EMOTIONS]["estimate"])[:3]


def _greatest(layers: dict[str, dict[str, dict[str, float]]], quantity: str) -> str:
    name = max(layers, key=lambda layer: layers[layer][quantity]["estimate"])
    return f"layer {name}" if name.isdecimal() else f"the {name} that enter it"


__all__ = ["layer_section"]
