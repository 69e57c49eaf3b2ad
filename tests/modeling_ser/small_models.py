"""Models of a few hundred weights, none of them trivial, and batches of clips of unequal length."""

from collections.abc import Sequence
from typing import Any

import torch

from modeling_ser import SERConfig, SERForAudioClassification, SERModel, SERPreTrainedModel
from modeling_ser.frame_layers import MaskedBatchNorm

SMALL: dict[str, Any] = {
    "input_size": 6,
    "hidden_size": 8,
    "conv_kernel_size": 3,
    "num_attention_heads": 2,
    "dense_size": 5,
    "num_labels": 3,
}
# Variants, and clips that are scored with them.
LATE: dict[str, Any] = {"fusion": "late", "stream_sizes": [2, 4]}
MIX: dict[str, Any] = {"stream_sizes": [2, 4], "layer_mix": [1, 2]}
STATISTICS: dict[str, Any] = {"pooling": "attention_statistics"}
HEAD: dict[str, Any] = {"statistics_head": True}
FUNCTIONALS: dict[str, Any] = {"pooling": "functionals"}
STEM: dict[str, Any] = {"input_size": 24, "stem_channels": (3, 4, 2)}
STEM_AND_ANOTHER: dict[str, Any] = STEM | {"input_size": 29, "stream_sizes": [24, 5]}
STEM_AND_LAYERS: dict[str, Any] = STEM | {"input_size": 30, "stream_sizes": [24, 6], "layer_mix": [1, 3]}
LENGTHS = [5, 1, 12, 8]
EMOTIONS = torch.tensor([0, 1, 2, 1])  # their labels


def small_config(**fields: Any) -> SERConfig:
    return SERConfig(**(SMALL | fields))


def small_model(seed: int = 0, **fields: Any) -> SERForAudioClassification:
    """Make a classifier in evaluation mode whose every weight has a value of its own."""
    return enlivened(SERForAudioClassification(small_config(**fields)), seed)


def clips_for(
    model: SERPreTrainedModel, lengths: Sequence[int] = LENGTHS, frames: int | None = None, padding: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make a batch for a model: features (batch, frames, size) and mask (batch, frames)."""
    return padded(random_clips(lengths, model.config.input_size), frames, padding)


def enlivened(model: SERPreTrainedModel, seed: int = 0) -> SERPreTrainedModel:
    """Give every weight and statistic a value of its own, in evaluation mode: a fresh model hides what is unused."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(uniform(parameter, -0.6, 0.6))
        for module in model.modules():
            if isinstance(module, MaskedBatchNorm):
                module.weight.copy_(uniform(module.weight, 0.5, 1.5))
                module.running_mean.copy_(uniform(module.running_mean, -0.5, 0.5))
                module.running_var.copy_(uniform(module.running_var, 0.5, 2.0))
        for body in model.modules():
            if isinstance(body, SERModel):
                body.set_normalization(uniform(body.feature_mean, -1, 1), uniform(body.feature_std, 0.5, 2))
                if body.statistics is not None:
                    body.statistics.mean.copy_(uniform(body.statistics.mean, -1, 1))
                    body.statistics.std.copy_(uniform(body.statistics.std, 0.5, 2))
    return model.eval()


def random_clips(lengths: Sequence[int], size: int = 6, seed: int = 0) -> list[torch.Tensor]:
    """Make features of clips, each (frames, size)."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, size, generator=generator) for length in lengths]


def padded(
    clips: Sequence[torch.Tensor], frames: int | None = None, padding: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put clips into one batch: features (batch, frames, size) and mask (batch, frames)."""
    frames = frames or max(map(len, clips))
    features = clips[0].new_full((len(clips), frames, clips[0].shape[1]), padding)
    mask = torch.zeros(len(clips), frames, dtype=torch.int64)
    for row, clip in enumerate(clips):
        features[row, : len(clip)], mask[row, : len(clip)] = clip, 1
    return features, mask
