"""Saved models with damaged weights (`files`), and folders of strangers (`folders`): see `tests.fuzzing`.

Each has to score a clip with finite numbers, or to give an error of ours that names the folder, and none asks the
network.
"""

import json
import os
import shutil
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from feature_extraction import DeepSpeechFeatureExtractor, DeepSpeechForCTC, SERFeatureExtractor
from modeling_ser import SERConfig, SEREnsembleForAudioClassification, SERForAudioClassification
from modeling_ser.checkpoint_files import WEIGHTS
from speech_emotion.inference.saved_model import load_saved
from tests.feature_extraction.small_encoders import small_model as small_encoder
from tests.fuzzing import Attempt, mutate_bytes
from tests.modeling_ser.small_models import small_config
from tests.modeling_ser.small_pipeline import small_classifier, three_classifiers
from tests.modeling_ser.test_encoder_network import BINS, model_with
from tests.synthetic import tone

CLIP = tone(seconds=0.4)
ENCODERS = ("deepspeech", "wav2vec2", "wavlm", "whisper")
KINDS = ("mel", "statistics", "ensemble", "own", "recognizer", *ENCODERS)

VALUES: list[Any] = [
    None, True, -1, 0, 1, 3, 2**15, 2**30, 2**62, 10**400, 1e308, -0.5, float("nan"), float("inf"), "text", "",
    "../../etc/passwd", "\x1b[2J",
    "/etc/passwd", "somebody/model", "cuda", "meta", "float8_e4m3fn", [], [1, 2], [[1]], ["a"],
    [2**30] * 3, list(range(100_000)), {}, {"a": 1}, {"0": "a"}, {str(one): f"label {one}" for one in range(20_000)},
]  # fmt: skip
# What a folder does not hold by itself, and transformers would take note of.
FURTHER_KEYS = [
    "num_labels", "num_members", "quantization_config", "transformers_weights", "attn_implementation",
    "_attn_implementation", "per_layer_config", "fusion_config", "auto_map", "torch_dtype", "dtype",
    "_name_or_path", "configuration_files", "return_dict", "output_attentions", "is_decoder", "tie_word_embeddings",
]  # fmt: skip
DTYPES = [torch.int64, torch.int8, torch.bool, torch.float8_e4m3fn, torch.float16, torch.float64]


INDEX = f"{WEIGHTS}.index.json"


class NetworkAsked(BaseException):
    """Something tried to reach the network; nothing may take this for a connection that failed."""


def _refuse(*args: Any, **kwargs: Any) -> None:
    raise NetworkAsked(str(args))


def save_kind(kind: str, folder: Path) -> None:
    """Save a small model of a kind."""
    model, extractor = small_classifier()
    if kind == "statistics":
        model = SERForAudioClassification(SERConfig(**model.config.to_diff_dict() | {"statistics_head": True}))
    elif kind == "ensemble":
        members, extractor = three_classifiers()
        model = SEREnsembleForAudioClassification.from_members(members)
    elif kind == "own":
        model = model_with("whisper")
        entry = {"input": "log-mel", "size": BINS, "window": 2 * 160 * 40}
        extractor = SERFeatureExtractor(streams=("encoder",), encoders={"encoder": entry})
    elif kind == "recognizer":
        model, extractor = small_encoder("deepspeech")
    elif kind in ENCODERS:
        network, own = small_encoder(kind)
        network.save_pretrained(folder / "source")
        own.save_pretrained(folder / "source")
        entry = {"name_or_path": str(folder / "source"), "layer": 2}
        extractor = SERFeatureExtractor(streams=("encoder",), encoders={"encoder": entry})
        model = SERForAudioClassification(small_config(input_size=extractor.feature_size))
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    shutil.rmtree(folder / "source", ignore_errors=True)
    for code in folder.rglob("*.py"):
        code.unlink()


def score(folder: Path) -> str:
    """Load a folder and score a clip; "loaded", or the kind of our error."""
    recognizer = "DeepSpeech" in (folder / "kind").read_text()
    try:
        if recognizer:
            model, extractor = (
                DeepSpeechForCTC.from_pretrained(folder),
                DeepSpeechFeatureExtractor.from_pretrained(folder),
            )
        else:
            model, extractor = load_saved(str(folder))
    except (ValueError, OSError, RuntimeError) as error:
        assert str(folder) in str(error), f"the error does not name the folder: {type(error).__name__}: {error}"
        return type(error).__name__
    try:
        if recognizer:
            with torch.no_grad():
                model(**extractor(CLIP, 16000, padding=True, return_tensors="pt"))
            return "loaded"
        scores = model.as_pipeline(extractor)({"raw": CLIP, "sampling_rate": 16000})
    except (ValueError, FloatingPointError) as error:
        return f"{type(error).__name__} in use: {str(error)[:60]}"
    assert np.isfinite([one["score"] for one in scores]).all(), scores
    return "loaded"


def _attempts(folder: Path, change: Callable[[Path, int, np.random.Generator], None]) -> Attempt:
    torch.set_num_threads(1)
    for name in ("getaddrinfo", "create_connection"):
        setattr(socket, name, _refuse)
    for kind in KINDS:
        (folder / "whole" / kind).mkdir(parents=True)
        save_kind(kind, folder / "whole" / kind)
        (folder / "whole" / kind / "kind").write_text("DeepSpeech" if kind == "recognizer" else "SER")
        assert score(folder / "whole" / kind) == "loaded"

    def attempt(index: int, random: np.random.Generator) -> str:
        kind = KINDS[index % len(KINDS)]
        place = folder / "changed"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / "whole" / kind, place)
        change(place, index // len(KINDS), random)
        return f"{kind} {score(place)}"

    return attempt


def files(folder: Path) -> Attempt:
    """Return what mutates a file of weights, mostly its header."""
    return _attempts(folder, _mutate_weights)


def folders(folder: Path) -> Attempt:
    """Return what plays a trick or two on a folder."""
    return _attempts(folder, _play_tricks)


def _mutate_weights(place: Path, index: int, random: np.random.Generator) -> None:
    file = _one(sorted(place.rglob(WEIGHTS)), random)
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    structure = np.arange(len(content) if index % 4 == 0 else header)
    file.write_bytes(mutate_bytes(content, structure, random))


def _play_tricks(place: Path, index: int, random: np.random.Generator) -> None:
    tricks = [_change_key, _change_key, _change_key, _replace_json, _replace_file, _change_weights, _shard, _add_file]
    if random.random() < 0.3:
        _change_key(place, random)
    tricks[index % len(tricks)](place, random)


def _one(values: list[Any], random: np.random.Generator) -> Any:
    return values[int(random.integers(len(values)))]


def _settings_file(place: Path, random: np.random.Generator) -> Path:
    return _one(sorted(place.rglob("*config.json")), random)


def _change_key(place: Path, random: np.random.Generator) -> None:
    file = _settings_file(place, random)
    settings = json.loads(file.read_text())
    inner = settings
    while nested := [one for one in inner.values() if isinstance(one, dict) and one]:
        if random.random() < 0.5:
            break
        inner = _one(nested, random)
    key = _one([*inner, *FURTHER_KEYS] if random.random() < 0.3 or not inner else list(inner), random)
    inner[key] = _one(VALUES, random)
    if random.random() < 0.1:
        del inner[key]
    file.write_text(json.dumps(settings))


def _replace_json(place: Path, random: np.random.Generator) -> None:
    file = _settings_file(place, random)
    text = file.read_text()
    contents = ["", "[]", "3", "null", '"text"', "{}", "[" * 100_000, text[: len(text) // 2], "\x00\xff", f"[{text}]",
                '{"a":' * 5000, text.replace('"', "'"), text + text, "{" + " " * 20_000_000 + "}"]  # fmt: skip
    file.write_text(_one(contents, random))


def _replace_file(place: Path, random: np.random.Generator) -> None:
    file = _one(sorted(one for one in place.rglob("*") if one.suffix in (".json", ".safetensors")), random)
    file.unlink()
    replacements: list[Callable[[], object]] = [
        lambda: None, file.mkdir, partial(os.mkfifo, file), partial(file.symlink_to, file),
        partial(file.symlink_to, "/etc/passwd"), partial(file.symlink_to, "/dev/zero"), partial(file.touch),
        partial(file.write_text, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    ]  # fmt: skip
    _one(replacements, random)()


def _change_weights(place: Path, random: np.random.Generator) -> None:
    file = _one(sorted(place.rglob(WEIGHTS)), random)
    weights = load_file(file)
    name = _one(sorted(weights), random)
    tensor = weights[name]
    changes: list[Callable[[], torch.Tensor]] = [
        *(lambda value=value: torch.full_like(tensor, value) for value in (float("nan"), float("inf"), 3e38, 0, -1)),
        lambda: tensor[..., :0], lambda: tensor.flatten()[:1], lambda: torch.cat([tensor, tensor]),
        *(partial(tensor.to, dtype) for dtype in DTYPES),
    ]  # fmt: skip
    weights[name] = _one(changes, random)().contiguous()
    if random.random() < 0.2:
        weights[_one(["more", name + ".more", "classifier.weight"], random)] = weights.pop(name)
    save_file(weights, file, metadata={"format": "pt"})


def _shard(place: Path, random: np.random.Generator) -> None:
    file = _one(sorted(place.rglob(WEIGHTS)), random)
    names = list(load_file(file))
    shard = _one(["model-00001-of-00001.safetensors", "pytorch_model.bin", "../x.safetensors", "/etc/x.safetensors",
                  "sub/x.safetensors", "", 3, None, ["a"], "x.SAFETENSORS", "..safetensors"], random)  # fmt: skip
    if isinstance(shard, str) and shard and not shard.startswith(("/", ".")):
        (file.parent / shard).parent.mkdir(exist_ok=True)
        file.rename(file.parent / shard)
    file.unlink(missing_ok=True)
    index: Any = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, shard)}
    if random.random() < 0.4:
        index = _one([[], {}, {"weight_map": []}, {"metadata": {}, "weight_map": {}}, index["weight_map"]], random)
    (file.parent / INDEX).write_text(json.dumps(index))


def _add_file(place: Path, random: np.random.Generator) -> None:
    name = _one(["adapter_config.json", "shard-00000-model-00001-of-00001.safetensors", "generation_config.json",
                 "processor_config.json", "pytorch_model.bin", "tokenizer.json"], random)  # fmt: skip
    content = _one(['{"base_model_name_or_path": "somebody/model", "peft_type": "LORA"}', "[]", "{", ""], random)
    (place / name).write_text(content)
    if random.random() < 0.3 and name.endswith(".bin"):
        (place / WEIGHTS).unlink()
