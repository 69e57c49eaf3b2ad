"""Features of a whole clip by openSMILE: one vector of functionals, as the feature cache takes it."""

import importlib.metadata
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch

from feature_extraction.audio_decoding import load_audio

# To be raised whenever the same settings and version of openSMILE give other features.
FUNCTIONALS_VERSION = 1
SAMPLING_RATE = 16_000
FUNCTIONALS = {"ComParE_2016": 6373, "eGeMAPSv02": 88}
# The longest frame of both sets is 60 ms, that of the pitch: of less, openSMILE gives NaN.
FEWEST_SAMPLES = 960

FeatureSet = Literal["ComParE_2016", "eGeMAPSv02"]


class FunctionalsExtractor:
    """Extractor of openSMILE functionals: statistics of frame features over the whole clip.

    Source: Eyben et al., "Recent developments in openSMILE", ACM Multimedia 2013; Schuller et al., "The INTERSPEECH
        2016 Computational Paralinguistics Challenge"; Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set",
        IEEE Transactions on Affective Computing 7, 2016.

    >>> FunctionalsExtractor("eGeMAPSv02").feature_size
    88
    """

    sampling_rate = SAMPLING_RATE
    # One vector, however long the clip: the cache, which plans its memory by frames, finds one in every clip.
    hop_length = 24 * 3600 * SAMPLING_RATE
    feature_extraction_version = FUNCTIONALS_VERSION

    def __init__(self, feature_set: FeatureSet = "ComParE_2016") -> None:
        if feature_set not in FUNCTIONALS:
            raise ValueError(f"There is no feature set {feature_set!r}; choose from {', '.join(FUNCTIONALS)}.")
        self.feature_set = feature_set
        self.feature_size = FUNCTIONALS[feature_set]

    def load_audio(self, source: Any) -> np.ndarray:
        """Decode a clip."""
        samples = load_audio(source, self.sampling_rate)
        if len(samples) < FEWEST_SAMPLES:
            raise ValueError(
                f"has {len(samples)} samples at 16 kHz, and openSMILE's functionals need {FEWEST_SAMPLES}, one frame "
                "of 60 ms; leave the clip out."
            )
        return samples

    def extract(self, waveforms: Sequence[np.ndarray], device: str | None = None) -> dict[str, torch.Tensor]:
        """Compute the functionals of clips, one after another."""
        rows = [self._smile(waveform, self.sampling_rate).reshape(1, -1) for waveform in waveforms]
        features = torch.from_numpy(np.stack(rows).astype(np.float32)).to(device or "cpu")  # (clips, 1, feature_size)
        return {"input_features": features, "attention_mask": torch.ones(features.shape[:2], dtype=torch.int64)}

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that the features depend on, the version of openSMILE among them."""
        return {
            "feature_extractor_type": type(self).__name__,
            "feature_set": self.feature_set,
            "feature_level": "functionals",
            "sampling_rate": self.sampling_rate,
            "opensmile": opensmile_version(),
        }

    @cached_property
    def _smile(self) -> Any:
        opensmile_version()  # explains itself where the package is missing
        import opensmile

        return opensmile.Smile(opensmile.FeatureSet[self.feature_set], opensmile.FeatureLevel.Functionals)


def opensmile_version() -> str:
    """Return the version of the installed openSMILE."""
    try:
        return importlib.metadata.version("opensmile")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(
            "openSMILE's functionals need the package opensmile, whose license allows research and private use only: "
            "pip install 'modeling-ser[bench]'.",
            name="opensmile",
        ) from error


__all__ = ["FUNCTIONALS", "FunctionalsExtractor", "opensmile_version"]
