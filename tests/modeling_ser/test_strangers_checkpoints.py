"""Checkpoints of strangers, and damaged ones: refused by name before they take memory, and none gives a NaN."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from feature_extraction import DeepSpeechForCTC, SERFeatureExtractor, feature_extraction_ser
from feature_extraction.tokenizer_deepspeech import ENGLISH, build_tokenizer
from modeling_ser import SERConfig, SERForAudioClassification
from modeling_ser.checkpoint_files import WEIGHTS, writing
from speech_emotion.cli.main import main as ser
from speech_emotion.files import write_text
from speech_emotion.inference.saved_model import load_saved
from tests.feature_extraction.small_encoders import small_model as small_encoder
from tests.full_disk import little_room
from tests.fuzzing import fuzz
from tests.modeling_ser import checkpoint_fuzz
from tests.modeling_ser.checkpoint_fuzz import CLIP, INDEX, save_kind
from tests.modeling_ser.small_models import small_model
from tests.modeling_ser.small_pipeline import small_classifier

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for kind in ("mel", "statistics", "wav2vec2"):
        (folder / kind).mkdir()
        save_kind(kind, folder / kind)
    return folder


@pytest.fixture
def mel(originals: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals / "mel", tmp_path / "saved"))


@pytest.fixture
def encoded(originals: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals / "wav2vec2", tmp_path / "saved"))


def weights(file: str = WEIGHTS, **changes: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Change weights, whose names have __ in place of the dot."""

    def change(folder: Path) -> None:
        held = load_file(folder / file)
        for name, how in changes.items():
            held[name.replace("__", ".")] = how(held[name.replace("__", ".")]).contiguous()
        save_file(held, folder / file, metadata={"format": "pt"})

    return change


def settings(file: str = "config.json", **changes: Any) -> Change:
    def change(folder: Path) -> None:
        held = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(held | changes))

    return change


def entry(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        held = json.loads((folder / "preprocessor_config.json").read_text())
        held["encoders"]["encoder"].update(changes)
        (folder / "preprocessor_config.json").write_text(json.dumps(held))

    return change


def text(file: str, content: str) -> Change:
    return lambda folder: (folder / file).write_text(content)


def without(file: str) -> Change:
    return lambda folder: (folder / file).unlink()


def shards(name: Any, **more: Any) -> Change:
    """Put an index in the place of the weights, which lie where it says if that is a name of a file."""

    def change(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        if isinstance(name, str) and "/" not in name and name.endswith(".bin"):
            torch.save(held, folder / name)
        elif isinstance(name, str):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(folder / WEIGHTS, folder / name)
        (folder / WEIGHTS).unlink()
        index = {"metadata": {}, "weight_map": dict.fromkeys(held, name)} | more
        (folder / INDEX).write_text(json.dumps(index))

    return change


BIAS, STD = "classifier__out_proj__bias", "ser__feature_std"
VARIANCE = "ser__streams__0__conv1__norm__running_var"
WAV2VEC2 = "encoder/config.json"

MEL: dict[str, tuple[Change, str]] = {
    "no settings": (without("config.json"), r"holds no config\.json, which says"),
    "no extractor": (without("preprocessor_config.json"), r"holds no preprocessor_config\.json, which says"),
    "NaN": (weights(**{BIAS: lambda one: one + float("nan")}), r"classifier\.out_proj\.bias \(not finite\)"),
    "infinite": (weights(**{BIAS: lambda one: one - float("inf")}), r"bias \(not finite\)"),
    "no deviation": (weights(**{STD: lambda one: one * 0}), r"feature_std \(a deviation that is not above 0\)"),
    "negative variance": (weights(**{VARIANCE: lambda one: -one}), r"running_var \(a variance below 0\)"),
    "integers": (weights(**{BIAS: lambda one: one.long()}), r"classifier\.out_proj\.bias is of I64"),
    "too large": (weights(**{BIAS: lambda one: one.to(torch.float8_e4m3fn)}), "is of F8_E4M3"),
    "pickled shard": (shards("pytorch_model.bin"), r"names 'pytorch_model\.bin'"),
    "shard below": (shards("sub/x.safetensors"), "names 'sub/x.safetensors'"),
    "absolute shard": (shards("a.safetensors", weight_map={"a": "/tmp/a.safetensors"}), "names '/tmp/a.safetensors'"),
    "shard elsewhere": (shards("../x.safetensors"), r"names '\.\./x\.safetensors'"),
    "shard of no name": (shards(3), "names 3"),
    "index without metadata": (shards("a.safetensors", metadata=[]), "index.json is damaged"),
    "index of a list": (shards("a.safetensors", weight_map=[]), "is damaged"),
    "adapter": (text("adapter_config.json", '{"base_model_name_or_path": "a/b"}'), "weights on top of"),
    "part of a training": (text("shard-00000-model-00001-of-00001.safetensors", ""), "save the model whole"),
    "hidden_size": (settings(hidden_size=20_000), "hidden_size must be at least 1 and at most 16384, not 20000"),
    "labels of no text": (settings(id2label={"0": 5, "1": None, "2": "a"}), "id2label must name labels by text"),
    "type": (settings(dtype="int8"), "dtype is 'int8'; weights are of one of float64"),
    "type of another kind": (settings(dtype="load"), "dtype is 'load'"),
    "members": (settings(num_members=100_000), "num_members must be .* not 100000"),
    "labels": (settings(id2label=None, num_labels=1_000_000), "num_labels must be .* not 1000000"),
    "named labels": (settings(id2label=dict.fromkeys(range(100_000), "a")), "id2label has 100000 values"),
    "text": (settings(hidden_size="large"), "'hidden_size'.*expected int, got str"),
    "list": (text("config.json", "[1]"), r"config\.json cannot be used"),
    "deep": (text("config.json", "[" * 100_000), r"config\.json cannot be used"),
    "quantization": (settings(quantization_config={"quant_method": "quanto", "weights": "int8"}), "nobody asked for"),
    "other weights": (settings(transformers_weights="adapter_model.bin"), "transformers_weights is not"),
    "kernel": (settings(_attn_implementation="somebody/kernel"), "_attn_implementation is not for checkpoints"),
    "large together": (settings(dense_size=16_384, hidden_size=16_384, head_size=8), r"a network of [\d,]+ w"),
    "n_fft": (settings("preprocessor_config.json", n_fft=2**30), "n_fft=1073741824: must be a whole number from 1"),
    "bins": (settings("preprocessor_config.json", num_mel_bins=32), "gives 96 features .* reads 48"),
    "extractor's list": (text("preprocessor_config.json", "[]"), "a JSON object is needed, not list"),
}  # fmt: skip
ENCODED: dict[str, tuple[Change, str]] = {
    "NaN": (weights(f"encoder/{WEIGHTS}", encoder__layer_norm__bias=lambda one: one / 0), "not finite"),
    "no digest": (entry(digest=None), "digest=None, which no saved one has"),
    "folder": (entry(bundled=False, name_or_path="/etc", revision="main"), "has name_or_path='/etc'"),
    "folder above": (entry(bundled=False, name_or_path="../..", revision="main"), "saved encoder lies beside"),
    "no revision": (entry(bundled=False, name_or_path="somebody/model"), "revision=None"),
    "on the Hub": (entry(bundled=False, name_or_path="somebody/model", revision="main"), "`hf download some"),
    "layers": (settings(WAV2VEC2, num_hidden_layers=10_000), "num_hidden_layers is 10000, more than the 500"),
    "convolutions": (settings(WAV2VEC2, conv_dim=[2**30] * 7), "conv_dim is 1073741824"),
    "size": (settings(WAV2VEC2, intermediate_size=10_000_000), "describe a network of"),
    "quantization": (settings(WAV2VEC2, quantization_config={"quant_method": "fbgemm_fp8"}), "nobody asked for"),
    "rate": (settings("encoder/preprocessor_config.json", sampling_rate=0), "sampling_rate must be from 1000"),
    "left": (settings("encoder/preprocessor_config.json", padding_side="left"), "padding_side must be 'right'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MEL)
def test_a_strangers_checkpoint_is_refused_by_name(kind: str, mel: Path) -> None:
    change, message = MEL[kind]
    change(mel)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        load_saved(str(mel))
    assert str(mel) in str(caught.value)


@pytest.mark.parametrize("kind", ENCODED)
def test_a_strangers_encoder_is_refused_by_name(kind: str, encoded: Path) -> None:
    change, message = ENCODED[kind]
    change(encoded)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        load_saved(str(encoded))
    assert str(encoded) in str(caught.value)


def test_deviations_of_statistics_are_looked_at_too(originals: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(originals / "statistics", tmp_path / "saved"))
    weights(ser__statistics__std=lambda one: one * 0)(folder)
    with pytest.raises(ValueError, match=r"ser\.statistics\.std \(a deviation that is not above 0\)"):
        load_saved(str(folder))


def test_a_local_extractor_asks_the_network_only_where_it_is_told_to(
    encoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(bundled=False, name_or_path="somebody/model", revision="main")(encoded)
    asked = []

    def load(**place: Any) -> None:
        asked.append(place["local_files_only"])
        raise OSError("it is not here")

    monkeypatch.setattr(feature_extraction_ser, "_load", load)
    for told in ({}, {"local_files_only": True}, {"local_files_only": False}):
        with pytest.raises(FileNotFoundError, match="it is not here"):
            SERFeatureExtractor.from_pretrained(encoded, **told)
    assert asked == [True, True, False]


def test_shards_of_the_same_folder_are_read(mel: Path) -> None:
    expected = SERForAudioClassification.from_pretrained(mel).state_dict()
    shards("model-00001-of-00001.safetensors")(mel)
    torch.testing.assert_close(SERForAudioClassification.from_pretrained(mel).state_dict(), expected, rtol=0, atol=0)


def test_weights_of_a_variant_and_of_no_file_are_loaded(mel: Path) -> None:
    model = SERForAudioClassification.from_pretrained(mel)
    expected = model.state_dict()
    (mel / WEIGHTS).unlink()
    model.save_pretrained(mel, variant="fp16")
    with pytest.raises(OSError, match=rf"saved holds no {WEIGHTS}, and pickled"):
        SERForAudioClassification.from_pretrained(mel)
    for again in (
        SERForAudioClassification.from_pretrained(mel, variant="fp16"),
        SERForAudioClassification.from_pretrained(None, config=model.config, state_dict=model.state_dict()),
    ):
        torch.testing.assert_close(again.state_dict(), expected, rtol=0, atol=0)


def test_of_many_names_only_the_first_are_told(mel: Path) -> None:
    settings(num_members=128)(mel)
    with pytest.raises(RuntimeError, match=r"members\.0\.classifier\.dense\.bias, .* and \d{4} more") as caught:
        load_saved(str(mel))
    assert len(str(caught.value)) < 3000


def test_quantized_weights_are_for_those_who_ask(tmp_path: Path) -> None:
    network, _ = small_encoder("deepspeech")
    network.save_pretrained(tmp_path)
    settings(quantization_config={"quant_method": "quanto", "weights": "int8"})(tmp_path)
    with pytest.raises(ValueError, match="quantization_config= to load them"):
        DeepSpeechForCTC.from_pretrained(tmp_path)


def test_scores_that_are_not_finite_never_leave_the_pipeline(mel: Path, tmp_path: Path, capsys: Any) -> None:
    weights(classifier__out_proj__weight=lambda one: one * 3e38)(mel)  # finite, and too large to compute with
    model, extractor = load_saved(str(mel))
    model_of_any_shape = small_classifier()[0]
    model_of_any_shape.config.temperature = 1e-40
    for one in (model, model_of_any_shape):
        with pytest.raises(FloatingPointError, match=r"gives a clip scores that are no finite numbers"):
            one.as_pipeline(extractor)({"raw": CLIP, "sampling_rate": 16000})
    import soundfile

    soundfile.write(tmp_path / "clip.wav", CLIP, 16000)
    assert ser(["predict", str(tmp_path / "clip.wav"), "--model", str(mel)]) == 1
    assert "nan" not in capsys.readouterr().out


def test_a_recognizer_whose_scores_are_not_finite_gives_no_text(tmp_path: Path) -> None:
    network, extractor = small_encoder("deepspeech")
    with torch.no_grad():
        network.deepspeech.layer_6.weight.mul_(3e38).abs_()
        network.deepspeech.layer_5.bias.fill_(9)
    network.save_pretrained(tmp_path)
    recognizer = DeepSpeechForCTC.from_pretrained(tmp_path).as_pipeline(extractor, build_tokenizer(ENGLISH))
    with pytest.raises(FloatingPointError, match=rf"{tmp_path} gives letters scores"):
        recognizer({"raw": CLIP, "sampling_rate": 16000})


def test_a_configuration_names_what_has_no_sense() -> None:
    for fields in ({"stream_sizes": [1] * 384}, {"hidden_size": 2**20}, {"num_labels": 10**9}, {"num_members": 2000}):
        with pytest.raises(ValueError, match=f"{next(iter(fields))} must be"):
            SERConfig(**fields)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_saved_weights_have_the_umasks_mode(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        small_model().save_pretrained(tmp_path / "model")
        network, _ = small_encoder("deepspeech")
        network.save_pretrained(tmp_path / "network")
    finally:
        os.umask(before)
    for file in tmp_path.glob(f"*/{WEIGHTS}"):
        assert file.stat().st_mode & 0o777 == 0o666 & ~mask
        assert file.stat().st_mode == file.with_name("config.json").stat().st_mode


def test_a_full_disk_is_told_by_the_file_that_did_not_fit(tmp_path: Path) -> None:
    model = SERForAudioClassification(SERConfig(num_labels=3))
    with little_room(100_000), pytest.raises(OSError, match=rf"{tmp_path}/{WEIGHTS} could not be written whole"):
        model.save_pretrained(tmp_path)
    with little_room(10_000), pytest.raises(OSError, match=rf"{tmp_path}/\w+\.py could not be written whole"):
        SERFeatureExtractor().save_pretrained(tmp_path)
    with little_room(100_000), pytest.raises(OSError, match="could not be written whole"), writing(tmp_path):
        torch.save({"state": torch.zeros(100_000)}, tmp_path / "optimizer.pt")
    with little_room(1000), pytest.raises(OSError) as caught:
        write_text(tmp_path / "card.md", "a" * 2000)
    assert caught.value.filename == str(tmp_path / "card.md") and not (tmp_path / "card.md").exists()


@pytest.mark.parametrize(("attempts", "rounds"), [(checkpoint_fuzz.files, 120), (checkpoint_fuzz.folders, 120)])
def test_damaged_and_hostile_folders_load_or_give_our_error(
    attempts: Callable[[Path], Any], rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("getaddrinfo", "create_connection"):  # which the attempts replace
        monkeypatch.setattr(f"socket.{name}", getattr(__import__("socket"), name))
    found = fuzz(attempts(tmp_path), range(rounds), seed=1)
    loaded = sum(number for outcome, number in found.items() if outcome.endswith("loaded"))
    assert 0 < loaded < rounds
