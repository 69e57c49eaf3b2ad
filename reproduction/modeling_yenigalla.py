"""The networks of Yenigalla et al. (2018): a spectrogram channel, a phoneme channel, and both."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from .block_convolution import BlockConv2d


@dataclass(frozen=True)
class YenigallaConfig:
    """Sizes of the networks: what the paper fixes, and where marked, our choice."""

    num_labels: int = 4  # number of classes
    num_mel_bins: int = 128  # mel bands of the spectrogram
    num_frames: int = 256  # frames of the spectrogram; shorter clips are padded, longer ones cut
    kernel_sizes: tuple[tuple[int, int], ...] = ((12, 16), (18, 24), (24, 32), (30, 40))
    num_filters: int = 32  # filters of each of them
    stride: int = 4  # bands and frames from one place of a convolution to the next
    vocab_size: int = 48  # Phonemes, and whatever stands for those not known
    embedding_size: int = 100  # values of a phoneme
    text_kernel_sizes: tuple[int, ...] = (3, 9, 13, 17)  # phonemes that each of the 1-D convolutions sees
    num_text_filters: int = 64  # filters of each of them
    dense_sizes: tuple[int, int] = (400, 200)  # sizes of the fully connected layers
    dropout: float = 0.3  # after the first of them, not after the second


class SpectrogramChannel(nn.Module):
    """Four parallel 2-D convolutions over a mel spectrogram, each max-pooled by half its map, then dense layers.

    >>> channel = SpectrogramChannel(YenigallaConfig(num_filters=2)).eval()
    >>> channel(torch.randn(2, 90, 128), torch.ones(2, 90)).shape
    torch.Size([2, 200])
    """

    def __init__(self, config: YenigallaConfig) -> None:
        super().__init__()
        self.config = config
        self.convolutions = nn.ModuleList(
            BlockConv2d(config.num_filters, size, config.stride) for size in config.kernel_sizes
        )
        # By half: two places of a map's height and two of its width are left.
        self.dense = DenseLayers(4 * config.num_filters * len(config.kernel_sizes), config)

    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Describe clips."""
        x = input_features * attention_mask.to(input_features.dtype).unsqueeze(-1)
        x = x[:, : self.config.num_frames]
        x = F.pad(x, (0, 0, 0, self.config.num_frames - x.shape[1]))  # (batch, num_frames, num_mel_bins)
        x = x.transpose(1, 2).unsqueeze(1)  # (batch, 1, num_mel_bins, num_frames)
        pooled = []
        for convolution in self.convolutions:
            activations = F.relu(convolution(x))  # (batch, num_filters, height, width)
            half = (activations.shape[2] // 2, activations.shape[3] // 2)
            pooled.append(F.max_pool2d(activations, half)[..., :2, :2].flatten(1))  # (batch, num_filters * 4)
        return self.dense(torch.cat(pooled, dim=1))


class PhonemeChannel(nn.Module):
    """An embedding, four parallel 1-D convolutions and the maximum over time, then dense layers.

    >>> channel = PhonemeChannel(YenigallaConfig()).eval()
    >>> channel(torch.tensor([[3, 4, 5, 6, 7], [3, 4, -100, -100, -100]])).shape
    torch.Size([2, 200])
    """

    def __init__(self, config: YenigallaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding_size, config.num_text_filters, size) for size in config.text_kernel_sizes
        )
        self.dense = DenseLayers(config.num_text_filters * len(config.text_kernel_sizes), config)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        """Describe transcripts."""
        real = symbols >= 0  # (batch, longest)
        x = self.embedding(symbols.clamp(min=0)) * real.unsqueeze(-1)
        widest = max(self.config.text_kernel_sizes)
        x = F.pad(x, (0, 0, 0, max(0, widest - x.shape[1]))).transpose(1, 2)  # (batch, embedding_size, longest)
        lengths = real.sum(dim=1, keepdim=True)  # (batch, 1)
        pooled = []
        for convolution in self.convolutions:
            activations = F.relu(convolution(x))  # (batch, num_text_filters, places)
            places = torch.arange(activations.shape[-1], device=x.device)
            within = places < (lengths - convolution.kernel_size[0] + 1).clamp(min=1)  # (batch, places)
            # Activations are 0 or more: a zero in place of one that does not count is never the maximum wrongly.
            pooled.append((activations * within.unsqueeze(1)).amax(dim=-1))  # (batch, num_text_filters)
        return self.dense(torch.cat(pooled, dim=1))


class DenseLayers(nn.Module):
    """Dense → batch normalization → ReLU, twice, with dropout after the first."""

    def __init__(self, in_size: int, config: YenigallaConfig) -> None:
        super().__init__()
        first, second = config.dense_sizes
        self.layers = nn.Sequential(
            nn.Linear(in_size, first, bias=False),
            nn.BatchNorm1d(first),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(first, second, bias=False),
            nn.BatchNorm1d(second),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers: (batch, in_size) → (batch, last of dense_sizes)."""
        return self.layers(x)


class YenigallaNetwork(nn.Module):
    """One channel and a classifier, or both: concatenated, normalized and classified by one dense layer.

    Source: Yenigalla et al., "Speech emotion recognition using spectrogram & phoneme embedding", Interspeech 2018.

    >>> network = YenigallaNetwork(YenigallaConfig(num_filters=2)).eval()
    >>> network(torch.randn(1, 90, 128), torch.ones(1, 90), torch.tensor([[3, 4, 5]])).shape
    torch.Size([1, 4])
    """

    def __init__(self, config: YenigallaConfig, spectrogram: bool = True, phonemes: bool = True) -> None:
        super().__init__()
        if not (spectrogram or phonemes):
            raise ValueError("The network needs a channel: the spectrogram, the phonemes or both.")
        self.spectrogram = SpectrogramChannel(config) if spectrogram else None
        self.phonemes = PhonemeChannel(config) if phonemes else None
        size = config.dense_sizes[-1] * (spectrogram + phonemes)
        self.norm = nn.BatchNorm1d(size) if spectrogram and phonemes else nn.Identity()
        self.classifier = nn.Linear(size, config.num_labels)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        symbols: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Score clips."""
        parts = []
        if self.spectrogram is not None:
            parts.append(self.spectrogram(input_features, attention_mask))
        if self.phonemes is not None:
            parts.append(self.phonemes(symbols))
        return self.classifier(self.norm(torch.cat(parts, dim=1)))


__all__ = ["PhonemeChannel", "SpectrogramChannel", "YenigallaConfig", "YenigallaNetwork"]
