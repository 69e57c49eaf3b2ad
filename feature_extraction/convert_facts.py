"""What a model file states, whatever its container."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .convert_releases import RELEASES
from .tensorflow_file import ModelFileError

MOST_WINDOW_SAMPLES = 1 << 16
MOST_RATE = 1 << 20


@dataclass
class ModelFacts:
    """Everything that was read from a file; None where the file does not say."""

    weights: dict[str, np.ndarray]  # as of `convert_weights.check_weights`
    releases: tuple[str, ...] = tuple(RELEASES)  # names of the releases that the file may come from
    forget_bias: float | None = None  # what the LSTM adds to the bias of the forget gate while running
    relu_clip: float | None = None  # upper limit of the clipped ReLU
    input_size: int | None = None  # coefficients of a frame
    context_size: int | None = None  # neighbors on either side
    front_end: dict[str, Any] | None = None  # settings of `DeepSpeechFeatureExtractor`
    alphabet: list[str] | None = field(default=None)  # the labels in order


def read_input_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Read the shape of a graph's input."""
    if len(shape) == 3:
        raise ModelFileError(
            "the graph's input has three dimensions, as in releases before 0.4; these have other features, which are "
            "not implemented"
        )
    if len(shape) != 4 or shape[2] < 1 or shape[2] % 2 == 0 or shape[3] < 1:
        raise ModelFileError(f"the graph's input has the shape {list(shape)}, which no release of DeepSpeech has")
    return int(shape[3]), int(shape[2]) // 2


def only_value(values: Sequence[float], what: str) -> float:
    """Return what several places of a graph agree on."""
    distinct = sorted(set(values))
    if len(distinct) != 1 or not abs(distinct[0]) < float("inf"):
        raise ModelFileError(f"the graph's {what} should be one number, but is {distinct or 'not there'}")
    return distinct[0]


def whole(value: float, least: int, most: int, what: str) -> int:
    """Return a number that must be whole and within limits."""
    if not least <= value <= most or value != int(value):
        raise ModelFileError(f"{what} is {value:g}, which no release of DeepSpeech has; the file is damaged")
    return int(value)


def tensorflow_front_end(
    sampling_rate: float, window: float, step: float, squared: float, mfcc: dict[str, float]
) -> dict[str, Any]:
    """Turn the options of the two feature kernels into settings of the extractor."""
    if not squared:
        raise ModelFileError("the graph's spectrogram is not squared, as in all releases of DeepSpeech it is")
    rate = whole(sampling_rate, 1, MOST_RATE, "the sampling rate")
    win_length = whole(window, 1, MOST_WINDOW_SAMPLES, "the window of the features")
    lower, upper = mfcc["lower_frequency_limit"], mfcc["upper_frequency_limit"]
    if not 0 <= lower < upper <= rate / 2:
        raise ModelFileError(f"the features lie between {lower:g} and {upper:g} Hz, which cannot be at {rate} Hz")
    channels = whole(mfcc["filterbank_channel_count"], 1, 1024, "the number of mel channels")
    return {
        "mfcc": "tensorflow",
        "sampling_rate": rate,
        "win_length": win_length,
        "hop_length": whole(step, 1, win_length, "the step of the features"),
        "num_coefficients": whole(mfcc["dct_coefficient_count"], 1, channels, "the number of coefficients"),
        "lower_frequency": float(lower),
        "upper_frequency": float(upper),
        "num_mel_bins": channels,
    }


__all__ = ["ModelFacts", "only_value", "read_input_shape", "tensorflow_front_end", "whole"]
