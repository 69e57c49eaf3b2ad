"""Whisper of CTranslate2, in each of its types: the same network comes out; what is damaged or hostile is refused."""

import json
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration, pipeline

from feature_extraction.convert.command import get_parser
from feature_extraction.convert.ctranslate2_model import CTranslate2Model, find_spec
from feature_extraction.convert.file_bytes import ModelFileError
from feature_extraction.convert.whisper import convert_whisper, is_ctranslate2, read_whisper, released_tokens
from feature_extraction.convert.whisper_weights import read_weights
from tests.feature_extraction.convert.ctranslate2_fixtures import (
    KINDS,
    SPECIAL,
    TIED,
    pack,
    quantize,
    text,
    tiny_whisper,
    variable,
    variables_of,
    write_model,
)
from tests.feature_extraction.convert.whisper_fuzz import attempts
from tests.fuzzing import fuzz

CONFIG = {
    "suppress_ids": [1, 2, 257],
    "suppress_ids_begin": [32, 256],
    "alignment_heads": [[0, 1], [0, 3]],
    "lang_ids": [9],
}


@pytest.fixture(scope="module")
def model() -> WhisperForConditionalGeneration:
    return tiny_whisper()


@pytest.fixture(scope="module")
def plain(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    return variables_of(model)


def load(folder: Path) -> WhisperForConditionalGeneration:
    model, report = WhisperForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values())
    return model


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "int32"])
@torch.no_grad()
def test_every_type_gives_the_network_that_was_written(
    kind: str, model: WhisperForConditionalGeneration, plain: dict[str, np.ndarray], tmp_path: Path
) -> None:
    source = write_model(tmp_path / "source", pack(quantize(plain, kind)))
    converted = load(convert_whisper(source, tmp_path / "model"))
    stored = json.loads((tmp_path / "model/config.json").read_text())["dtype"]
    assert stored == ("float16" if kind == "float16" else "float32")
    wanted = model.state_dict()
    of_all = max(value.abs().max() for value in wanted.values())
    assert converted.state_dict().keys() == wanted.keys()
    for name, value in converted.state_dict().items():
        # int8: half a step of each row; int16: of a matrix, merged with others; bfloat16: 8 bits.
        largest = wanted[name].abs().max()
        step = {"int8": largest / 127 / 2, "int16": of_all / 1024 / 2, "bfloat16": largest / 256}.get(kind, 0)
        assert (value - wanted[name]).abs().max() <= 1.0001 * step, name
    features, tokens = torch.randn(1, 80, 3000), torch.tensor([[257, 5, 6]])
    if kind in ("float32", "float16"):
        given = {"input_features": features, "decoder_input_ids": tokens}
        assert torch.equal(converted(**given).logits, model(**given).logits)
    assert converted.proj_out.weight is converted.model.decoder.embed_tokens.weight


def test_int8_rows_of_convolutions_have_scales_of_their_own(plain: dict[str, np.ndarray]) -> None:
    """New releases quantize them, old ones leave them in float32."""
    variables = quantize(plain, "int8")
    name = "encoder/conv1/weight"
    weight = read_weights(memoryview(pack(variables))).weights["model.encoder.conv1.weight"]
    assert weight.dtype == np.float32 and weight.shape == (16, 80, 3)
    assert np.abs(weight - plain[name]).max(axis=(1, 2)) == pytest.approx(
        np.zeros(16), abs=float(np.abs(plain[name]).max()) / 250
    )
    variables[name] = plain[name]
    del variables[f"{name}_scale"]
    weight = read_weights(memoryview(pack(variables))).weights["model.encoder.conv1.weight"]
    assert np.array_equal(weight, plain[name])


def test_scales_of_half_precision_and_old_files(plain: dict[str, np.ndarray]) -> None:
    variables = {
        name: value.astype(np.float16) if name.endswith("_scale") else value
        for name, value in quantize(plain, "int8").items()
        if not name.endswith("num_heads")  # which old files do not state: heads of 64, here of all 16
    }
    facts = read_weights(memoryview(pack(variables)))
    assert facts.sizes["encoder_attention_heads"] == facts.sizes["decoder_attention_heads"] == 1
    assert not facts.is_half


def test_equal_weights_may_be_stored_once(model: WhisperForConditionalGeneration, tmp_path: Path) -> None:
    """CTranslate2 writes what is equal to something before as an alias of it."""
    same = tiny_whisper(seed=3)
    with torch.no_grad():
        same.model.encoder.layers[1].fc1.weight.copy_(same.model.encoder.layers[0].fc1.weight)
    variables = variables_of(same)
    aliases = TIED | {"encoder/layer_1/ffn/linear_0/weight": "encoder/layer_0/ffn/linear_0/weight"}
    for kind in ("float32", "int8"):
        stored = {name: value for name, value in quantize(variables, kind).items() if name not in aliases}
        stored.pop("encoder/layer_1/ffn/linear_0/weight_scale", None)
        weights = read_weights(memoryview(pack(stored, aliases))).weights
        first, second = (weights[f"model.encoder.layers.{index}.fc1.weight"] for index in (0, 1))
        assert np.array_equal(first, second)


def test_a_last_layer_of_its_own_is_kept(tmp_path: Path) -> None:
    model = tiny_whisper(tied=False)
    variables = variables_of(model) | {"decoder/projection/weight": model.proj_out.weight.detach().numpy()}
    converted = load(convert_whisper(write_model(tmp_path / "source", pack(variables, {})), tmp_path / "model"))
    assert not converted.config.tie_word_embeddings
    assert torch.equal(converted.proj_out.weight, model.proj_out.weight)
    assert not torch.equal(converted.proj_out.weight, converted.model.decoder.embed_tokens.weight)


def test_the_folder_transcribes_as_the_original(
    model: WhisperForConditionalGeneration, plain: dict[str, np.ndarray], tmp_path: Path
) -> None:
    source = write_model(tmp_path / "source", pack(plain), config=CONFIG)
    folder = convert_whisper(source, tmp_path / "model")
    recognizer = pipeline("automatic-speech-recognition", model=str(folder))
    settings = recognizer.model.generation_config
    assert (settings.suppress_tokens, settings.begin_suppress_tokens) == ([1, 2, 257], [32, 256])
    assert (settings.eos_token_id, settings.decoder_start_token_id, settings.no_timestamps_token_id) == (256, 257, 265)
    assert (settings.is_multilingual, settings.max_length) == (False, 32)
    assert settings.alignment_heads == [[0, 1], [0, 3]]
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    said = recognizer(samples, generate_kwargs={"max_new_tokens": 6})["text"]
    model.generation_config = settings
    parts = {"tokenizer": recognizer.tokenizer, "feature_extractor": recognizer.feature_extractor}
    original = pipeline("automatic-speech-recognition", model=model, **parts)
    assert original(samples, generate_kwargs={"max_new_tokens": 6})["text"] == said and said
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.all_special_ids == list(range(256, 266))
    assert tokenizer("hi").input_ids == [257, 265, *tokenizer.convert_tokens_to_ids(["h", "i"]), 256]
    assert len(tokenizer) == 256 + len(SPECIAL)


@pytest.mark.parametrize(("vocab_size", "languages", "mels"), [(51_864, 0, 80), (51_865, 99, 80), (51_866, 100, 128)])
def test_released_vocabularies_are_known_without_a_tokenizer(
    vocab_size: int, languages: int, mels: int, tmp_path: Path
) -> None:
    content = pack(quantize(variables_of(tiny_whisper(vocab_size, mels)), "float16"))
    source = write_model(tmp_path / "source", content, tokenizer=False)
    with pytest.warns(UserWarning, match=r"no tokenizer\.json beside it"):
        folder = convert_whisper(source, tmp_path / "model")
    settings = load(folder).generation_config
    several = languages > 0
    assert settings.is_multilingual is several
    assert settings.decoder_start_token_id == 50_257 + several
    assert settings.no_timestamps_token_id == vocab_size - 1501 - 1
    if several:
        assert len(settings.lang_to_id) == languages and settings.lang_to_id["<|en|>"] == 50_259
        assert settings.task == "transcribe"
        assert settings.task_to_id == {"transcribe": 50_260 + languages, "translate": 50_259 + languages}
    assert WhisperFeatureExtractor.from_pretrained(folder).feature_size == mels
    assert not (folder / "tokenizer.json").exists()


def test_what_lies_beside_is_checked(plain: dict[str, np.ndarray], tmp_path: Path) -> None:
    content = pack(plain)
    source = write_model(tmp_path / "source", content, tokenizer=False)
    with pytest.raises(ModelFileError, match=r"300 tokens, as no released Whisper has.*tokenizer\.json"):
        read_whisper(source)
    wrong: list[tuple[str, object, str]] = [
        ("config.json", "{", "config.json beside it is no JSON"),
        ("config.json", [], "no JSON object"),
        ("config.json", {"suppress_ids": [300]}, "suppress_ids in config.json"),
        ("config.json", {"suppress_ids_begin": [True]}, "suppress_ids_begin in config.json"),
        ("config.json", {"alignment_heads": [[1, 0]]}, "alignment_heads in config.json"),
        ("config.json", {"alignment_heads": [[0, 4]]}, "alignment_heads in config.json"),
        ("config.json", {"alignment_heads": 5}, "alignment_heads in config.json"),
        ("tokenizer.json", {}, "no list added_tokens"),
        ("tokenizer.json", {"added_tokens": [5]}, "no list added_tokens"),
        ("tokenizer.json", {"added_tokens": [{"content": "a", "id": 300}]}, "the model, with 300, has not"),
        ("tokenizer.json", {"added_tokens": []}, r"no token <\|endoftext\|>: it is not of a Whisper"),
    ]
    for name, beside, message in wrong:
        write_model(tmp_path / "source", content, config=CONFIG)
        (source / name).write_text(beside if isinstance(beside, str) else json.dumps(beside))
        with pytest.raises(ModelFileError, match=message):
            convert_whisper(source, tmp_path / "model")
        assert not (tmp_path / "model").exists()


def test_the_command_tells_files_apart(plain: dict[str, np.ndarray], tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", pack(plain))

    def command(*words: Any) -> list[Path]:
        args = get_parser().parse_args([str(word) for word in words])
        return list(args.run(args))

    assert command(source, tmp_path / "one") == [tmp_path / "one"]
    with pytest.raises(FileExistsError, match="overwrite=True"):
        command(source / "model.bin", tmp_path / "one")
    command(source / "model.bin", tmp_path / "one", "-f")
    with pytest.raises(ValueError, match="is a Whisper, which has no --version"):
        command(source, tmp_path / "two", "--version", "0.9.3")
    assert not is_ctranslate2(tmp_path) and not is_ctranslate2(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="no such file"):
        convert_whisper(tmp_path / "nothing", tmp_path / "two")
    other = write_model(tmp_path / "other", pack({}, {}, spec="TransformerSpec"))
    with pytest.raises(ModelFileError, match=r"other: the file is .* of the kind TransformerSpec"):
        command(other, tmp_path / "two")
    assert find_spec(memoryview(b"\6\0\0\0\5\0Spec\0")) == "Spec"
    for content in (b"", b"\6\0\0\0", b"\6\0\0\0\xff\xffSpec\0", b"\6\0\0\0\5\0Spec1", b"\6\0\0\0\6\0\xffSpec\0"):
        assert find_spec(memoryview(content)) is None


def test_a_file_cut_off_anywhere_is_refused(plain: dict[str, np.ndarray]) -> None:
    content = pack({name: value for name, value in plain.items() if "conv1" in name or value.ndim == 0})
    whole = memoryview(content)
    with pytest.raises(ModelFileError, match=r"stands for nothing"):  # the alias's target was left out
        CTranslate2Model(whole)
    content = pack({name: value for name, value in plain.items() if "conv1/bias" in name or value.ndim == 0}, {})
    CTranslate2Model(memoryview(content))
    for length in range(len(content)):
        with pytest.raises(ModelFileError):
            CTranslate2Model(memoryview(content)[:length])
    with pytest.raises(ModelFileError, match="goes on for 1 bytes after its end"):
        CTranslate2Model(memoryview(content + b"\0"))


def header(number: int = 1) -> bytes:
    return struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, number)


def one(name: bytes, rank: int, shape: tuple[int, ...], kind: int, size: int, content: bytes = b"") -> bytes:
    dimensions = struct.pack(f"<{len(shape)}I", *shape)
    return header() + name + bytes([rank]) + dimensions + struct.pack("<BI", kind, size) + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<I", 5) + text("WhisperSpec"), "version 5 of CTranslate2's format"),
        (header(100_001), "100001 variables, which no model has"),
        (header(0) + struct.pack("<I", 2**32 - 1), "4294967295 aliases"),
        (header(2) + variable("a", np.zeros(1, np.int8)) * 2, "a occurs twice"),
        (one(text("a"), 9, (1,) * 9, 0, 4, bytes(4)), "has 9 dimensions"),
        (one(text("a"), 2, (2**32 - 1, 2**32 - 1), 1, 8, bytes(8)), "would lie at bytes"),
        (one(text("a"), 1, (1,), 6, 4, bytes(4)), "type number 6"),
        (one(text("a"), 1, (1,), 0, 2**32 - 1, bytes(4)), "would lie at bytes"),
        (one(text("a"), 1, (1,), 0, 8, bytes(8)), "has 8 bytes instead of 4"),
        (one(text("a"), 1, (0,), 0, 4, bytes(4)), "has 4 bytes instead of 0"),
        (one(b"\0\0", 1, (1,), 0, 4, bytes(4)), "has 0 bytes, which none has"),
        (one(b"\xff\xff", 1, (1,), 0, 4, bytes(4)), "has 65535 bytes, which none has"),
        (one(b"\2\0aa", 1, (1,), 0, 4, bytes(4)), "is no name"),
        (one(b"\3\0a\0\0", 1, (1,), 0, 4, bytes(4)), "is no name"),
        (one(b"\2\0\xff\0", 1, (1,), 0, 4, bytes(4)), "is no name"),
        (header(0) + struct.pack("<I", 1) + text("a") + text("b"), "stands for nothing"),
        (header() + variable("a", np.zeros(1, np.int8)) + struct.pack("<I", 1) + text("a") * 2, "is taken"),
    ],
)
def test_hostile_files(content: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(message)):
        CTranslate2Model(memoryview(content))


def without(name: str) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda variables: variables.pop(name)


def with_value(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda variables: variables.update({name: change(variables[name])})


def added(**more: np.ndarray) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda variables: variables.update({name.replace("__", "/"): value for name, value in more.items()})


ATTENTION = "encoder/layer_1/self_attention/linear_0"


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("float32", without("encoder/conv2/bias"), "the file has no encoder/conv2/bias"),
        ("float32", without("encoder/layer_0/ffn/linear_0/weight"), "the file has no encoder/layer_0/ffn/linear_0/w"),
        ("float32", with_value("encoder/conv1/weight", lambda value: value[0]), "which in no Whisper it has"),
        ("float32", with_value("encoder/conv2/weight", lambda value: value[:, :, :2]), "instead of (16, 16, 3)"),
        ("float32", with_value(f"{ATTENTION}/weight", lambda value: value[:32]), "instead of (48, 16)"),
        ("float32", with_value(f"{ATTENTION}/bias", lambda value: value + 1), "values for keys"),
        ("float32", with_value("encoder/layer_norm/beta", lambda value: value * np.inf), "NaN or infinite"),
        ("float32", with_value("encoder/layer_norm/beta", lambda value: value.astype(np.int32)), "without a scale"),
        ("float32", with_value("encoder/num_heads", lambda value: value * 0 + 3), "is 3, which does not divide 16"),
        ("float32", with_value("encoder/num_heads", lambda value: value * 0), "is 0, which does not divide 16"),
        ("float32", with_value("decoder/num_heads", lambda value: np.ones(1000, np.int16)), "is None, which"),
        ("float32", with_value("decoder/activation", lambda value: value * 0), "activation is 0 instead of 3"),
        ("float32", with_value("decoder/pre_norm", lambda value: value.astype(np.float32)), "is None instead of 1"),
        (
            "float32",
            added(decoder__layer_0__gate=np.zeros(3, np.float32)),
            "holds what no Whisper has: decoder/layer_0",
        ),
        ("float32", added(encoder__layer_7__x=np.zeros(3, np.float32)), "has no encoder/layer_2/"),
        ("int8", without("encoder/conv2/weight_scale"), "of type int8 without a scale"),
        ("int8", with_value("encoder/conv2/weight_scale", lambda value: value[:3]), "but its scale (3,)"),
        ("int8", with_value("encoder/conv2/weight_scale", lambda value: value * 0), "not positive, or not finite"),
        ("int8", with_value("encoder/conv2/weight_scale", lambda value: value.astype(np.int16)), "not positive, or"),
    ],
)
def test_files_of_other_networks(
    kind: str, change: Callable[[dict[str, np.ndarray]], object], message: str, plain: dict[str, np.ndarray]
) -> None:
    variables = quantize(plain, kind)
    change(variables)
    with warnings.catch_warnings(), pytest.raises(ModelFileError, match=re.escape(message)):
        warnings.simplefilter("ignore", RuntimeWarning)
        read_weights(memoryview(pack(variables)))


def test_sizes_are_bounded() -> None:
    huge = {"encoder/conv1/weight": np.zeros((0, 80, 3), np.float32), "decoder/embeddings/weight": np.zeros((0, 16))}
    huge["decoder/embeddings/weight"] = huge["decoder/embeddings/weight"].astype(np.float32)
    with pytest.raises(ModelFileError, match="0 units, 80 mel bands and 0 tokens: no Whisper has these"):
        read_weights(memoryview(pack(huge)))


def test_random_changes_never_do_worse_than_our_error(tmp_path: Path) -> None:
    outcomes = fuzz(attempts(tmp_path), range(300), seed=1)
    assert outcomes["loaded"] > 10 and outcomes["ModelFileError"] > 100


def test_released_tokens_refuses_other_numbers() -> None:
    with pytest.raises(ModelFileError, match="has 40 tokens"):
        released_tokens(40)
