"""DeepSpeech's feature extractor: waveforms in, one padded sequence of coefficients and its mask out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from .audio_decoding import load_audio
from .frontend_deepspeech import FrontEnd, SpeechFeaturesMFCC, TensorFlowMFCC
from .waveform_inputs import check_extra_settings, checked_waveforms, device_of, in_form, padded_batch, to_tensor

# To be raised whenever the same settings give other features: it enters the fingerprints of cached ones.
FEATURE_EXTRACTION_VERSION = 1
MFCCS = ("python_speech_features", "tensorflow")


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
        check_extra_settings(kwargs, FEATURE_EXTRACTION_VERSION, "DeepSpeechFeatureExtractor")
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
        return_attention_mask: bool | None = True,
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
        waveforms = checked_waveforms(audio, sampling_rate, self.sampling_rate)
        batch = self.extract(waveforms, device_of(audio) if device is None else device)
        return in_form(batch, padding, return_attention_mask, return_tensors)

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
        return padded_batch(features, lengths)

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
        tensor = to_tensor(waveform, device)
        # Where frames are cut as in TensorFlow, a shorter clip would have none.
        return torch.nn.functional.pad(tensor, (0, max(0, self.fewest_samples - len(tensor))))


# Registered where the class is defined, so that it is saved with its code however it was imported.
DeepSpeechFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")
