"""DeepSpeech's feature extractor: waveforms in, one padded sequence of coefficients and its mask out."""

from dataclasses import fields
from typing import Any

import torch

from .frontend_deepspeech import FrontEnd, SpeechFeaturesMFCC, TensorFlowMFCC
from .waveform_extractor import WaveformExtractor

MFCCS: dict[str, type[FrontEnd]] = {"python_speech_features": SpeechFeaturesMFCC, "tensorflow": TensorFlowMFCC}


class DeepSpeechFeatureExtractor(WaveformExtractor):
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
        >>> features = extractor(waveforms, sampling_rate=16000, padding=True, return_tensors="pt")
        >>> features["input_features"].shape, features["attention_mask"].sum(dim=1)
        (torch.Size([2, 50, 26]), tensor([50, 25]))
    """

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
        super().__init__(sampling_rate, kwargs)
        self.mfcc = mfcc
        self.win_length = win_length
        self.hop_length = hop_length
        self.num_coefficients = num_coefficients
        self.framing = framing
        self.floor = floor
        self.lower_frequency = lower_frequency
        self.upper_frequency = upper_frequency
        self.num_mel_bins = num_mel_bins
        self.feature_size = self.front_end.num_coefficients  # whose construction checks the settings

    @property
    def fewest_samples(self) -> int:
        """Length to which shorter clips are padded: one frame, where the front end does not give them one itself."""
        return self.win_length if self.front_end.num_frames(1) == 0 else 1

    @property
    def front_end(self) -> FrontEnd:
        """The front end that the settings describe."""
        kind = MFCCS[self.mfcc]
        return kind(**{setting.name: getattr(self, setting.name) for setting in fields(kind)})

    def compute(self, waveforms: list[torch.Tensor]) -> tuple[torch.Tensor, list[int]]:
        """Compute the coefficients of waveforms, (batch, frames, num_coefficients), and each clip's frames."""
        # Where frames are cut as in TensorFlow, a shorter clip would have none.
        fewest = self.fewest_samples
        return self.front_end([torch.nn.functional.pad(clip, (0, max(0, fewest - len(clip)))) for clip in waveforms])


# Registered where the class is defined, so that it is saved with its code however it was imported.
DeepSpeechFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")
