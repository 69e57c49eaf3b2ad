"""All layers of a DeepSpeech in one pass, each clip brought to one number of frames or to statistics over time."""

from collections.abc import Sequence

import numpy as np
import torch

from feature_extraction.speech_encoders import DeepSpeechEncoder, load_encoder
from speech_emotion.training.arguments import ModelArguments
from speech_emotion.training.building import make_extractor

# The coefficients that enter the network stand before its six layers, for comparison.
LAYERS = ("MFCC", "1", "2", "3", "4", "5", "6")
FRAMES = 50


def load_deepspeech(encoder: str | None = None, revision: str | None = None) -> DeepSpeechEncoder:
    """Load the DeepSpeech that a training with the same words would use."""
    arguments = ModelArguments(streams=["deepspeech"], encoder=encoder, encoder_revision=revision)
    entry = make_extractor(arguments).encoders["deepspeech"]
    loaded = load_encoder(entry["name_or_path"], revision=entry.get("revision"))
    if not isinstance(loaded, DeepSpeechEncoder):
        raise ValueError(
            f"{entry['name_or_path']} is a {loaded.model.config.model_type!r} model. The study is of DeepSpeech's six "
            "layers; pass a folder or an id of a DeepSpeech."
        )
    return loaded


@torch.no_grad()
def layer_activations(encoder: DeepSpeechEncoder, waveforms: Sequence[torch.Tensor]) -> list[list[np.ndarray]]:
    """Compute the activations of every layer in one pass."""
    inputs = encoder.extractor.extract(waveforms)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    states = encoder.model(**inputs, output_hidden_states=True).hidden_states  # windows, then the six layers
    batch = [inputs["input_features"], *states[1:]]
    return [
        [layer[clip, :length].float().numpy() for layer in batch]  # (frames, units)
        for clip, length in enumerate(lengths)
    ]


def resample_frames(frames: np.ndarray, count: int = FRAMES) -> np.ndarray:
    """Bring a clip to a number of frames: linear between neighbors, first on first and last on last.

    >>> resample_frames(np.array([[0.0], [1.0], [4.0]]), 5).ravel().tolist()
    [0.0, 0.5, 1.0, 2.5, 4.0]
    """
    places = np.linspace(0, len(frames) - 1, count)  # (count,), in frames
    left = np.minimum(places.astype(int), max(0, len(frames) - 2))
    right = np.minimum(left + 1, len(frames) - 1)
    share = (places - left)[:, None]
    return ((1 - share) * frames[left] + share * frames[right]).astype(np.float32)


def clip_statistics(frames: np.ndarray) -> np.ndarray:
    """Describe a clip by mean and standard deviation over time.

    >>> clip_statistics(np.array([[0.0, 1.0], [2.0, 1.0]])).tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0)]).astype(np.float32)


__all__ = ["FRAMES", "LAYERS", "clip_statistics", "layer_activations", "load_deepspeech", "resample_frames"]
