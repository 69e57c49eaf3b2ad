"""What the feature extractors share: waveforms in any form, one padded batch and its mask out, settings saved."""

import difflib
import inspect
import os
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch.nn import functional
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from .audio_decoding import (
    MAX_SECONDS,
    check_waveform,
    is_pair,
    load_audio,
    load_audio_blocks,
    to_float,
    warn_assumed_rate,
)
from .encoder_files import naming, writing

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

# The threads of torch do not survive a fork: a child, of `Dataset.map(num_proc=…)` for example, would wait for them
# forever. It computes with one thread, as the workers of torch's DataLoader do.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


class WaveformExtractor(SequenceFeatureExtractor):
    """Base class of the feature extractors, which themselves only say what the frames of waveforms are.

    Args:
        sampling_rate: Of the waveforms, in Hz.
        settings: What transformers itself writes into `preprocessor_config.json`; anything else is refused.

    Raises:
        ValueError: A setting is unknown, or cannot be chosen.
    """

    model_input_names = ["input_features", "attention_mask"]  # noqa: RUF012 - transformers' own declaration
    # To be raised whenever the same settings give other features: it enters the fingerprints of cached ones.
    features_version = 1

    def __init__(self, sampling_rate: int, settings: Mapping[str, Any]) -> None:
        name, version = type(self).__name__, self.features_version
        unknown = sorted(set(settings) - {"feature_extraction_version", *FIXED_SETTINGS, *TRANSFORMERS_KEYS})
        if unknown:
            raise ValueError(f"{name} has no setting {', '.join(map(repr, unknown))}; check the spelling.")
        for key, value in FIXED_SETTINGS.items():
            if settings.get(key, value) != value:
                raise ValueError(f"{key}={settings[key]!r}: is {value!r} here and cannot be chosen; leave it out.")
        saved = settings.get("feature_extraction_version", version)
        if saved != version:
            warnings.warn(
                f"These settings were saved with version {saved} of the features of {name}, and this code computes "
                f"version {version}: a model trained on the former may score differently. Load the extractor with its "
                "own code, `AutoFeatureExtractor.from_pretrained(..., trust_remote_code=True)`.",
                stacklevel=3,
            )
        # The size of a frame follows from settings that the class itself has.
        super().__init__(feature_size=0, sampling_rate=sampling_rate, padding_value=0.0)
        self.feature_extraction_version = version
        if "auto_map" in settings:
            self.auto_map = settings["auto_map"]

    @abstractmethod
    def compute(self, waveforms: list[torch.Tensor]) -> tuple[torch.Tensor, list[int]]:
        """Compute the features of float32 waveforms of one device, (batch, frames, feature_size), 0 where padded.

        Each clip's number of frames comes beside them.
        """

    def num_frames(self, samples: int) -> int:
        """Return the number of frames of a clip of so many samples; with a front that cuts clips, the most of them."""
        return self.compute([torch.zeros(samples)])[1][0]

    def __call__(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        padding: bool | str = False,
        max_length: int | None = None,
        truncation: bool = False,
        return_attention_mask: bool | None = True,
        return_tensors: str | None = None,
        device: str | torch.device | None = None,
    ) -> BatchFeature:
        """Extract the features of one waveform or of many.

        Args:
            audio: One mono waveform (samples,), as numpy array, torch tensor or list of floats in [-1, 1], or a list
                of these. Files and sounds of several channels or other rates are for `load_audio`.
            sampling_rate: Of the waveforms, in Hz. Without it they are taken to be at the extractor's rate, with a
                warning.
            padding: False or "do_not_pad": each clip keeps its own frames, to be padded later, by `pad` or the
                collator of a Trainer; True or "longest": to the longest clip; "max_length": to the frames of a clip of
                `max_length` samples. What is padded is to be given to the model together with its mask.
            max_length: A number of samples.
            truncation: Cut clips that are longer than `max_length`, before anything is computed of them.
            return_attention_mask: Whether to return the mask; `None` is as true.
            return_tensors: "pt" for torch tensors, "np" for numpy arrays; None for numpy arrays too, and without
                padding for lists of one array per clip.
            device: Where to compute, and where the tensors of "pt" are; by default that of the first waveform.

        Returns:
            `input_features` (batch, frames, feature_size), zero after a clip's end, and `attention_mask` (batch,
            frames), int64, 1 for real frames. One waveform is a batch of one.

        Raises:
            ValueError: The rate is not the extractor's; a waveform is empty, not 1-D, or holds NaN or infinite
                samples; clips of unequal length are to be one tensor without padding; or the arguments contradict
                each other.
            TypeError: `audio` is no waveform.
        """
        _check_form(padding, max_length, truncation, return_tensors)
        waveforms = _checked_waveforms(audio, sampling_rate, self.sampling_rate)
        if truncation:
            waveforms = [waveform[:max_length] for waveform in waveforms]
        longest = max(map(len, waveforms))
        if padding == "max_length" and longest > max_length:
            raise ValueError(
                f"A clip has {longest} samples, more than max_length={max_length}; pass truncation=True to cut it."
            )
        if device is None:
            first = audio[0] if isinstance(audio, list | tuple) else audio
            device = first.device if isinstance(first, torch.Tensor) else None
        batch = self.extract(waveforms, device)
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        if padding == "max_length":
            missing = self.num_frames(max_length) - max(lengths)
            batch = {
                "input_features": functional.pad(batch["input_features"], (0, 0, 0, missing)),
                "attention_mask": functional.pad(batch["attention_mask"], (0, missing)),
            }
        if not (return_attention_mask is None or return_attention_mask):
            batch = {"input_features": batch["input_features"]}
        if return_tensors != "pt":
            batch = {name: value.cpu().numpy() for name, value in batch.items()}
        if padding in (False, "do_not_pad"):
            if return_tensors is None:
                batch = {
                    name: [row[:n] for row, n in zip(value, lengths, strict=True)] for name, value in batch.items()
                }
            elif len(set(lengths)) > 1:
                raise ValueError(
                    f"Clips of {min(lengths)} to {max(lengths)} frames make no single array; pass padding=True, and "
                    "give the model the attention_mask that comes with it."
                )
        return BatchFeature(batch)

    def _pad(self, processed_features: dict[str, np.ndarray], *args: Any, **kwargs: Any) -> dict[str, np.ndarray]:
        """Pad one clip for `pad`, which takes features of one number a frame for vectors."""
        name, single = self.model_input_names[0], self.feature_size == 1
        if single:
            processed_features[name] = processed_features[name][:, 0]  # (frames,)
        padded = super()._pad(processed_features, *args, **kwargs)
        if single:
            padded[name] = padded[name][:, None]  # (frames, 1)
        return padded

    def extract(
        self, waveforms: Sequence[np.ndarray | torch.Tensor], device: str | torch.device | None = None
    ) -> BatchFeature:
        """Compute the features of float32 waveforms that are known to be good, without the checks of `__call__`.

        `input_features` (batch, frames, feature_size) and `attention_mask` (batch, frames), int64, are on `device`, by
        default that of the first waveform.
        """
        if device is None:
            device = waveforms[0].device if isinstance(waveforms[0], torch.Tensor) else "cpu"
        features, lengths = self.compute([_to_tensor(waveform, device) for waveform in waveforms])
        ends = torch.tensor(lengths, device=features.device)
        mask = torch.arange(features.shape[1], device=features.device) < ends[:, None]  # (batch, frames)
        return BatchFeature({"input_features": features, "attention_mask": mask.long()})

    def load_audio(
        self, source: Any, *, channel: int | None = None, max_seconds: float | None = MAX_SECONDS
    ) -> np.ndarray:
        """Decode a file, URL, bytes, array or audio value at the extractor's own rate.

        Args:
            source: Whatever `feature_extraction.load_audio` takes.
            channel: Take this channel, from 0, instead of the average of all.
            max_seconds: Refuse files that hold more sound than this; None for no limit.

        Returns:
            Samples (samples,), float32, mono, at `sampling_rate`.
        """
        return load_audio(source, self.sampling_rate, channel=channel, max_seconds=max_seconds)

    def load_audio_blocks(
        self, source: Any, *, channel: int | None = None, max_seconds: float | None = MAX_SECONDS
    ) -> Iterator[np.ndarray]:
        """Decode as `load_audio` does, to the same samples, block by block: a long file is never whole in memory."""
        return load_audio_blocks(source, self.sampling_rate, channel=channel, max_seconds=max_seconds)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Load settings; those that cannot be used are a ValueError that names their place."""
        folder = Path(pretrained_model_name_or_path, kwargs.get("subfolder") or "")
        files = (folder / "preprocessor_config.json", folder / "processor_config.json")
        if folder.is_dir() and not any(file.is_file() for file in files):
            raise FileNotFoundError(
                f"{folder} holds no preprocessor_config.json, which says how sound is to be read; fetch it anew."
            )
        with naming(pretrained_model_name_or_path, "its preprocessor_config.json cannot be used"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict[str, Any], **kwargs: Any) -> Self:
        """Make an extractor of what a `preprocessor_config.json` holds; keywords change settings or add them."""
        if not isinstance(feature_extractor_dict, dict):
            raise ValueError(f"a JSON object is needed, not {type(feature_extractor_dict).__name__}")
        kind = feature_extractor_dict.get("feature_extractor_type", cls.__name__)
        if kind != cls.__name__:
            raise ValueError(
                f"These are the settings of a {kind}, not of a {cls.__name__}; load them with their own class."
            )
        own = [name for name in inspect.signature(cls).parameters if name != "kwargs"]
        changed = {name: kwargs.pop(name) for name in own if name in kwargs}
        for name in kwargs:  # what else there is belongs to transformers, which passes on much of its own
            meant = difflib.get_close_matches(name, own, n=1, cutoff=0.85)
            if meant and not kwargs.get("return_unused_kwargs"):
                raise ValueError(f"{cls.__name__} has no setting {name!r}; {meant[0]!r} is meant, perhaps.")
        return super().from_dict(feature_extractor_dict | changed, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> list[str]:
        """Save settings and code as transformers does."""
        with writing(save_directory):
            return super().save_pretrained(save_directory, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Settings as they are written into `preprocessor_config.json`."""
        # The size follows from the others: without it `from_pretrained(..., num_mel_bins=64)` can change it.
        settings = super().to_dict()
        del settings["feature_size"]
        return settings

    def __getstate__(self) -> dict[str, Any]:
        # Where the code was saved does not change the features: an extractor hashes the same before and after.
        return {name: value for name, value in self.__dict__.items() if name != "auto_map"}


def _checked_waveforms(audio: Any, sampling_rate: int | None, expected_rate: int) -> list[np.ndarray]:
    """Turn one waveform or many, of any of the kinds allowed, into float32 arrays that features can be taken of."""
    single = isinstance(audio, np.ndarray | torch.Tensor)
    if not single and not isinstance(audio, list | tuple):
        raise TypeError(
            f"Cannot take features of a {type(audio).__name__}; give a waveform (numpy array, torch tensor or list of "
            "floats) or a list of them, and read files with `extractor.load_audio(source)`."
        )
    if isinstance(audio, list | tuple) and is_pair(audio):
        raise TypeError(
            "Got a pair of samples and their rate; give them as extractor(samples, sampling_rate=rate), or "
            "`extractor.load_audio(pair)`, which resamples them, too."
        )
    if not single and not audio:
        raise ValueError("Got an empty list: neither a waveform nor a list of waveforms.")
    if single or (np.ndim(audio[0]) == 0 and not isinstance(audio[0], str | bytes | dict)):
        audio = [audio]
    for index, waveform in enumerate(audio):
        if not isinstance(waveform, np.ndarray | torch.Tensor | list | tuple):
            raise TypeError(
                f"waveform {index} is a {type(waveform).__name__}; read it first, with `extractor.load_audio(source)`."
            )
    if sampling_rate is None:
        warn_assumed_rate(expected_rate)
    elif sampling_rate != expected_rate:
        mend = f'extractor.load_audio({{"array": waveform, "sampling_rate": {sampling_rate}}})'
        raise ValueError(
            f"The waveforms are at {sampling_rate} Hz, but this extractor works at {expected_rate} Hz; "
            f"resample them, for example with `{mend}`."
        )
    names = [f"waveform {index}" for index in range(len(audio))] if len(audio) > 1 else ["the waveform"]
    waveforms = [to_float(waveform, name) for waveform, name in zip(audio, names, strict=True)]
    for waveform, name in zip(waveforms, names, strict=True):
        check_waveform(waveform, name)
    return waveforms


def _to_tensor(waveform: np.ndarray | torch.Tensor, device: str | torch.device) -> torch.Tensor:
    if isinstance(waveform, np.ndarray):
        # torch takes neither arrays that are read-only nor views that run backwards
        waveform = torch.from_numpy(np.require(waveform, np.float32, ["C", "W"]))
    return waveform.to(device, torch.float32)


def _check_form(padding: bool | str, max_length: int | None, truncation: bool, return_tensors: str | None) -> None:
    """Check how a batch is to be formed."""
    if padding not in (True, False, "longest", "max_length", "do_not_pad"):
        raise ValueError(f'padding={padding!r}: choose True or "longest", "max_length", False or "do_not_pad".')
    if return_tensors not in (None, "np", "pt"):
        raise ValueError(f'return_tensors={return_tensors!r}: choose "pt", "np" or None.')
    if max_length is None and (truncation or padding == "max_length"):
        raise ValueError('truncation=True and padding="max_length" need max_length, a number of samples.')
    if max_length is None:
        return
    if not isinstance(max_length, Integral) or isinstance(max_length, bool) or max_length < 1:
        raise ValueError(f"max_length={max_length!r}: must be a number of samples, 1 or more.")
    if not truncation and padding != "max_length":
        raise ValueError('max_length alone does nothing; pass truncation=True, or padding="max_length".')
