"""Several layers of an encoder, side by side in a stream, averaged with weights that are learned."""

from collections.abc import Sequence

import torch
from torch import nn


class LayerMix(nn.Module):
    """Average of each stream's layers under softmax-normalized weights: Σ_k softmax(s)_k x_k, with s learned.

    Source: Peters et al., "Deep contextualized word representations", NAACL 2018, equation 1, without its scale γ, as
        a convolution follows.

    >>> mix = LayerMix([384, 2048], [1, 4])
    >>> mix(torch.ones(2, 50, 2432)).shape, mix.output_sizes
    (torch.Size([2, 50, 896]), [384, 512])
    """

    def __init__(self, stream_sizes: Sequence[int], num_layers: Sequence[int]) -> None:
        super().__init__()
        self.stream_sizes, self.num_layers = list(stream_sizes), list(num_layers)
        self.output_sizes = [size // layers for size, layers in zip(stream_sizes, num_layers, strict=True)]
        # Zeros, so all layers count alike at birth; a stream of one layer has nothing to learn.
        self.scores = nn.Parameter(torch.zeros(sum(layers for layers in num_layers if layers > 1)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Average the layers, (batch, frames, sum of stream_sizes) → (batch, frames, sum of output_sizes)."""
        scores = iter(self.scores.split([layers for layers in self.num_layers if layers > 1]))
        mixed = []
        for part, layers in zip(features.split(self.stream_sizes, dim=-1), self.num_layers, strict=True):
            if layers > 1:
                weights = next(scores).softmax(dim=0).to(part.dtype)
                first, *others = part.chunk(layers, dim=-1)  # each (batch, frames, size)
                part = first * weights[0]
                for layer, weight in zip(others, weights[1:], strict=True):
                    part = part.addcmul(layer, weight)
            mixed.append(part)
        return torch.cat(mixed, dim=-1)
