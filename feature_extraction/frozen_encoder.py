"""A frozen network whose activations are features, whatever its kind: what `speech_encoders` has in common.

An encoder takes waveforms and gives frames; where in the waveform a frame stands is known, so that the frames of two
streams can be brought to the same times.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.feature_extraction_utils import FeatureExtractionMixin

from .encoder_files import writing

CLIPS_PER_PASS = 8  # what a pass keeps in memory is bounded by this many clips


class SpeechEncoder(ABC):
    """A frozen network, the extractor of its inputs, and the layer whose activations are taken: the last if None.

    Of several layers the activations are side by side, in the order given.
    """

    def __init__(
        self, model: PreTrainedModel, extractor: FeatureExtractionMixin, layer: int | Sequence[int] | None = None
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.extractor = extractor
        layers = self.layers
        several = isinstance(layer, list | tuple)
        self.layer = list(layer) if several else layers[-1] if layer is None else layer
        self.taken = self.layer if several else [self.layer]
        known = all(type(number) is int and number in layers for number in self.taken)
        if not known or not self.taken or len(set(self.taken)) < len(self.taken):
            raise ValueError(
                f"layer={layer!r}: a {model.config.model_type} model of this size has the layers "
                f"{layers[0]} to {layers[-1]}; name one, or several in a list, each once."
            )

    @property
    def layers(self) -> range:
        """Numbers of the layers there are to choose from; 0 is what the first transformer layer reads."""
        return range(self.model.config.num_hidden_layers + 1)

    @property
    def size(self) -> int:
        """Features per frame."""
        return len(self.taken) * self.model.config.hidden_size

    @property
    def sampling_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self.extractor.sampling_rate

    @property
    @abstractmethod
    def grid(self) -> tuple[int, float]:
        """Samples from one frame to the next, and the sample that the first one stands at."""

    def centers(self, frames: int, device: torch.device) -> torch.Tensor:
        """Return the sample that each of so many frames stands at, (frames,)."""
        step, first = self.grid
        return torch.arange(frames, device=device) * step + first

    @abstractmethod
    def encode(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the frames of some clips at once, each (frames, size)."""

    @torch.no_grad()
    def __call__(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the features of clips."""
        if self.model.device != waveforms[0].device:
            self.model.to(waveforms[0].device)
        frames: list[torch.Tensor | None] = [None] * len(waveforms)
        for chosen in self._passes(waveforms):
            encoded = self.encode([waveforms[index] for index in chosen])
            for index, clip in zip(chosen, encoded, strict=True):
                frames[index] = clip.float()
        return frames

    def _passes(self, waveforms: Sequence[torch.Tensor]) -> Iterator[list[int]]:
        """Which clips are computed together: those of like length, so that there is less padding."""
        order = sorted(range(len(waveforms)), key=lambda index: len(waveforms[index]))
        for start in range(0, len(order), CLIPS_PER_PASS):
            yield order[start : start + CLIPS_PER_PASS]

    def digest(self) -> str:
        """Hash the weights and settings that the features depend on."""
        digest = hashlib.sha256(repr((type(self).__name__, self.layer)).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            # Through float32: weights stored in half precision are computed with as such.
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the network and its extractor so that `load_encoder(folder, …)` gives the same."""
        kept = dict(vars(self.model.config))
        try:
            with writing(folder):
                self.model.save_pretrained(folder)
            self.extractor.save_pretrained(folder)
        finally:  # saving notes the class and the type of numbers in it, and would change how the encoder hashes
            vars(self.model.config).clear()
            vars(self.model.config).update(kept)


def side_by_side(states: Sequence[torch.Tensor], lengths: Sequence[int] | None) -> list[torch.Tensor]:
    """Join the layers of a padded batch, each (clips, frames, size), to one clip after another, (length, sizes)."""
    joined = states[0] if len(states) == 1 else torch.cat(list(states), dim=-1)  # (clips, frames, sizes)
    return list(joined) if lengths is None else [clip[:end] for clip, end in zip(joined, lengths, strict=True)]


def passes_of_like_length(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Which of so many are computed together: those of like length, up to so much with their padding, at least one.

    >>> list(passes_of_like_length([5, 1, 9, 2], most=6))
    [[1, 3], [0], [2]]
    """
    chosen: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if chosen and (len(chosen) + 1) * lengths[index] > most:
            yield chosen
            chosen = []
        chosen.append(index)
    if chosen:
        yield chosen
