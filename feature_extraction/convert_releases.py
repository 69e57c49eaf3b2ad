"""DeepSpeech's releases: what each of them leaves unsaid in its files."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """The facts of a release that its checkpoints do not state.

    Source: mozilla/DeepSpeech v0.4.1, v0.5.1, v0.6.1, v0.7.4, v0.9.3; coqui-ai/STT v1.4.0.
    """

    name: str  # "0.4" and so on; "coqui" for all releases of Coqui STT
    variables: str  # which names its variables have, see `convert_weights.VARIABLES`
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


def find_release(version: str) -> Release:
    """Return the release that a version belongs to.

    >>> find_release("0.4.1").mfcc, find_release("1.4.0").name
    ('python_speech_features', 'coqui')
    """
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


__all__ = ["INPUT_SIZE", "RELEASES", "RELU_CLIP", "SAMPLING_RATE", "STEP_MS", "WINDOW_MS", "Release", "find_release"]
