"""Frozen networks whose activations are features: DeepSpeech, and the speech encoders of transformers.

An encoder takes waveforms and gives frames; where in the waveform a frame stands is known, so that the frames of two
streams can be brought to the same times.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoFeatureExtractor, AutoModel, PreTrainedModel
from transformers.feature_extraction_utils import FeatureExtractionMixin

from .configuration_deepspeech import DeepSpeechConfig
from .feature_extraction_deepspeech import DeepSpeechFeatureExtractor
from .modeling_deepspeech import NUM_LAYERS, DeepSpeechModel

DEEPSPEECH_LAYER = 5  # the paper's choice
# Kinds whose frames are those of their convolutions, and the same whatever else is in the batch.
WAVEFORM_MODELS = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
CLIPS_PER_PASS = 8  # what a pass keeps in memory is bounded by this many clips


class SpeechEncoder(ABC):
    """A frozen network, the extractor of its inputs, and the layer whose activations are taken: the last if None."""

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin, layer: int | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self.extractor = extractor
        layers = self.layers
        self.layer = layers[-1] if layer is None else layer
        if type(self.layer) is not int or self.layer not in layers:
            raise ValueError(
                f"layer={layer!r}: a {model.config.model_type} model of this size has the layers "
                f"{layers[0]} to {layers[-1]}."
            )

    @property
    def layers(self) -> range:
        """Numbers of the layers there are to choose from; 0 is what the first transformer layer reads."""
        return range(self.model.config.num_hidden_layers + 1)

    @property
    def size(self) -> int:
        """Features per frame."""
        return self.model.config.hidden_size

    @property
    def sampling_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self.extractor.sampling_rate

    @property
    @abstractmethod
    def grid(self) -> tuple[int, float]:
        """Samples from one frame to the next, and the sample that the first one stands at."""

    def centers(self, frames: int, device: torch.device) -> torch.Tensor:
        """Return the sample that each of so many frames stands at, (frames,)."""
        step, first = self.grid
        return torch.arange(frames, device=device) * step + first

    @abstractmethod
    def encode(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the frames of some clips at once, each (frames, size)."""

    @torch.no_grad()
    def __call__(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the features of clips."""
        if self.model.device != waveforms[0].device:
            self.model.to(waveforms[0].device)
        # Clips of like length together: less padding, and less of it in memory.
        order = sorted(range(len(waveforms)), key=lambda index: len(waveforms[index]))
        frames: list[torch.Tensor | None] = [None] * len(waveforms)
        for start in range(0, len(order), CLIPS_PER_PASS):
            chosen = order[start : start + CLIPS_PER_PASS]
            encoded = self.encode([waveforms[index] for index in chosen])
            for index, clip in zip(chosen, encoded, strict=True):
                frames[index] = clip.float()
        return frames

    def digest(self) -> str:
        """Hash the weights and settings that the features depend on."""
        digest = hashlib.sha256(repr((type(self).__name__, self.layer)).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            # Through float32: weights stored in half precision are computed with as such.
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the network and its extractor so that `load_encoder(folder, …)` gives the same."""
        kept = dict(vars(self.model.config))
        try:
            self.model.save_pretrained(folder)
            self.extractor.save_pretrained(folder)
        finally:  # saving notes the class and the type of numbers in it, and would change how the encoder hashes
            vars(self.model.config).clear()
            vars(self.model.config).update(kept)


class DeepSpeechEncoder(SpeechEncoder):
    """DeepSpeech up to one of its six layers, of which 4 is the LSTM; later layers are not computed."""

    layers = range(1, NUM_LAYERS + 1)

    @property
    def size(self) -> int:
        """Units of the layer, or labels."""
        config = self.model.config
        return config.vocab_size if self.layer == NUM_LAYERS else config.hidden_size

    @property
    def grid(self) -> tuple[int, float]:
        """Frame k is of a window around sample 320 k + 256."""
        return self.extractor.hop_length, self.extractor.win_length / 2

    def encode(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the frames of some clips at once, each (frames, size)."""
        inputs = self.extractor.extract(waveforms)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        output = self.model(**inputs, last_layer=self.layer).last_hidden_state  # (clips, frames, size)
        return [clip[:length] for clip, length in zip(output, lengths, strict=True)]


class WaveformEncoder(SpeechEncoder):
    """An encoder of transformers that reads waveforms through a stack of convolutions: wav2vec 2.0, HuBERT, WavLM."""

    @property
    def grid(self) -> tuple[int, float]:
        """A frame stands at the center of the samples that its convolutions see."""
        config = self.model.config
        return math.prod(config.conv_stride), (self._samples_seen - 1) / 2

    @property
    def _samples_seen(self) -> int:
        step, seen = 1, 1
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True):
            seen += (kernel - 1) * step
            step *= stride
        return seen

    def encode(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the frames of some clips, each (frames, size)."""
        # Group normalization takes its statistics over time, padding included, so such models read clips one by one.
        # The others honor a mask, but read equal lengths without one.
        if self.model.config.feat_extract_norm == "group" and len({len(clip) for clip in waveforms}) > 1:
            return [self.encode([waveform])[0] for waveform in waveforms]
        seen, device = self._samples_seen, waveforms[0].device
        inputs = self.extractor(
            [torch.nn.functional.pad(clip, (0, max(0, seen - len(clip)))).cpu().numpy() for clip in waveforms],
            sampling_rate=self.sampling_rate,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(device)
        lengths = inputs["attention_mask"].sum(dim=1)
        # Not those of an adapter, which comes after the transformer's layers: hidden states are never cut by it.
        adapter = {"add_adapter": False} if getattr(self.model.config, "add_adapter", False) else {}
        frames = self.model._get_feat_extract_output_lengths(lengths, **adapter).tolist()
        if len(set(frames)) == 1:
            inputs.pop("attention_mask")
        states = self.model(**inputs, output_hidden_states=True).hidden_states[self.layer]  # (clips, frames, size)
        if states.shape[1] != max(frames):
            raise RuntimeError(f"{states.shape[1]} frames came where {max(frames)} were to come.")
        return [clip[:length] for clip, length in zip(states, frames, strict=True)]


class WhisperEncoder(SpeechEncoder):
    """Whisper's encoder, cut to the clip's true frames; a longer clip than it reads at once is read in parts."""

    @property
    def grid(self) -> tuple[int, float]:
        """The second convolution takes every other spectral frame."""
        return 2 * self.extractor.hop_length, 0.0

    def encode(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the frames of some clips at once, each (frames, size)."""
        step, _ = self.grid
        most = self.model.config.max_source_positions * step  # samples in one reading
        parts = [list(clip.split(most)) for clip in waveforms]
        inputs = self.extractor(
            [part.cpu().numpy() for clip in parts for part in clip],
            sampling_rate=self.sampling_rate,
            padding="max_length",
            max_length=most,
            truncation=True,
            return_tensors="pt",
        )["input_features"].to(waveforms[0].device, self.model.dtype)
        # A clip of ten minutes has twenty parts, and a pass keeps every layer's states until its end.
        passes = inputs.split(CLIPS_PER_PASS)
        states = [self.model(some, output_hidden_states=True).hidden_states[self.layer] for some in passes]
        readings = iter(torch.cat(states))  # each (frames, size)
        return [torch.cat([next(readings)[: -(-len(part) // step)] for part in clip]) for clip in parts]


def load_encoder(name_or_path: str, layer: int | None = None, **hub: Any) -> SpeechEncoder:
    """Load a frozen encoder in full precision."""
    kind = _model_type(name_or_path, **hub)
    if kind == "deepspeech":
        # Weights stored in half precision would otherwise be computed with as such.
        model = DeepSpeechModel.from_pretrained(name_or_path, dtype=torch.float32, **hub)
        extractor = DeepSpeechFeatureExtractor.from_pretrained(name_or_path, **hub)
        return DeepSpeechEncoder(model, extractor, DEEPSPEECH_LAYER if layer is None else layer)
    if kind not in ("whisper", *WAVEFORM_MODELS):
        raise ValueError(
            f"{name_or_path!r} is a {kind!r} model, which is not read here; choose DeepSpeech, wav2vec 2.0, HuBERT, "
            "WavLM, UniSpeech or Whisper."
        )
    model = AutoModel.from_pretrained(name_or_path, dtype=torch.float32, use_safetensors=True, **hub)
    extractor = AutoFeatureExtractor.from_pretrained(name_or_path, **hub)
    if kind == "whisper":
        model = model.get_encoder() if hasattr(model, "decoder") else model
        return WhisperEncoder(model, extractor, layer)
    return WaveformEncoder(model, extractor, layer)


def _model_type(name_or_path: str, **hub: Any) -> str:
    # The configuration as a dictionary: a DeepSpeech's own class would be remote code, and this project has it.
    settings, _ = DeepSpeechConfig.get_config_dict(name_or_path, **hub)
    if not settings.get("model_type"):
        place = "/".join(filter(None, (str(name_or_path), hub.get("subfolder"))))
        raise FileNotFoundError(f"{place} holds no config.json of a model; a folder or an id on the Hub is needed.")
    return settings["model_type"]


def interpolate(frames: torch.Tensor, centers: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Bring frames to other times: linear between neighbors, constant outside."""
    if len(frames) == 1:
        return frames.expand(len(times), -1)
    step = centers[1] - centers[0]
    positions = ((times - centers[0]) / step).clamp(0, len(frames) - 1)  # (wanted,), in frames
    left = positions.floor().long().clamp(max=len(frames) - 2)
    share = (positions - left).unsqueeze(-1).to(frames.dtype)  # (wanted, 1)
    return torch.lerp(frames[left], frames[left + 1], share)
