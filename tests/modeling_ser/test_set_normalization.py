"""The statistics that features are normalized with."""

from pathlib import Path

import pytest
import torch

from modeling_ser import SERForAudioClassification, SERModel
from tests.modeling_ser.small_models import random_clips, small_config

MEAN, STD = torch.linspace(-40.0, 10.0, 6), torch.linspace(0.5, 20.0, 6)


def test_fresh_statistics_change_nothing() -> None:
    model = SERModel(small_config())
    assert model.feature_mean.tolist() == [0.0] * 6
    assert model.feature_std.tolist() == [1.0] * 6


def test_features_are_centered_and_scaled() -> None:
    plain = SERModel(small_config()).eval()
    normalizing = SERModel(small_config()).eval()
    normalizing.load_state_dict(plain.state_dict())
    normalizing.set_normalization(MEAN, STD)
    clip = random_clips([9])[0].unsqueeze(0)  # (1, frames, features)
    torch.testing.assert_close(normalizing(clip * STD + MEAN)[0], plain(clip)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (torch.zeros(5), STD, r"The mean must be 6 finite numbers.*\(5,\)"),
        (torch.zeros(1, 6), STD, r"The mean must be 6 finite numbers.*\(1, 6\)"),
        (MEAN, torch.tensor(1.0), r"The std must be 6 finite numbers.*\(\)"),
        (torch.full((6,), torch.nan), STD, "The mean must be 6 finite"),
        (MEAN, torch.full((6,), torch.inf), "The std must be 6 finite"),
        (MEAN, STD * torch.tensor([1, 1, 0, 1, 1, 1]), "deviation must be positive; floor"),
        (MEAN, -STD, "deviation must be positive"),
    ],
)
def test_impossible_statistics_are_refused_and_change_nothing(
    mean: torch.Tensor, std: torch.Tensor, message: str
) -> None:
    model = SERModel(small_config())
    with pytest.raises(ValueError, match=message):
        model.set_normalization(mean, std)
    assert model.feature_mean.tolist() == [0.0] * 6
    assert model.feature_std.tolist() == [1.0] * 6


def test_statistics_are_saved_with_the_weights_and_are_not_trained(tmp_path: Path) -> None:
    model = SERForAudioClassification(small_config())
    model.ser.set_normalization(MEAN, STD)
    model.save_pretrained(tmp_path)
    loaded = SERForAudioClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded.ser.feature_mean, MEAN)
    assert torch.equal(loaded.ser.feature_std, STD)
    assert not {"ser.feature_mean", "ser.feature_std"} & {name for name, _ in loaded.named_parameters()}


def test_double_precision_statistics_are_rounded_to_the_models() -> None:
    model = SERModel(small_config())
    model.set_normalization(MEAN.double() + 1e-12, STD.double())
    assert model.feature_mean.dtype == torch.float32
    torch.testing.assert_close(model.feature_mean, MEAN)
