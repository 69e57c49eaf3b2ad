"""Writes Whisper models of any size as CTranslate2 does: `model.bin` in each of its types, and what lies beside it.

The files are byte for byte those that CTranslate2 4.8.5 writes of the same models.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

KINDS = ("float32", "int8", "int16", "int32", "float16", "bfloat16")  # by their numbers
SCALED = ("int8", "int16")
OPTIONS = {
    "decoder/activation": np.array(3, np.int8),
    "decoder/alibi": np.array(0, np.int8),
    "decoder/alibi_use_positive_positions": np.array(0, np.int8),
    "decoder/alignment_heads": np.array(1, np.int16),
    "decoder/alignment_layer": np.array(-1, np.int16),
    "decoder/pre_norm": np.array(1, np.int8),
    "decoder/scale_alibi": np.array(0, np.int8),
    "decoder/scale_embeddings": np.array(0, np.int8),
    "decoder/start_from_zero_embedding": np.array(0, np.int8),
}
TIED = {"decoder/projection/weight": "decoder/embeddings/weight"}
SPECIAL = ("endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "startoflm", "startofprev")
SPECIAL += ("nospeech", "notimestamps")


def tiny_whisper(
    vocab_size: int = 300, mels: int = 80, seed: int = 0, tied: bool = True
) -> WhisperForConditionalGeneration:
    """Return a small model with random weights that float16 represents."""
    config = WhisperConfig(
        vocab_size=vocab_size,
        num_mel_bins=mels,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=4,
        encoder_ffn_dim=24,
        decoder_ffn_dim=40,
        max_target_positions=32,
        pad_token_id=256,
        bos_token_id=256,
        eos_token_id=256,
        decoder_start_token_id=257,
        tie_word_embeddings=tied,
    )
    model = WhisperForConditionalGeneration(config).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=random).mul(0.2).half())
    return model


def variables_of(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    """Return a model's weights by CTranslate2's names, float32, and its options."""
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    found = dict(OPTIONS)

    def put(target: str, *sources: str, norm: bool = False) -> None:
        weights = [state[f"{source}.weight"] for source in sources]
        biases = [state.get(f"{source}.bias", np.zeros(len(weights[0]), np.float32)) for source in sources]
        found[f"{target}/{'gamma' if norm else 'weight'}"] = np.concatenate(weights)
        found[f"{target}/{'beta' if norm else 'bias'}"] = np.concatenate(biases)

    for side, network in (("encoder", model.model.encoder), ("decoder", model.model.decoder)):
        own = f"model.{side}"
        heads = network.layers[0].self_attn.num_heads
        found[f"{side}/num_heads"] = np.array(heads, np.int16)
        found[f"{side}/position_encodings/encodings"] = state[f"{own}.embed_positions.weight"]
        put(f"{side}/layer_norm", f"{own}.layer_norm", norm=True)
        for index in range(len(network.layers)):
            here, there = f"{own}.layers.{index}", f"{side}/layer_{index}"
            self_attention, attention = f"{here}.self_attn", f"{here}.encoder_attn"
            put(f"{there}/self_attention/linear_0", *(f"{self_attention}.{part}_proj" for part in "qkv"))
            put(f"{there}/self_attention/linear_1", f"{self_attention}.out_proj")
            put(f"{there}/self_attention/layer_norm", f"{self_attention}_layer_norm", norm=True)
            if side == "decoder":
                put(f"{there}/attention/linear_0", f"{attention}.q_proj")
                put(f"{there}/attention/linear_1", f"{attention}.k_proj", f"{attention}.v_proj")
                put(f"{there}/attention/linear_2", f"{attention}.out_proj")
                put(f"{there}/attention/layer_norm", f"{attention}_layer_norm", norm=True)
            put(f"{there}/ffn/linear_0", f"{here}.fc1")
            put(f"{there}/ffn/linear_1", f"{here}.fc2")
            put(f"{there}/ffn/layer_norm", f"{here}.final_layer_norm", norm=True)
    put("encoder/conv1", "model.encoder.conv1")
    put("encoder/conv2", "model.encoder.conv2")
    found["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    return found


def quantize(variables: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """Give weights a type as CTranslate2 does; bfloat16 is written as uint16, which `pack` knows."""
    found: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        if value.ndim == 0:
            found[name] = value
        elif kind in SCALED and name.endswith("/weight"):
            rows = value.reshape(len(value), -1)
            scale = 127 / np.abs(rows).max(axis=1) if kind == "int8" else np.array(1024 / np.abs(value).max())
            scale = scale.astype(np.float32)
            spread = scale.reshape((-1,) + (1,) * (value.ndim - 1)) if kind == "int8" else scale
            found[name] = np.rint(value * spread).astype(kind)
            found[f"{name}_scale"] = scale
        elif kind == "bfloat16":
            found[name] = torch.from_numpy(value).bfloat16().view(torch.int16).numpy().view(np.uint16)
        else:
            found[name] = value.astype(np.float32 if kind in SCALED else kind)
    return found


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def variable(name: str, value: np.ndarray) -> bytes:
    kind = KINDS.index("bfloat16" if value.dtype == np.uint16 else value.dtype.name)
    header = text(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    return header + struct.pack("<BI", kind, value.nbytes) + value.tobytes()


def pack(
    variables: Mapping[str, np.ndarray], aliases: Mapping[str, str] = TIED, spec: str = "WhisperSpec", version: int = 6
) -> bytes:
    """Write a model file."""
    header = struct.pack("<I", version) + text(spec) + struct.pack("<II", 3, len(variables))
    body = b"".join(variable(name, value) for name, value in sorted(variables.items()))
    return header + body + struct.pack("<I", len(aliases)) + b"".join(text(a) + text(b) for a, b in aliases.items())


def write_model(folder: Path, content: bytes, tokenizer: bool = True, config: object = None) -> Path:
    """Write a folder as faster-whisper has it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(content)
    if tokenizer:
        (folder / "tokenizer.json").write_text(json.dumps(tiny_tokenizer()), encoding="utf-8")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def tiny_tokenizer() -> dict[str, object]:
    """Return a tokenizer.json of single bytes and Whisper's special tokens, which begin at 256."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = {letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": 256 + index, "content": f"<|{name}|>", **plain} for index, name in enumerate(SPECIAL)]
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": bytewise,
        "decoder": bytewise,
        "model": {"type": "BPE", "vocab": letters, "merges": []},
    }
