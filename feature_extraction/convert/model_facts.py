"""What a model file states, whatever its container, and what DeepSpeech's releases leave unsaid in theirs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .file_bytes import ModelFileError
from .weights import check_weights

MOST_WINDOW_SAMPLES = 1 << 16
MOST_RATE = 1 << 20


@dataclass(frozen=True)
class Release:
    """The facts of a release that its checkpoints do not state.

    Source: mozilla/DeepSpeech v0.4.1, v0.5.1, v0.6.1, v0.7.4, v0.9.3; coqui-ai/STT v1.4.0.
    """

    name: str  # "0.4" and so on; "coqui" for all releases of Coqui STT
    variables: str  # which names its variables have, see `weights.VARIABLES`
    mfcc: str  # its front end, as of `DeepSpeechFeatureExtractor`
    upper_frequency: float | None  # upper end of the mel channels in Hz; None for half the sampling rate
    forget_bias: float  # what its LSTM adds to the bias of the forget gate while running


RELEASES = {
    release.name: release
    for release in (
        Release("0.4", "h1", "python_speech_features", None, 1.0),
        Release("0.5", "layer_1", "tensorflow", 4000.0, 1.0),
        Release("0.6", "cudnn_lstm", "tensorflow", 4000.0, 0.0),
        Release("0.7", "cudnn_lstm", "tensorflow", None, 0.0),
        Release("0.8", "cudnn_lstm", "tensorflow", None, 0.0),
        Release("0.9", "cudnn_lstm", "tensorflow", None, 0.0),
        Release("coqui", "cudnn_lstm", "tensorflow", None, 0.0),
    )
}
# The same in all of them, unless a file says otherwise.
SAMPLING_RATE = 16_000
WINDOW_MS, STEP_MS = 32, 20
INPUT_SIZE = 26
RELU_CLIP = 20.0


def releases_with(fact: str, value: str) -> tuple[str, ...]:
    """Return the names of the releases of which something is so.

    >>> releases_with("variables", "layer_1")
    ('0.5',)
    """
    return tuple(name for name, release in RELEASES.items() if getattr(release, fact) == value)


def find_release(version: str) -> Release:
    """Return the release that a version belongs to."""
    known = "0.4 to 0.9 of DeepSpeech, or 'coqui' for Coqui STT"
    if version.lower() == "coqui":
        return RELEASES["coqui"]
    match = re.fullmatch(r"v?(\d+)\.(\d+)(\.\d+)?([-.]?(alpha|beta|rc)[-.]?\d*)?", version)
    if match is None:
        raise ValueError(f"version={version!r}: not a version; give one like '0.4.1', of {known}.")
    major, minor = int(match[1]), int(match[2])
    if (major, minor) < (0, 4):
        raise ValueError(
            f"version={version!r}: releases before 0.4 have other features (windows of 25 ms), which are not "
            f"implemented; give a version of {known}."
        )
    if major == 0 and minor <= 9:
        return RELEASES[f"0.{minor}"]
    if (major, minor) <= (1, 4):
        return RELEASES["coqui"]
    raise ValueError(f"version={version!r}: there is no such release; give a version of {known}.")


@dataclass
class ModelFacts:
    """Everything that was read from a file; None where the file does not say."""

    weights: dict[str, np.ndarray]  # by the keys of `weights.VARIABLES`; checked
    releases: tuple[str, ...] = tuple(RELEASES)  # names of the releases that the file may come from
    forget_bias: float | None = None  # what the LSTM adds to the bias of the forget gate while running
    relu_clip: float | None = None  # upper limit of the clipped ReLU
    input_size: int | None = None  # coefficients of a frame
    context_size: int | None = None  # neighbors on either side
    front_end: dict[str, Any] | None = None  # settings of `DeepSpeechFeatureExtractor`
    alphabet: list[str] | None = None  # the labels in order

    def __post_init__(self) -> None:
        self.window_size, self.hidden_size, self.outputs = check_weights(self.weights)


def input_sizes(shape: Sequence[int]) -> tuple[int, int]:
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


def relu_limit(values: Sequence[float | None]) -> float:
    """Return the limit of a graph's clipped ReLUs, of whatever else they read."""
    limit = only_value([value for value in values if value is not None], "limit of the clipped ReLU")
    if limit <= 0:
        raise ModelFileError(f"the ReLU is clipped at {limit:g}, which leaves nothing; the file is damaged")
    return limit


def whole(value: float, least: int, most: int, what: str) -> int:
    """Return a number that must be whole and within limits."""
    if not least <= value <= most or value != int(value):
        raise ModelFileError(f"{what} is {value:g}, which no release of DeepSpeech has; the file is damaged")
    return int(value)


def front_end_of(
    sampling_rate: float, spectrogram: Callable[[str], float], mfcc: Callable[[str], float]
) -> dict[str, Any]:
    """Turn the options of the two feature kernels, looked up by name, into settings of the extractor."""
    if not spectrogram("magnitude_squared"):
        raise ModelFileError("the graph's spectrogram is not squared, as in all releases of DeepSpeech it is")
    rate = whole(sampling_rate, 1, MOST_RATE, "the sampling rate")
    win_length = whole(spectrogram("window_size"), 1, MOST_WINDOW_SAMPLES, "the window of the features")
    lower, upper = mfcc("lower_frequency_limit"), mfcc("upper_frequency_limit")
    if not 0 <= lower < upper <= rate / 2:
        raise ModelFileError(f"the features lie between {lower:g} and {upper:g} Hz, which cannot be at {rate} Hz")
    channels = whole(mfcc("filterbank_channel_count"), 1, 1024, "the number of mel channels")
    return {
        "mfcc": "tensorflow",
        "sampling_rate": rate,
        "win_length": win_length,
        "hop_length": whole(spectrogram("stride"), 1, win_length, "the step of the features"),
        "num_coefficients": whole(mfcc("dct_coefficient_count"), 1, channels, "the number of coefficients"),
        "lower_frequency": float(lower),
        "upper_frequency": float(upper),
        "num_mel_bins": channels,
    }
