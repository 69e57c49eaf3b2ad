"""Pooling over time: weights, masks, and a deviation that cancels nowhere."""

import numpy as np
import pytest
import torch

from modeling_ser import SERModel
from modeling_ser.pooling import AttentionStatisticsPooling, FunctionalsPooling, MeanPooling, functionals
from tests.modeling_ser.small_models import (
    FUNCTIONALS,
    LATE,
    STATISTICS,
    clips_for,
    enlivened,
    padded,
    random_clips,
    small_config,
)


def test_a_mean_over_real_frames() -> None:
    context, mask = padded(random_clips([5, 2], size=4))
    pooled = MeanPooling(4)(context, mask.float().unsqueeze(-1))
    torch.testing.assert_close(pooled, torch.stack([context[0].mean(dim=0), context[1, :2].mean(dim=0)]))


def test_equal_scores_give_the_plain_mean_and_deviation() -> None:
    pooling = AttentionStatisticsPooling(4)
    torch.nn.init.zeros_(pooling.score.weight)
    context, mask = padded(random_clips([9, 3], size=4))
    pooled = pooling(context, mask.float().unsqueeze(-1))
    for row, length in enumerate((9, 3)):
        frames = context[row, :length].numpy()
        expected = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
        np.testing.assert_allclose(pooled[row].detach(), expected, rtol=0, atol=1e-6)


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


def test_functionals_are_those_of_numpy() -> None:
    clips = random_clips([30, 4, 13], size=5)
    context, mask = padded(clips)
    found = functionals(context.double(), mask.double().unsqueeze(-1), lags=[1, 6]).view(3, 6, 5)
    for row, clip in enumerate(clips):
        frames = clip.double().numpy()
        mean, place = frames.mean(axis=0), (np.arange(len(frames)) + 0.5) / len(frames) * 2 - 1
        d = frames - mean
        second = np.polynomial.legendre.legval(place, [0, 0, 1])
        expected = [mean, frames.std(axis=0), place @ d / len(d), second @ d / len(d)]
        for lag in (1, 6):
            products = (d[lag:] * d[:-lag]).sum(axis=0) if lag < len(d) else np.zeros(5)
            expected.append(products / len(d) / (frames.var(axis=0) + 0.01))
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=1e-12)


def test_functionals_tell_slow_from_fast_and_rising_from_falling() -> None:
    place = torch.arange(64.0)
    slow, fast, rising = torch.sin(place / 8), torch.sin(2 * place), place / 64
    found = functionals(
        torch.stack([slow, fast, rising, -rising])[..., None], torch.ones(4, 64, 1), lags=[2]
    ).squeeze()
    mean, std, trend, bend, rhythm = found.view(4, 5).T
    assert rhythm[0] > 0.9 and rhythm[1] < -0.5
    assert trend[2] > 0.15 and trend[3] < -0.15 and abs(trend[1]) < 0.02
    assert mean[2] == pytest.approx(0.4922, abs=1e-4) and std[0] == pytest.approx(0.71, abs=0.05)
    assert bend[2].abs() < 1e-3


def test_functionals_are_normalized_over_the_batch() -> None:
    pooling = FunctionalsPooling(4).train()
    context, mask = padded(random_clips([20, 9, 14, 5, 30], size=4))
    pooled = pooling(context, mask.float().unsqueeze(-1))
    torch.testing.assert_close(pooled.mean(dim=0), torch.zeros(32), rtol=0, atol=1e-5)
    # The floor of batch normalization takes a little of the deviation of what hardly varies.
    assert pooled.std(dim=0, correction=0).min() > 0.9
    still = pooling(torch.zeros(2, 3, 4), torch.ones(2, 3, 1))
    assert still.abs().max() == 0


def test_the_size_doubles_with_a_second_stream_and_the_mean_adds_no_weights() -> None:
    models = [
        SERModel(small_config(**kind, **fusion)) for kind in ({}, STATISTICS, FUNCTIONALS) for fusion in ({}, LATE)
    ]
    assert [model.pooled_size for model in models] == [8, 16, 16, 32, 64, 128]
    assert not [name for name in models[0].state_dict() if "pooling" in name]


def test_each_stream_is_pooled_by_itself() -> None:
    model = enlivened(SERModel(small_config(**STATISTICS, **LATE)))
    features, mask = clips_for(model, [5, 1, 12])
    output = model(features, mask)
    assert output.pooler_output.shape == (3, 32)
    for stream, pooling in enumerate(model.poolings):
        part = output.last_hidden_state[..., 8 * stream : 8 * stream + 8]
        pooled = pooling(part, mask.float().unsqueeze(-1))
        torch.testing.assert_close(output.pooler_output[:, 16 * stream : 16 * stream + 16], pooled)


def test_the_mean_of_a_long_clip_does_not_overflow_in_half_precision() -> None:
    context = torch.full((1, 60_000, 2), 1.25, dtype=torch.float16)
    pooled = MeanPooling(2)(context, torch.ones(1, 60_000, 1, dtype=torch.float16))
    assert pooled.dtype == torch.float16 and (pooled == 1.25).all()
