"""The first layer of a recognizer: it learns on normalized coefficients and is stored as one of raw ones."""

from pathlib import Path

import pytest
import torch

from feature_extraction import DeepSpeechConfig, DeepSpeechForCTC
from speech_emotion.training.ctc_input_scaling import ScaledLinear, scale_inputs, scaled_input_layer, unscale_inputs


@pytest.fixture
def statistics() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    mean, std = torch.randn(26, generator=random) * 10, torch.rand(26, generator=random) * 15 + 0.3
    mean[0], std[0] = 14.0, 3.7
    return mean, std


def test_a_scaled_network_stores_a_plain_one_that_computes_the_same(
    statistics: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    mean, std = statistics
    torch.manual_seed(0)
    model = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=32, dropout=0.0))
    initial = model.deepspeech.layer_1.weight.detach().clone()
    features = mean + std * torch.randn(3, 40, 26)
    scale_inputs(model, mean, std)
    layer = scaled_input_layer(model)
    assert torch.equal(layer.weight, initial)
    # In the middle of a clip it sees what the new layer would see of normalized coefficients.
    windows = torch.randn(5, 494) * std.repeat(19) + mean.repeat(19)
    expected = torch.nn.functional.linear((windows - mean.repeat(19)) / std.repeat(19), initial)
    torch.testing.assert_close(layer(windows), expected, rtol=0, atol=1e-4)
    scaled = model(features).logits

    model.save_pretrained(tmp_path)
    loaded = DeepSpeechForCTC.from_pretrained(tmp_path)
    assert type(loaded.deepspeech.layer_1) is torch.nn.Linear
    assert torch.equal(loaded(features).logits, scaled)
    unscale_inputs(model)
    assert type(model.deepspeech.layer_1) is torch.nn.Linear
    assert torch.equal(model(features).logits, scaled)
    unscale_inputs(model)  # a plain one is left alone
    assert list(model.state_dict()) == list(loaded.state_dict())


def test_a_plain_checkpoint_loads_into_a_scaled_layer_and_the_exact_state_is_exact() -> None:
    torch.manual_seed(0)
    mean, std = torch.tensor([14.0, -8.0, 0.2]), torch.tensor([3.7, 15.8, 0.3])
    one, other = ScaledLinear(mean, std, 8), ScaledLinear(mean, std, 8)
    exact = one.exact_state()
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other.weight, one.weight, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(other.bias, one.bias, rtol=1e-5, atol=1e-5)
    other.load_exact_state(exact)
    assert torch.equal(other.weight, one.weight)
    assert torch.equal(other.bias, one.bias)


def test_gradients_are_those_of_normalized_inputs() -> None:
    torch.manual_seed(0)
    mean, std = torch.tensor([14.0, -8.0]), torch.tensor([3.7, 0.3])
    layer, reference = ScaledLinear(mean, std, 4), torch.nn.Linear(2, 4)
    reference.load_state_dict(layer.exact_state())
    x, target = torch.randn(9, 2) * std + mean, torch.randn(9, 4)
    ((layer(x) - target) ** 2).sum().backward()
    ((reference((x - mean) / std) - target) ** 2).sum().backward()
    torch.testing.assert_close(layer.weight.grad, reference.weight.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(layer.bias.grad, reference.bias.grad, rtol=1e-4, atol=1e-3)


def test_a_deviation_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        ScaledLinear(torch.zeros(2), torch.tensor([1.0, 0.0]), 4)
