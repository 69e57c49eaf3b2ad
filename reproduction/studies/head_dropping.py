"""What a model says without one of its attention heads.

With A_i the output of head i and W_i its rows of W_E, the context is C = E + Σ_i A_i W_i (+ b). To drop a head is to
leave out its addend: A_i is set to 0 on its way into W_E, and nothing else changes. The model was never trained
without the head, so this measures how much the trained model relies on it, not how well one could do without; a head
that another one could replace counts in full, and two that say the same count little each.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from modeling_ser import SERForAudioClassification
from speech_emotion.inference.clip_attention import head_places


@dataclass(frozen=True)
class HeadScores:
    """Log-probabilities of clips, with all heads and without each."""

    names: list[str]  # name of each head: its number from 1, behind its stream's name where there are several
    truth: np.ndarray  # true class of each clip, (clips,)
    full: np.ndarray  # Log-probability of each class with all heads, (clips, classes), in nats
    dropped: np.ndarray  # likewise without each head, (heads, clips, classes)

    @property
    def importance(self) -> np.ndarray:
        """Fall of the true class's log-probability without the head, (clips, heads), in nats; below 0 if it harms."""
        clips = np.arange(len(self.truth))
        return (self.full[clips, self.truth] - self.dropped[:, clips, self.truth]).T


@contextmanager
def without_head(model: SERForAudioClassification, stream: int, head: int) -> Iterator[None]:
    """Drop a head for as long as the context lasts."""
    size, heads = model.config.head_size, model.config.num_attention_heads
    if not (0 <= stream < len(model.ser.streams) and 0 <= head < heads):
        raise ValueError(
            f"There is no head {head} of stream {stream}: the model has {len(model.ser.streams)} stream(s) of {heads}."
        )

    def drop(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        attended = inputs[0].clone()  # (batch, frames, heads × head_size)
        attended[..., head * size : (head + 1) * size] = 0
        return (attended,)

    hook = model.ser.streams[stream].attention.output.register_forward_pre_hook(drop)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def score_without_heads(
    model: SERForAudioClassification,
    batches: Sequence[Mapping[str, torch.Tensor]],
    streams: Sequence[str] | None = None,
) -> HeadScores:
    """Score clips with all heads, and without each in turn."""
    if not batches:
        raise ValueError("There are no clips to score.")
    model.eval()

    def scores() -> np.ndarray:
        logits = [
            model(input_features=batch["input_features"], attention_mask=batch["attention_mask"]).logits
            for batch in batches
        ]
        return torch.cat(logits).double().log_softmax(dim=-1).cpu().numpy()  # (clips, classes)

    places = head_places(model, streams)
    full = scores()
    dropped = []
    for stream, head in places.values():
        with without_head(model, stream, head):
            dropped.append(scores())
    truth = torch.cat([batch["labels"] for batch in batches]).cpu().numpy()
    return HeadScores(list(places), truth, full, np.stack(dropped))


__all__ = ["HeadScores", "score_without_heads", "without_head"]
