"""Pooling over time where numbers are hard; the formulas themselves are held by the network's tests."""

import pytest
import torch

from modeling_ser.pooling import AttentionStatisticsPooling, FunctionalsPooling, MeanPooling
from tests.modeling_ser.small_models import padded, random_clips


def test_a_frame_with_all_the_weight_is_the_mean_and_has_no_deviation() -> None:
    pooling = AttentionStatisticsPooling(2)
    with torch.no_grad():
        pooling.hidden.weight.copy_(torch.eye(2))
        pooling.hidden.bias.zero_()
        pooling.score.weight.copy_(torch.tensor([[200.0, 0.0]]))
    context = torch.tensor([[[-3.0, 1.0], [3.0, 7.0], [-3.0, 5.0]]])
    pooled = pooling(context, torch.ones(1, 3, 1))
    torch.testing.assert_close(pooled, torch.tensor([[3.0, 7.0, 1e-3, 1e-3]]))


def test_the_deviation_survives_a_large_mean() -> None:
    pooling = AttentionStatisticsPooling(1)
    torch.nn.init.zeros_(pooling.score.weight)
    context = 10_000 + torch.tensor([[[-0.5], [0.5], [-0.5], [0.5]]])
    # Σ a c² - μ² would be 10⁸ + 0.25 - 10⁸, of which float32 keeps nothing.
    assert pooling(context, torch.ones(1, 4, 1))[0].tolist() == pytest.approx([10_000, 0.5], rel=1e-6)


def test_gradients_are_finite_where_all_frames_agree() -> None:
    pooling = AttentionStatisticsPooling(3)
    for frames in (1, 4):
        context = torch.ones(2, frames, 3, requires_grad=True)
        pooling(context, torch.ones(2, frames, 1)).sum().backward()
        assert torch.isfinite(context.grad).all()


def test_functionals_are_normalized_over_the_batch() -> None:
    pooling = FunctionalsPooling(4).train()
    context, mask = padded(random_clips([20, 9, 14, 5, 30], size=4))
    pooled = pooling(context, mask.float().unsqueeze(-1))
    torch.testing.assert_close(pooled.mean(dim=0), torch.zeros(32), rtol=0, atol=1e-5)
    # The floor of batch normalization takes a little of the deviation of what hardly varies.
    assert pooled.std(dim=0, correction=0).min() > 0.9
    still = pooling(torch.zeros(2, 3, 4), torch.ones(2, 3, 1))
    assert still.abs().max() == 0


def test_the_mean_of_a_long_clip_does_not_overflow_in_half_precision() -> None:
    context = torch.full((1, 60_000, 2), 1.25, dtype=torch.float16)
    pooled = MeanPooling(2)(context, torch.ones(1, 60_000, 1, dtype=torch.float16))
    assert pooled.dtype == torch.float16 and (pooled == 1.25).all()
