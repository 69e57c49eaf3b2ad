"""What a saved model attends to in one clip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from feature_extraction import SERFeatureExtractor
from modeling_ser import SEREnsembleForAudioClassification, SERForAudioClassification
from speech_emotion.evaluation.figures_attention import attention_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ClipAttention:
    """Attention of every head over one clip."""

    head_names: list[str]  # name of each head
    attention: np.ndarray  # Weights, (heads, frames, frames), rows summing to 1
    times: np.ndarray  # time of each frame in seconds, (frames,)
    log_mel: np.ndarray  # Log-mel energies in dB, (mel frames, bands)
    mel_step: float  # seconds from one mel frame to the next
    top_frequency: float  # upper end of the mel filters, in Hz
    scores: dict[str, float]  # probability of each emotion

    @property
    def received(self) -> np.ndarray:
        """Mean weight that a frame is looked at with, times the number of frames, (heads, frames); 1 is even."""
        return self.attention.shape[-1] * self.attention.mean(axis=1)


def head_places(model: SERForAudioClassification, streams: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """List the heads of a model.

    >>> from modeling_ser import SERConfig
    >>> head_places(SERForAudioClassification(SERConfig(num_attention_heads=2)))
    {'1': (0, 0), '2': (0, 1)}
    """
    number = len(model.ser.streams)
    names = [str(stream + 1) for stream in range(number)] if streams is None else list(streams)
    return {
        f"{names[stream]} {head + 1}" if number > 1 else str(head + 1): (stream, head)
        for stream in range(number)
        for head in range(model.config.num_attention_heads)
    }


@torch.no_grad()
def clip_attention(
    model: SERForAudioClassification | SEREnsembleForAudioClassification, extractor: SERFeatureExtractor, source: Any
) -> ClipAttention:
    """Run a model on one clip and keep its attention weights."""
    waveform = extractor.load_audio(source)
    features = extractor.extract([waveform])["input_features"].float()  # (1, frames, size)
    output = model.eval()(input_features=features, output_attentions=True)
    attention = torch.cat(output.attentions, dim=1)[0]  # (heads of all members and streams, frames, frames)
    members = list(model.members) if isinstance(model, SEREnsembleForAudioClassification) else [model]
    streams = list(extractor.streams) if len(members[0].ser.streams) > 1 else None
    names = list(head_places(members[0], streams))
    if len(members) > 1:
        of_one = names if streams else [f"head {name}" for name in names]
        names = [f"member {number} {name}" for number in range(1, len(members) + 1) for name in of_one]
    bands = extractor.num_mel_bins
    settings = {name: getattr(extractor, name) for name in ("sampling_rate", "n_fft", "win_length", "hop_length")}
    mel = SERFeatureExtractor(num_mel_bins=bands, **settings).extract([waveform])["input_features"]
    scores = (output.logits[0].double() / model.config.temperature).softmax(dim=-1)  # as the pipeline's
    return ClipAttention(
        head_names=names,
        attention=attention.double().numpy(),
        # A waveform's last samples may be too few for a frame of an encoder of the model's own.
        times=extractor.frame_times(features.shape[1], waveform)[:: members[0].ser.frame_stride][
            : attention.shape[-1]
        ],
        log_mel=mel[0, :, :bands].numpy(),
        mel_step=extractor.hop_length / extractor.sampling_rate,
        top_frequency=extractor.sampling_rate / 2,
        scores={model.config.id2label[number]: float(score) for number, score in enumerate(scores)},
    )


def draw_clip_attention(found: ClipAttention, name: str) -> "Figure":
    """Draw a clip's attention."""
    best = max(found.scores, key=found.scores.__getitem__)
    return attention_figure(
        found.attention,
        found.times,
        found.log_mel,
        found.mel_step,
        found.top_frequency,
        [f"head {head}" if head.isdigit() else head for head in found.head_names],
        f"{name}: recognized as {best} ({found.scores[best]:.2f})",
    )


__all__ = ["ClipAttention", "clip_attention", "draw_clip_attention", "head_places"]
