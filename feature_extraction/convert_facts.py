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
    """Everything that was read from a file; None where the file does not say.

    Args:
        weights: As of `convert_weights.check_weights`.
        releases: Names of the releases that the file may come from.
        forget_bias: What the LSTM adds to the bias of the forget gate while running.
        relu_clip: Upper limit of the clipped ReLU.
        input_size: Coefficients of a frame.
        context_size: Neighbors on either side.
        front_end: Settings of `DeepSpeechFeatureExtractor`.
        alphabet: The labels in order.
    """

    weights: dict[str, np.ndarray]
    releases: tuple[str, ...] = tuple(RELEASES)
    forget_bias: float | None = None
    relu_clip: float | None = None
    input_size: int | None = None
    context_size: int | None = None
    front_end: dict[str, Any] | None = None
    alphabet: list[str] | None = field(default=None)


def read_input_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Read the shape of a graph's input.

    Args:
        shape: (1, steps, 2 * context_size + 1, input_size).

    Returns:
        input_size and context_size.

    Raises:
        ModelFileError: It is another one, such as that of releases before 0.4.
    """
    if len(shape) == 3:
        raise ModelFileError(
            "the graph's input has three dimensions, as in releases before 0.4; these have other features, which are "
            "not implemented"
        )
    if len(shape) != 4 or shape[2] < 1 or shape[2] % 2 == 0 or shape[3] < 1:
        raise ModelFileError(f"the graph's input has the shape {list(shape)}, which no release of DeepSpeech has")
    return int(shape[3]), int(shape[2]) // 2


def only_value(values: Sequence[float], what: str) -> float:
    """Return what several places of a graph agree on.

    Args:
        values: What each of them says.
        what: What messages call it.

    Returns:
        The value.

    Raises:
        ModelFileError: There is none, or they disagree, or it is not finite.
    """
    distinct = sorted(set(values))
    if len(distinct) != 1 or not abs(distinct[0]) < float("inf"):
        raise ModelFileError(f"the graph's {what} should be one number, but is {distinct or 'not there'}")
    return distinct[0]


def whole(value: float, least: int, most: int, what: str) -> int:
    """Return a number that must be whole and within limits.

    Raises:
        ModelFileError: It is not.
    """
    if not least <= value <= most or value != int(value):
        raise ModelFileError(f"{what} is {value:g}, which no release of DeepSpeech has; the file is damaged")
    return int(value)


def tensorflow_front_end(
    sampling_rate: float, window: float, step: float, squared: float, mfcc: dict[str, float]
) -> dict[str, Any]:
    """Turn the options of the two feature kernels into settings of the extractor.

    Args:
        sampling_rate: In Hz.
        window: `window_size` of AudioSpectrogram, in samples.
        step: Its `stride`.
        squared: Its `magnitude_squared`.
        mfcc: Options of Mfcc, by their names.

    Returns:
        Settings of `DeepSpeechFeatureExtractor`.

    Raises:
        ModelFileError: One of them is impossible.
    """
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
