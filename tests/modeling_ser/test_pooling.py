"""Pooling over time: weights, masks, and a deviation that cancels nowhere."""

import numpy as np
import pytest
import torch

from modeling_ser import SERModel
from modeling_ser.pooling import AttentionStatisticsPooling, MeanPooling
from tests.modeling_ser.small_models import enlivened, padded, random_clips, small_config


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


def test_the_size_doubles_for_every_stream() -> None:
    late = {"fusion": "late", "stream_sizes": [2, 4]}
    sizes = [
        SERModel(small_config(pooling=pooling, **fusion)).pooled_size
        for pooling in ("mean", "attention_statistics")
        for fusion in ({}, late)
    ]
    assert sizes == [8, 16, 16, 32]


def test_each_stream_is_pooled_by_itself() -> None:
    model = enlivened(SERModel(small_config(pooling="attention_statistics", fusion="late", stream_sizes=[2, 4])))
    features, mask = padded(random_clips([5, 1, 12]))
    output = model(features, mask)
    assert output.pooler_output.shape == (3, 32)
    for stream, pooling in enumerate(model.poolings):
        part = output.last_hidden_state[..., 8 * stream : 8 * stream + 8]
        pooled = pooling(part, mask.float().unsqueeze(-1))
        torch.testing.assert_close(output.pooler_output[:, 16 * stream : 16 * stream + 16], pooled)


def test_mean_pooling_adds_no_weights_to_the_papers() -> None:
    assert not [name for name in SERModel(small_config()).state_dict() if "pooling" in name]


def test_dropout_of_the_encoder_is_what_the_attention_and_its_residual_read() -> None:
    model = SERModel(small_config(encoder_dropout=0.5, attention_dropout=0.0)).train()
    with torch.no_grad():
        model.streams[0].attention.output.weight.zero_()  # C = E
        model.streams[0].conv2.norm.bias.fill_(5.0)  # no value of E is 0 of itself
    torch.manual_seed(0)
    encoded, context = model(torch.randn(4, 50, 6), output_hidden_states=True).hidden_states
    assert torch.equal(encoded, context)
    assert (encoded == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert encoded[encoded != 0].mean().item() == pytest.approx(10.0, abs=0.5)  # the kept ones are doubled
