"""What the feature extractors share: waveforms in any form, checked settings, batches in the form asked for."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature

from .audio_decoding import check_waveform, to_float, warn_assumed_rate

# Settings of transformers that are written into every file but have one meaning here.
FIXED_SETTINGS = {"padding_side": "right", "padding_value": 0.0, "return_attention_mask": True}
# What transformers itself puts into a file or passes on.
TRANSFORMERS_KEYS = frozenset(
    {
        "_commit_hash",
        "_name_or_path",
        "auto_map",
        "feature_extractor_type",
        "name_or_path",
        "processor_class",
        "transformers_version",
    }
)


def check_extra_settings(settings: Mapping[str, Any], version: int, extractor: str) -> None:
    """Refuse settings that an extractor does not have."""
    unknown = sorted(set(settings) - {"feature_extraction_version", *FIXED_SETTINGS, *TRANSFORMERS_KEYS})
    if unknown:
        raise ValueError(f"{extractor} has no setting {', '.join(map(repr, unknown))}; check the spelling.")
    for name, value in FIXED_SETTINGS.items():
        if settings.get(name, value) != value:
            raise ValueError(f"{name}={settings[name]!r}: is {value!r} here and cannot be chosen; leave it out.")
    saved = settings.get("feature_extraction_version", version)
    if saved != version:
        warnings.warn(
            f"These settings were saved with version {saved} of the features of {extractor}, and this code computes "
            f"version {version}: a model trained on the former may score differently. Load the extractor with its own "
            "code, `AutoFeatureExtractor.from_pretrained(..., trust_remote_code=True)`.",
            stacklevel=4,
        )


def checked_waveforms(audio: Any, sampling_rate: int | None, expected_rate: int) -> list[np.ndarray]:
    """Turn one waveform or many, of any of the kinds allowed, into arrays that features can be taken of.

    >>> [waveform.shape for waveform in checked_waveforms([[0.5] * 400, np.ones(800)], 16000, 16000)]
    [(400,), (800,)]
    """
    waveforms = _to_waveforms(audio)
    if sampling_rate is None:
        warn_assumed_rate(expected_rate)
    elif sampling_rate != expected_rate:
        mend = f'extractor.load_audio({{"array": waveform, "sampling_rate": {sampling_rate}}})'
        raise ValueError(
            f"The waveforms are at {sampling_rate} Hz, but this extractor works at {expected_rate} Hz; "
            f"resample them, for example with `{mend}`."
        )
    for index, waveform in enumerate(waveforms):
        check_waveform(waveform, f"waveform {index}" if len(waveforms) > 1 else "the waveform")
    return waveforms


def device_of(audio: Any) -> torch.device | None:
    """Return the device of a waveform, or of the first of several; `None` where it is no tensor."""
    first = audio[0] if isinstance(audio, list | tuple) else audio
    return first.device if isinstance(first, torch.Tensor) else None


def to_tensor(waveform: np.ndarray | torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """Turn a waveform into a float32 tensor on a device."""
    if isinstance(waveform, np.ndarray):
        # torch takes neither arrays that are read-only nor views that run backwards
        waveform = torch.from_numpy(np.require(waveform, np.float32, ["C", "W"]))
    return waveform.to(device, torch.float32)


def padded_batch(features: torch.Tensor, lengths: list[int]) -> BatchFeature:
    """Join padded features and their mask."""
    ends = torch.tensor(lengths, device=features.device)
    mask = torch.arange(features.shape[1], device=features.device) < ends[:, None]  # (batch, frames)
    return BatchFeature({"input_features": features, "attention_mask": mask.long()})


def in_form(
    batch: BatchFeature, padding: bool | str, return_attention_mask: bool | None, return_tensors: str | None
) -> BatchFeature:
    """Bring a padded batch of tensors into the form that was asked for."""
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    with_mask = return_attention_mask is None or return_attention_mask
    kept = {name: value for name, value in batch.items() if with_mask or name != "attention_mask"}
    if return_tensors != "pt":
        kept = {name: value.cpu().numpy() for name, value in kept.items()}
    if padding in (False, "do_not_pad"):
        kept = {name: [row[:n] for row, n in zip(value, lengths, strict=True)] for name, value in kept.items()}
    return BatchFeature(kept)


def _to_waveforms(audio: Any) -> list[np.ndarray]:
    """Turn one waveform or many into arrays, float32, of any shape."""
    if isinstance(audio, np.ndarray | torch.Tensor):
        return [to_float(audio, "the waveform")]
    if not isinstance(audio, list | tuple):
        raise TypeError(
            f"Cannot take features of a {type(audio).__name__}; give a waveform (numpy array, torch tensor or list of "
            "floats) or a list of them, and read files with `extractor.load_audio(source)`."
        )
    if not audio:
        raise ValueError("Got an empty list: neither a waveform nor a list of waveforms.")
    if np.ndim(audio[0]) == 0 and not isinstance(audio[0], str | bytes | dict):
        return [to_float(audio, "the waveform")]
    for index, waveform in enumerate(audio):
        if not isinstance(waveform, np.ndarray | torch.Tensor | list | tuple):
            raise TypeError(
                f"waveform {index} is a {type(waveform).__name__}; read it first, with `extractor.load_audio(source)`."
            )
    return [to_float(waveform, f"waveform {index}") for index, waveform in enumerate(audio)]
