"""DeepSpeech's feature extractor: waveforms in, one padded sequence of coefficients and its mask out."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from .audio_decoding import check_waveform, load_audio, to_float, warn_assumed_rate
from .frontend_deepspeech import FrontEnd, SpeechFeaturesMFCC, TensorFlowMFCC

# To be raised whenever the same settings give other features: it enters the fingerprints of cached ones.
FEATURE_EXTRACTION_VERSION = 1
MFCCS = ("python_speech_features", "tensorflow")

# Settings of transformers that are written into every file but have one meaning here.
_FIXED_SETTINGS = {"padding_side": "right", "padding_value": 0.0, "return_attention_mask": True}
# What transformers itself puts into a file or passes on.
_TRANSFORMERS_KEYS = {
    "_commit_hash",
    "_name_or_path",
    "auto_map",
    "feature_extractor_type",
    "name_or_path",
    "processor_class",
    "transformers_version",
}


class DeepSpeechFeatureExtractor(SequenceFeatureExtractor):
    """Feature extractor of DeepSpeech models: 26 cepstral coefficients, 50 times a second.

    A clip shorter than one frame is padded with zeros to one, which the original's training code does in release 0.4
    only (and drops the clip since).

    Args:
        mfcc: "python_speech_features" (release 0.4) or "tensorflow" (releases 0.5 to 0.9, Coqui STT).
        sampling_rate: Of the waveforms, in Hz.
        win_length: Length of a frame, in samples.
        hop_length: Step between frames, in samples.
        num_coefficients: Coefficients of a frame.
        framing: "training" cuts frames as the training code does, "native" as the C++ client does, which adds one.
        floor: What energies of exactly zero count as, for "python_speech_features" only: "training" or "native".
        lower_frequency: Lower end of the mel channels, in Hz, for "tensorflow" only.
        upper_frequency: Their upper end, in Hz, for "tensorflow" only: 4000 in releases 0.5 and 0.6, half the sampling
            rate (`None`) since.
        num_mel_bins: Number of mel channels, for "tensorflow" only.
        **kwargs: What transformers itself writes into `preprocessor_config.json`; anything else is refused.

    Raises:
        ValueError: A setting is unknown, of the wrong kind or out of range.

    Source: mozilla/DeepSpeech v0.4.1, `util/audio.py`; v0.9.3, `training/deepspeech_training/util/feeding.py`.

    Example:
        >>> import numpy as np
        >>> extractor = DeepSpeechFeatureExtractor()
        >>> waveforms = [0.1 * np.random.randn(16000), 0.1 * np.random.randn(8000)]
        >>> features = extractor(waveforms, sampling_rate=16000, return_tensors="pt")
        >>> features["input_features"].shape, features["attention_mask"].sum(dim=1)
        (torch.Size([2, 50, 26]), tensor([50, 25]))
    """

    model_input_names = ["input_features", "attention_mask"]  # noqa: RUF012 - transformers' own declaration

    def __init__(
        self,
        mfcc: str = "python_speech_features",
        sampling_rate: int = 16_000,
        win_length: int = 512,
        hop_length: int = 320,
        num_coefficients: int = 26,
        framing: str = "training",
        floor: str = "training",
        lower_frequency: float = 20.0,
        upper_frequency: float | None = None,
        num_mel_bins: int = 40,
        **kwargs: Any,
    ) -> None:
        if mfcc not in MFCCS:
            raise ValueError(f"mfcc={mfcc!r}: choose one of {', '.join(map(repr, MFCCS))}.")
        _check_extra_settings(kwargs, num_coefficients)
        self.mfcc = mfcc
        self.sampling_rate = sampling_rate
        self.win_length = win_length
        self.hop_length = hop_length
        self.num_coefficients = num_coefficients
        self.framing = framing
        self.floor = floor
        self.lower_frequency = lower_frequency
        self.upper_frequency = upper_frequency
        self.num_mel_bins = num_mel_bins
        # Its construction checks the settings.
        front_end = self.front_end
        super().__init__(feature_size=front_end.num_coefficients, sampling_rate=sampling_rate, padding_value=0.0)
        self.feature_extraction_version = FEATURE_EXTRACTION_VERSION
        if "auto_map" in kwargs:
            self.auto_map = kwargs["auto_map"]

    @property
    def fewest_samples(self) -> int:
        """Length to which shorter clips are padded: one frame, where the front end does not give them one itself."""
        return self.win_length if self.front_end.num_frames(1) == 0 else 1

    @property
    def front_end(self) -> FrontEnd:
        """The front end that the settings describe."""
        shared = {
            name: getattr(self, name)
            for name in ("sampling_rate", "win_length", "hop_length", "num_coefficients", "framing")
        }
        if self.mfcc == "python_speech_features":
            return SpeechFeaturesMFCC(**shared, floor=self.floor)
        return TensorFlowMFCC(
            **shared,
            lower_frequency=self.lower_frequency,
            upper_frequency=self.upper_frequency,
            num_mel_bins=self.num_mel_bins,
        )

    def __call__(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        padding: bool | str = True,
        return_attention_mask: bool = True,
        return_tensors: str | None = None,
        device: str | torch.device | None = None,
    ) -> BatchFeature:
        """Extract the coefficients of one waveform or of many.

        Args:
            audio: One mono waveform (samples,), as numpy array, torch tensor or list of floats in [-1, 1], or a list
                of these. Files and sounds of several channels or other rates are for `load_audio`.
            sampling_rate: Of the waveforms, in Hz. Without it they are taken to be at the extractor's rate, with a
                warning.
            padding: True or "longest": to the longest clip; False or "do_not_pad": none, the result then holds lists
                with one array per clip.
            return_attention_mask: Whether to return the mask.
            return_tensors: "pt" for torch tensors; None or "np" for numpy arrays.
            device: Where to compute, and where the tensors of "pt" are; by default that of the first waveform.

        Returns:
            `input_features` (batch, frames, num_coefficients), zero after a clip's end, and `attention_mask` (batch,
            frames), int64, 1 for real frames. One waveform is a batch of one.

        Raises:
            ValueError: The rate is not the extractor's; a waveform is empty, not 1-D, or holds NaN or infinite
                samples; or an argument is unknown.
            TypeError: `audio` is no waveform.

        Example:
            >>> extractor = DeepSpeechFeatureExtractor(mfcc="tensorflow")
            >>> extractor([0.5] * 4000, sampling_rate=16000)["input_features"].shape
            (1, 11, 26)
        """
        if padding not in (True, False, "longest", "do_not_pad"):
            raise ValueError(f'padding={padding!r}: choose True or "longest", False or "do_not_pad".')
        if return_tensors not in (None, "np", "pt"):
            raise ValueError(f'return_tensors={return_tensors!r}: choose "pt", "np" or None.')
        waveforms = _to_waveforms(audio)
        if sampling_rate is None:
            warn_assumed_rate(self.sampling_rate)
        elif sampling_rate != self.sampling_rate:
            mend = f'extractor.load_audio({{"array": waveform, "sampling_rate": {sampling_rate}}})'
            raise ValueError(
                f"The waveforms are at {sampling_rate} Hz, but this extractor works at {self.sampling_rate} Hz; "
                f"resample them, for example with `{mend}`."
            )
        for index, waveform in enumerate(waveforms):
            check_waveform(waveform, f"waveform {index}" if len(waveforms) > 1 else "the waveform")
        if device is None:
            first = audio[0] if isinstance(audio, list | tuple) else audio
            device = first.device if isinstance(first, torch.Tensor) else None

        batch = self.extract(waveforms, device)
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        if not return_attention_mask:
            del batch["attention_mask"]
        if return_tensors != "pt":
            batch = BatchFeature({name: value.cpu().numpy() for name, value in batch.items()})
        if padding in (False, "do_not_pad"):
            batch = BatchFeature(
                {name: [row[:n] for row, n in zip(value, lengths, strict=True)] for name, value in batch.items()}
            )
        return batch

    def extract(
        self, waveforms: Sequence[np.ndarray | torch.Tensor], device: str | torch.device | None = None
    ) -> BatchFeature:
        """Compute the coefficients of waveforms that are known to be good: the core of `__call__`, without its checks.

        Args:
            waveforms: Waveforms (samples,), float32, as `load_audio` returns them.
            device: Where to compute; by default where the first waveform is.

        Returns:
            Tensors `input_features` (batch, frames, num_coefficients), float32, and `attention_mask` (batch, frames),
            int64, on `device`.

        Example:
            >>> import numpy as np
            >>> DeepSpeechFeatureExtractor().extract([np.ones(800, np.float32)])["attention_mask"]
            tensor([[1, 1]])
        """
        if device is None:
            device = waveforms[0].device if isinstance(waveforms[0], torch.Tensor) else "cpu"
        features, lengths = self.front_end([self._to_tensor(waveform, device) for waveform in waveforms])
        ends = torch.tensor(lengths, device=features.device)
        mask = torch.arange(features.shape[1], device=features.device) < ends[:, None]  # (batch, frames)
        return BatchFeature({"input_features": features, "attention_mask": mask.long()})

    def load_audio(self, source: Any) -> np.ndarray:
        """Decode a file, URL, bytes, array or audio value at the extractor's own rate.

        Args:
            source: Whatever `audio_decoding.load_audio` takes.

        Returns:
            Samples (samples,), float32, mono, at `sampling_rate`.

        Example:
            >>> DeepSpeechFeatureExtractor().load_audio({"array": [0.1] * 800, "sampling_rate": 8000}).shape
            (1600,)
        """
        return load_audio(source, self.sampling_rate)

    def to_dict(self) -> dict[str, Any]:
        """Settings as they are written into `preprocessor_config.json`.

        Returns:
            The constructor's arguments, the version of the features, and what transformers adds.
        """
        settings = super().to_dict()
        del settings["feature_size"]  # it is num_coefficients
        return settings

    def __getstate__(self) -> dict[str, Any]:
        # Where the code was saved does not change the features: an extractor hashes the same before and after.
        return {name: value for name, value in self.__dict__.items() if name != "auto_map"}

    def _to_tensor(self, waveform: np.ndarray | torch.Tensor, device: str | torch.device) -> torch.Tensor:
        if isinstance(waveform, np.ndarray):
            # torch takes neither arrays that are read-only nor views that run backwards
            waveform = torch.from_numpy(np.require(waveform, np.float32, ["C", "W"]))
        waveform = waveform.to(device, torch.float32)
        # Where frames are cut as in TensorFlow, a shorter clip would have none.
        return torch.nn.functional.pad(waveform, (0, max(0, self.fewest_samples - len(waveform))))


def _check_extra_settings(settings: dict[str, Any], feature_size: int) -> None:
    fixed = {**_FIXED_SETTINGS, "feature_size": feature_size}
    unknown = sorted(set(settings) - {"feature_extraction_version", *fixed, *_TRANSFORMERS_KEYS})
    if unknown:
        raise ValueError(
            f"DeepSpeechFeatureExtractor has no setting {', '.join(map(repr, unknown))}; check the spelling."
        )
    for name, value in fixed.items():
        if settings.get(name, value) != value:
            raise ValueError(f"{name}={settings[name]!r}: is {value!r} here and cannot be chosen; leave it out.")
    version = settings.get("feature_extraction_version", FEATURE_EXTRACTION_VERSION)
    if version != FEATURE_EXTRACTION_VERSION:
        warnings.warn(
            f"These settings were saved with version {version} of DeepSpeech's features, and this code computes "
            f"version {FEATURE_EXTRACTION_VERSION}: a model may score differently. Load the extractor with its own "
            "code, `AutoFeatureExtractor.from_pretrained(..., trust_remote_code=True)`.",
            stacklevel=3,
        )


def _to_waveforms(audio: Any) -> list[np.ndarray]:
    """Turn one waveform or many, of any of the kinds allowed, into arrays (samples,), float32."""
    if isinstance(audio, np.ndarray | torch.Tensor):
        return [to_float(audio, "the waveform")]
    if not isinstance(audio, list | tuple):
        raise TypeError(
            f"Cannot take features of a {type(audio).__name__}; give a waveform (numpy array, torch tensor or list of "
            "floats) or a list of them, and read files with `extractor.load_audio(source)`."
        )
    if not audio:
        raise ValueError("Got an empty list: neither a waveform nor a list of waveforms.")
    if isinstance(audio[0], int | float | np.number):
        return [to_float(audio, "the waveform")]
    for index, waveform in enumerate(audio):
        if not isinstance(waveform, np.ndarray | torch.Tensor | list | tuple):
            raise TypeError(
                f"waveform {index} is a {type(waveform).__name__}; read it first, with `extractor.load_audio(source)`."
            )
    return [to_float(waveform, f"waveform {index}") for index, waveform in enumerate(audio)]


# Registered where the class is defined, so that it is saved with its code however it was imported.
DeepSpeechFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

__all__ = ["DeepSpeechFeatureExtractor"]
