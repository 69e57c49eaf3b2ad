"""Whisper's weights: what CTranslate2 calls them, and what transformers does. Every shape and option is checked.

CTranslate2 keeps the query, key and value projections of self-attention as one matrix, and key and value of attention
to the encoder as another. Keys have no bias: zeros stand in its place.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .ctranslate2_model import CTranslate2Model
from .file_bytes import ModelFileError

END, START, NO_TIMES = "<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"  # tokens of every Whisper
HEAD_SIZE = 64  # in every Whisper
MOST_UNITS = 1 << 14
MOST_TOKENS = 1 << 20
# Numbers that say how the network computes; with others it would be another network than transformers'.
OPTIONS = {
    "decoder/activation": 3,  # GELU
    "decoder/alibi": 0,
    "decoder/alignment_heads": 1,
    "decoder/alignment_layer": -1,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
# How ALiBi would be computed, which Whisper has not: newer releases write it all the same.
MEANINGLESS = {"decoder/alibi_use_positive_positions", "decoder/scale_alibi"}


@dataclass
class WhisperFacts:
    """What a model file states."""

    sizes: dict[str, Any] = field(default_factory=dict)  # arguments of `WhisperConfig`
    weights: dict[str, np.ndarray] = field(default_factory=dict)  # transformers' name → float16 or float32
    special_tokens: dict[str, int] = field(default_factory=dict)  # "<|startoftranscript|>" → number, and so on
    settings: dict[str, Any] = field(default_factory=dict)  # of the config.json beside the file
    tokenizer: Path | None = None  # the tokenizer.json beside it

    @property
    def is_half(self) -> bool:
        """Whether all of the file is float16."""
        return all(value.dtype == np.float16 for value in self.weights.values())


def read_weights(content: memoryview) -> WhisperFacts:
    """Read a whole model file."""
    model = CTranslate2Model(content)
    if model.spec != "WhisperSpec":
        raise ModelFileError(f"the file is a CTranslate2 model of the kind {model.spec}; Whisper's is WhisperSpec")
    reader = _Reader(model)
    reader.read()
    return reader.facts


class _Reader:
    """Takes one variable after the other, so that what is left over is known."""

    def __init__(self, model: CTranslate2Model) -> None:
        self.model, self.facts = model, WhisperFacts()
        self.left = set(model.names)

    def read(self) -> None:
        width, mels, _ = self._shape("encoder/conv1/weight", 3)
        tokens, _ = self._shape("decoder/embeddings/weight", 2)
        if not 0 < width <= MOST_UNITS or not 0 < mels <= 1024 or not 0 < tokens <= MOST_TOKENS:
            raise ModelFileError(f"{width} units, {mels} mel bands and {tokens} tokens: no Whisper has these")
        self.facts.sizes = {"d_model": width, "num_mel_bins": mels, "vocab_size": tokens}
        for name, inputs in (("conv1", mels), ("conv2", width)):
            self._put(f"model.encoder.{name}.weight", self._take(f"encoder/{name}/weight", width, inputs, 3))
            self._put(f"model.encoder.{name}.bias", self._take(f"encoder/{name}/bias", width))
        self._put("model.decoder.embed_tokens.weight", self._take("decoder/embeddings/weight", tokens, width))
        for side, positions in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
            self._side(side, positions, width)
        self._projection(tokens, width)
        for name in sorted(self.left & OPTIONS.keys()):
            if (value := self._scalar(name)) != OPTIONS[name]:
                raise ModelFileError(f"{name} is {value} instead of {OPTIONS[name]}, as it is in Whisper")
        if left := sorted(self.left - OPTIONS.keys() - MEANINGLESS):
            raise ModelFileError(f"the file holds what no Whisper has: {', '.join(left[:5])}")

    def _side(self, side: str, positions: str, width: int) -> None:
        """Read the encoder or the decoder."""
        number, _ = self._shape(f"{side}/position_encodings/encodings", 2)
        if not 0 < number <= MOST_UNITS:
            raise ModelFileError(f"the {side} has {number} positions: no Whisper has as many")
        encodings = self._take(f"{side}/position_encodings/encodings", number, width)
        self._put(f"model.{side}.embed_positions.weight", encodings)
        self._norm(f"model.{side}.layer_norm", f"{side}/layer_norm", width)
        found = [re.match(rf"{side}/layer_(\d{{1,4}})/", name) for name in self.model.names]
        layers = len({match[1] for match in found if match})  # were they not numbered 0, 1, 2, one would be missing
        if layers == 0:
            raise ModelFileError(f"the {side} has no layers; the file is damaged")
        hidden, _ = self._shape(f"{side}/layer_0/ffn/linear_0/weight", 2)
        if not 0 < hidden <= 4 * MOST_UNITS:
            raise ModelFileError(f"the {side} has {hidden} hidden units: no Whisper has as many")
        self.facts.sizes |= {
            positions: number,
            f"{side}_layers": layers,
            f"{side}_attention_heads": self._heads(f"{side}/num_heads", width),
            f"{side}_ffn_dim": hidden,
        }
        for index in range(layers):
            self._layer(side, f"model.{side}.layers.{index}", f"{side}/layer_{index}", width, hidden)

    def _layer(self, side: str, target: str, source: str, width: int, hidden: int) -> None:
        self._attention(f"{target}.self_attn", f"{source}/self_attention", ("qkv",), width)
        if side == "decoder":
            self._attention(f"{target}.encoder_attn", f"{source}/attention", ("q", "kv"), width)
        self._linear(f"{target}.fc1", f"{source}/ffn/linear_0", hidden, width)
        self._linear(f"{target}.fc2", f"{source}/ffn/linear_1", width, hidden)
        self._norm(f"{target}.final_layer_norm", f"{source}/ffn/layer_norm", width)

    def _attention(self, target: str, source: str, merged: tuple[str, ...], width: int) -> None:
        """Read the projections of one attention, whose merged matrices hold parts named by one letter each."""
        for index, parts in enumerate(merged):
            weight = self._take(f"{source}/linear_{index}/weight", len(parts) * width, width)
            bias = self._take(f"{source}/linear_{index}/bias", len(parts) * width)
            rows_of_parts, bias_of_parts = np.split(weight, len(parts)), np.split(bias, len(parts))
            for part, rows, values in zip(parts, rows_of_parts, bias_of_parts, strict=True):
                self._put(f"{target}.{part}_proj.weight", rows)  # (width, width)
                if part != "k":
                    self._put(f"{target}.{part}_proj.bias", values)  # (width,)
                elif values.any():
                    raise ModelFileError(f"{source}/linear_{index}/bias has values for keys, which have no bias")
        self._linear(f"{target}.out_proj", f"{source}/linear_{len(merged)}", width, width)
        self._norm(f"{target}_layer_norm", f"{source}/layer_norm", width)

    def _linear(self, target: str, source: str, outputs: int, inputs: int) -> None:
        self._put(f"{target}.weight", self._take(f"{source}/weight", outputs, inputs))
        self._put(f"{target}.bias", self._take(f"{source}/bias", outputs))

    def _norm(self, target: str, source: str, width: int) -> None:
        self._put(f"{target}.weight", self._take(f"{source}/gamma", width))
        self._put(f"{target}.bias", self._take(f"{source}/beta", width))

    def _projection(self, tokens: int, width: int) -> None:
        """Read the last layer, which is the embedding again in all that OpenAI released."""
        name, embeddings = "decoder/projection/weight", "decoder/embeddings/weight"
        tied = name not in self.left or self.model.aliases.get(name) == embeddings
        self.facts.sizes["tie_word_embeddings"] = tied
        if not tied:
            self._put("proj_out.weight", self._take(name, tokens, width))
        self.left -= {name, f"{name}_scale"}

    def _heads(self, name: str, width: int) -> int:
        """Read the number of heads, which old files do not state."""
        if name not in self.left:
            return max(1, width // HEAD_SIZE)
        self.left.discard(name)
        heads = self._scalar(name)
        if heads is None or heads < 1 or width % heads:
            raise ModelFileError(f"{name} is {heads}, which does not divide {width}; the file is damaged")
        return heads

    def _scalar(self, name: str) -> int | None:
        value = self.model.variable(name)
        return int(value.item()) if value.size == 1 and value.dtype.kind == "i" else None

    def _shape(self, name: str, rank: int) -> tuple[int, ...]:
        shape = self.model.variable(name).shape
        if len(shape) != rank:
            raise ModelFileError(f"{name} has the shape {shape}, which in no Whisper it has")
        return shape

    def _take(self, name: str, *shape: int) -> np.ndarray:
        stored = self.model.variable(name)
        if stored.shape != shape:
            raise ModelFileError(f"{name} has the shape {stored.shape} instead of {shape}; the file is damaged")
        value = self.model.weight(name)
        if not np.isfinite(value).all():
            raise ModelFileError(f"{name} has values that are NaN or infinite; the file is damaged")
        self.left -= {name, f"{name}_scale"}
        return value

    def _put(self, name: str, value: np.ndarray) -> None:
        self.facts.weights[name] = value
