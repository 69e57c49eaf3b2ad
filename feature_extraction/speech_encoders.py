"""The encoders that there are: DeepSpeech, Whisper, and those of transformers that read waveforms."""

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import CONFIG_MAPPING, AutoModel, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder as WhisperNetwork

from .configuration_deepspeech import DeepSpeechConfig
from .encoder_files import check_settings, check_values, check_weights, listed, naming, with_sizes, without_report
from .encoder_layers import encoder_states
from .feature_extraction_deepspeech import DeepSpeechFeatureExtractor
from .frozen_encoder import SpeechEncoder, side_by_side
from .modeling_deepspeech import NUM_LAYERS, DeepSpeechModel
from .onednn_linear import OneDNNLinear
from .whisper_encoder import WhisperClipEncoder, WhisperEncoder

logger = logging.getLogger(__name__)

DEEPSPEECH_LAYER = 5  # the paper's choice
# Kinds whose frames are those of their convolutions, and the same whatever else is in the batch.
WAVEFORM_MODELS = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")

# What has sense of the settings that such an encoder's input depends on.
INPUT_RANGES = {"feature_size": (1, 1024), "n_fft": (16, 1 << 15), "hop_length": (1, 1 << 15)}
INPUT_RANGES |= {"chunk_length": (1, 600), "sampling_rate": (1000, 384_000), "padding_value": (0.0, 0.0)}
INPUT_RANGES |= {"dither": (0.0, 1.0), "do_normalize": (0, 1)}


class DeepSpeechEncoder(SpeechEncoder):
    """DeepSpeech up to one of its six layers, of which 4 is the LSTM; later layers are not computed."""

    layers = range(1, NUM_LAYERS + 1)

    @property
    def size(self) -> int:
        """Units of the layers; the last one's are labels."""
        config = self.model.config
        return sum(config.vocab_size if layer == NUM_LAYERS else config.hidden_size for layer in self.taken)

    @property
    def grid(self) -> tuple[int, float]:
        """Frame k is of a window around sample 320 k + 256."""
        return self.extractor.hop_length, self.extractor.win_length / 2

    def encode(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the frames of some clips at once, each (frames, size)."""
        inputs = self.extractor.extract(waveforms)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        several = len(self.taken) > 1  # else the others need not be kept
        output = self.model(**inputs, last_layer=max(self.taken), output_hidden_states=several)
        states = [output.hidden_states[layer] for layer in self.taken] if several else [output.last_hidden_state]
        return side_by_side(states, lengths)


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

    def _passes(self, waveforms: Sequence[torch.Tensor]) -> Iterator[list[int]]:
        """Which clips are computed together; on a CPU none are: their convolutions are then twice as fast."""
        if waveforms[0].device.type != "cpu":
            return super()._passes(waveforms)
        return ([index] for index in range(len(waveforms)))

    def encode(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the frames of some clips at once, each (frames, size)."""
        seen, device = self._samples_seen, waveforms[0].device
        clips = [pad(clip, (0, max(0, seen - len(clip)))).cpu().numpy() for clip in waveforms]
        inputs = self.extractor(
            clips, sampling_rate=self.sampling_rate, padding=True, return_attention_mask=True, return_tensors="pt"
        ).to(device)  # the mask says over which samples a clip is normalized
        lengths = inputs["attention_mask"].sum(dim=1)
        equal = len({len(clip) for clip in clips}) == 1
        with OneDNNLinear():
            states, ends = encoder_states(self.model, inputs["input_values"], None if equal else lengths, self.taken)
        return side_by_side(states, None if ends is None else ends.tolist())


def load_encoder(
    name_or_path: str,
    layer: int | Sequence[int] | None = None,
    context: str | None = None,
    dtype: str | None = None,
    **hub: Any,
) -> SpeechEncoder:
    """Load a frozen encoder, in full precision if nothing else is said; `SERFeatureExtractor` explains the rest."""
    settings = _settings(name_or_path, **hub)
    kind = settings["model_type"]
    for key, value in (("context", context), ("dtype", dtype)):
        if value is not None and kind != "whisper":
            raise ValueError(
                f"{key}={value!r}: that is for Whisper alone, and {name_or_path!r} is a {kind!r} model; leave it out."
            )
    if kind == "deepspeech":
        model = DeepSpeechModel.from_pretrained(name_or_path, dtype=torch.float32, **hub)
        extractor = DeepSpeechFeatureExtractor.from_pretrained(name_or_path, **hub)
        return DeepSpeechEncoder(model, extractor, DEEPSPEECH_LAYER if layer is None else layer)
    if kind not in ("whisper", *WAVEFORM_MODELS):
        raise ValueError(
            f"{name_or_path!r} is a {kind!r} model, which is not read here; choose DeepSpeech, wav2vec 2.0, HuBERT, "
            "WavLM, UniSpeech or Whisper."
        )
    with naming(name_or_path, "its config.json cannot be used"):
        check_settings(settings)
        config = CONFIG_MAPPING[kind].from_dict(settings)
    # Whisper's encoder is there alone where it was bundled, else with its decoder.
    alone = settings.get("architectures") == ["WhisperEncoder"]
    network = WhisperNetwork if alone else AutoModel
    hub = check_weights(name_or_path, config, WhisperNetwork if alone else AutoModel.from_config, hub)
    # Weights may be stored in half precision, and would be computed with as such.
    precision = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    with naming(name_or_path, "cannot be loaded"), without_report():
        model, info = network.from_pretrained(
            name_or_path,
            config=config,
            dtype=precision,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below
            **hub,
        )
        resized = with_sizes(info["mismatched_keys"])
        missing = {key for key in info["missing_keys"] if not key.endswith("masked_spec_embed")} - set(resized)
        if resized or missing:  # transformers fills them with random numbers
            wrong = {"missing": missing, "of another size": resized.values()}
            told = "; ".join(f"{kind}: {listed(keys)}" for kind, keys in wrong.items() if keys)
            raise ValueError(f"weights {told}; it is of another model")
        if info["unexpected_keys"]:
            unread = listed(info["unexpected_keys"])
            logger.warning("%s: weights that are not the encoder's and stay unread: %s.", name_or_path, unread)
    check_values(name_or_path, model)
    extractor = _input_extractor(kind, name_or_path, **hub)
    if kind == "whisper":
        window = 2 * config.max_source_positions * extractor.hop_length  # samples that it reads at once
        if extractor.feature_size != config.num_mel_bins or window < extractor.n_fft:
            raise ValueError(
                f"{name_or_path}: its preprocessor_config.json gives {extractor.feature_size} mel bins in frames of "
                f"{extractor.n_fft} samples, and its network reads {config.num_mel_bins} in windows of {window} "
                "samples; fetch both anew."
            )
        model = model.get_encoder() if hasattr(model, "decoder") else model
        return (WhisperClipEncoder if context == "clip" else WhisperEncoder)(model, extractor, layer)
    return WaveformEncoder(model, extractor, layer)


def _settings(name_or_path: str, **hub: Any) -> dict[str, Any]:
    # The configuration as a dictionary: a DeepSpeech's own class would be remote code, and this project has it.
    with naming(name_or_path, "its config.json cannot be used"):
        settings, _ = DeepSpeechConfig.get_config_dict(name_or_path, **hub)
    if not settings.get("model_type"):
        place = "/".join(filter(None, (str(name_or_path), hub.get("subfolder"))))
        raise FileNotFoundError(f"{place} holds no config.json of a model; a folder or an id on the Hub is needed.")
    return settings


def _input_extractor(kind: str, name_or_path: str, **hub: Any) -> SequenceFeatureExtractor:
    extractor = WhisperFeatureExtractor if kind == "whisper" else Wav2Vec2FeatureExtractor
    with naming(name_or_path, "its preprocessor_config.json cannot be used"):
        settings, _ = extractor.get_feature_extractor_dict(name_or_path, **hub)
        if not isinstance(settings, dict):
            raise ValueError(f"a JSON object is needed, not {type(settings).__name__}")
        for name, (least, most) in INPUT_RANGES.items():
            value = settings.get(name, least)
            if not (isinstance(value, int | type(least)) and least <= value <= most):
                raise ValueError(f"{name} must be from {least} to {most}, not {value!r}")
        if settings.get("padding_side", "right") != "right":
            raise ValueError(f"padding_side must be 'right', not {settings['padding_side']!r}")
        return extractor.from_dict(settings)


def interpolate(frames: torch.Tensor, centers: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Bring frames to other times: linear between neighbors, constant outside."""
    if len(frames) == 1:
        return frames.expand(len(times), -1)
    step = centers[1] - centers[0]
    positions = ((times - centers[0]) / step).clamp(0, len(frames) - 1)  # (wanted,), in frames
    left = positions.floor().long().clamp(max=len(frames) - 2)
    share = (positions - left).unsqueeze(-1).to(frames.dtype)  # (wanted, 1)
    return torch.lerp(frames[left], frames[left + 1], share)
