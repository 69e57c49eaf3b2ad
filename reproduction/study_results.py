"""What the studies of heads and of layers found, as the pages tell it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .claims import Outcome

# Where the studies lie, below the folder of results.
HEADS, LAYERS = "heads/{corpus}/heads.json", "layers/*/layers.json"
# Claim 5 is judged on these corpora.
HEAD_CORPORA = ("ravdess", "emodb")
# The claim's two halves: that heads count unequally, and that they do so alike across clips.
HALVES = ("lead", "correlation")
SLIDES = {"1", "2", "5"}  # the layers across which the slides see emotions correlate least
APART = "plain r, two emotions"
# Of a layer's numbers, those that are shown beside its probes.
CAUSES = ("emotion", "sentence", "speaker")
EFFECTS = {cause: f"centered effect of the {cause}" for cause in CAUSES}
PROBE = "probe of the {what}, {corpus}"

Result = TypeVar("Result")
Triple = Sequence[float]  # a value and the ends of its 95 % interval over speakers


@dataclass(frozen=True)
class HeadResult:
    """The heads of all models of one corpus, each dropped in turn."""

    models: int
    speakers: int
    lead: Triple  # nats by which the head that counts most for a model's other test speakers leads the rest
    correlation: Triple  # rank correlation of a model's heads between two clips of different speakers
    heads: int  # of all models
    lowering_ua: int  # heads without which UA is lower
    raising_truth: int  # heads without which the true emotion's mean log-probability is higher


@dataclass(frozen=True)
class LayerResult:
    """What each layer of an encoder tells of emotions and of words."""

    facts: Mapping[str, Any]  # the encoder, and what was correlated and probed
    layers: dict[str, dict[str, Triple]]  # layer → "emotion, ravdess", "emotion", … → probe's UA, or effect
    apart: dict[str, Triple]  # layer → r of two emotions
    best: dict[str, str]  # of each of these the layer that has most of it
    least: list[str]  # the three numbered layers across which emotions correlate least
    as_on_slides: bool


def read_heads(results: Path) -> dict[str, HeadResult]:
    """Read the studies of heads that are there, by corpus."""
    found = {corpus: _read(results / HEADS.format(corpus=corpus), _head_result) for corpus in HEAD_CORPORA}
    return {corpus: result for corpus, result in found.items() if result is not None}


def judge_heads(found: Mapping[str, HeadResult]) -> Outcome:
    """Decide on claim 5: supported if on every corpus both halves' intervals lie above 0, however little."""
    if set(found) != set(HEAD_CORPORA):
        return "not run"
    lows = [getattr(result, half)[1] for result in found.values() for half in HALVES]
    return "supported" if min(lows) > 0 else "not decided"


def read_layers(results: Path) -> dict[str, LayerResult]:
    """Read the studies of layers that are there, by encoder."""
    return {path.parent.name: _read(path, _layer_result) for path in sorted(results.glob(LAYERS))}


def _read(path: Path, understand: Callable[[Any], Result]) -> Result | None:
    """What a file holds, `None` if it is not there; what is wrong with it is told with its name."""
    try:
        return understand(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
    except (ValueError, KeyError, TypeError) as error:
        kind = path.stem
        raise ValueError(
            f"{path} holds no study of {kind} ({error!r}); `python -m reproduction {kind}` writes one."
        ) from error


def _head_result(study: Any) -> HeadResult:
    pooled = study["pooled"]
    heads = [head for model in study["models"] for head in model["heads"]]
    triples = [tuple(map(float, pooled[half])) for half in HALVES]
    if any(len(triple) != 3 for triple in triples):
        raise ValueError("an interval lacks an end")
    lowering = sum(head["ua_change"]["value"] < 0 for head in heads)
    raising = sum(head["importance"]["value"] < 0 for head in heads)
    return HeadResult(int(pooled["models"]), int(pooled["speakers"]), *triples, len(heads), lowering, raising)


def _layer_result(study: Any) -> LayerResult:
    every: dict[str, dict[str, Triple]] = {}
    for entry in study["layers"]:
        triple = tuple(float(entry[name]) for name in ("estimate", "low", "high"))
        every.setdefault(entry["layer"], {})[entry["quantity"]] = triple
    probes = {
        f"{what}, {corpus}": PROBE.format(what=what, corpus=corpus)
        for corpus in study["probes"]
        for what in ("emotion", "sentence")
    }
    layers = {
        name: {short: found[long] for short, long in (probes | EFFECTS).items()} for name, found in every.items()
    }
    best = {what: max(layers, key=lambda name: layers[name][what][0]) for what in (*probes, *EFFECTS)}
    apart = {name: found[APART] for name, found in every.items()}
    least = sorted((name for name in apart if name.isdecimal() and name != "0"), key=lambda name: apart[name][0])[:3]
    facts = {name: study[name] for name in ("encoder", "model_type", "hidden_size", "correlated", "probes")}
    return LayerResult(facts, layers, apart, best, sorted(least), set(least) == SLIDES)
