"""The folder of the model that comes along: weights in half precision, what was measured, and the card."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from safetensors.numpy import load_file, save_file

from feature_extraction.encoder_files import writing
from feature_extraction.safe_text import markdown_text
from speech_emotion.files import write_json, write_text
from speech_emotion.inference.robustness import measure_robustness
from speech_emotion.pretrained.fetched_weights import ABOUT
from speech_emotion.training.card import describe_streams
from speech_emotion.training.run_record import corpus_title

from .joint_clips import LABELS
from .workshop import Workshop

CARD = Path(__file__).with_name("card.md.j2")
CHANGED_CLIPS = 240  # of corpora that were not heard, spread evenly
ENCODER = "encoder"  # its stream, and its subfolder


def assemble(workshop: Workshop, folder: str | Path) -> dict[str, Any]:
    """Measure, and write all: the folder holds what `from_pretrained` reads, but no code.

    Returns:
        What was measured, as `results.json` holds it.
    """
    folder = Path(folder)
    measures = workshop.measure()
    measures["corpora"] = [_about(workshop, name) for name in (*workshop.corpora, *workshop.strangers)]
    network = workshop.network()
    network.config.temperature = measures["temperature"]
    classifier = network.as_pipeline(workshop.recipe.extractor)
    measures["described"] = "; ".join(one.partition(": ")[2] for one in describe_streams(workshop.recipe.extractor))
    measures["robustness"] = _robustness(workshop, classifier)
    classifier.save_pretrained(folder)
    for code in folder.glob("*.py"):  # the library's own, which `pretrained_path` puts beside the weights
        code.unlink()
    if (folder / ENCODER).is_dir():
        halve(folder / ENCODER)
    heard = {
        corpus["title"]: {"train": corpus["speakers"], "validation": []}
        for corpus in measures["corpora"]
        if corpus["heard"]
    }
    title, last = heard.popitem()
    # As a training's own, which tells whoever fine-tunes or tests the model whom it has heard.
    last = {"title": title, **{part: {"speakers": speakers} for part, speakers in last.items()}}
    write_json(folder / "results.json", {"heard_before": heard, **last, "measures": measures})
    write_text(folder / "README.md", card(measures))
    return measures


def halve(folder: Path) -> None:
    """Write an encoder's weights in half precision, if they are the same in it."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    halved = {name: value.astype(np.float16) for name, value in weights.items()}
    changed = [name for name, value in halved.items() if not np.array_equal(value.astype(np.float32), weights[name])]
    if changed:
        raise ValueError(f"{file}: {changed[0]} is no half-precision number; train on an encoder in half precision.")
    with writing(folder):
        save_file(halved, file, metadata={"format": "pt"})
    settings = folder / "config.json"
    write_json(settings, json.loads(settings.read_text(encoding="utf-8")) | {"dtype": "float16"})


def card(measures: dict[str, Any]) -> str:
    """Fill the card."""
    environment = Environment(
        loader=FileSystemLoader(CARD.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "text": markdown_text}
    terms = ABOUT.get(str(measures["settings"].get("encoder")))
    return environment.get_template(CARD.name).render(**measures, encoder_terms=terms)


def percent(value: float | list[float]) -> str:
    """Write a share, or the mean and deviation of several, in per cent.

    >>> percent(0.5), percent([0.5, 0.0123])
    ('50.0', '50.0 ± 1.2')
    """
    return f"{100 * value:.1f}" if isinstance(value, float) else " ± ".join(f"{100 * one:.1f}" for one in value)


def _about(workshop: Workshop, name: str) -> dict[str, Any]:
    heard = name in workshop.corpora
    clips = workshop.clips if heard else workshop.others
    here = clips.of(name)
    rows = workshop.rows(name)
    info = rows.info
    return {
        "name": name,
        "title": corpus_title(rows),
        "license": info.license,
        "homepage": info.homepage,
        "citation": info.citation,
        "clips": len(here),
        "speakers": sorted({speaker.partition("/")[2] for speaker in clips.speakers[here].tolist()}),
        "heard": heard,
    }


def _robustness(workshop: Workshop, classifier: Any) -> list[dict[str, Any]]:
    """Count the labels that changes of the recording flip, on clips of corpora that were not heard."""
    if not workshop.strangers:
        return []
    others = workshop.others
    positions = others.of(*workshop.strangers)
    positions = positions[:: max(1, len(positions) // CHANGED_CLIPS)][:CHANGED_CLIPS]
    audio: dict[str, Any] = {}
    for name in workshop.strangers:
        rows = workshop.rows(name)
        audio |= {f"{name}/{clip}": sound for clip, sound in zip(rows["id"][:], rows["audio"][:], strict=True)}
    waveforms = [workshop.recipe.extractor.load_audio(audio[clip]) for clip in others.ids[positions].tolist()]
    labels = [LABELS[index] for index in others.truth[positions].tolist()]
    return [vars(effect) for effect in measure_robustness(classifier, waveforms, labels)]
