"""The class-weighted loss against sums written out by hand."""

import math

import numpy as np
import pytest
import torch

from modeling_ser import SERForAudioClassification
from modeling_ser.modeling_ser import classification_loss
from tests.modeling_ser.small_models import enlivened, padded, random_clips, small_config

WEIGHTS = [0.5, 1.0, 2.5]


def by_hand(logits: np.ndarray, labels: list[int], weights: list[float], smoothing: float) -> float:
    total, classes = 0.0, logits.shape[1]
    for row, label in zip(logits, labels, strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for index, value in enumerate(row):
            target = (1 - smoothing) * (index == label) + smoothing / classes
            total -= weights[index] * target * (value - log_sum)
    return total / len(labels)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_by_hand(weights: list[float] | None, smoothing: float) -> None:
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    labels = [0, 2, 1, 1, 2, 0, 2]
    config = small_config(class_weights=weights, label_smoothing=smoothing)
    loss = classification_loss(logits, torch.tensor(labels), config)
    assert loss.item() == pytest.approx(by_hand(logits.double().numpy(), labels, weights or [1.0] * 3, smoothing))


def test_the_mean_of_two_halves_is_the_loss_of_the_whole() -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 1, 2])  # halves of unequal total weight
    config = small_config(class_weights=WEIGHTS, label_smoothing=0.1)
    halves = [classification_loss(logits[part], labels[part], config) for part in (slice(4), slice(4, 8))]
    torch.testing.assert_close(sum(halves) / 2, classification_loss(logits, labels, config))


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
def test_a_wrong_number_of_weights_is_an_error(weights: list[float]) -> None:
    model = SERForAudioClassification(small_config(class_weights=weights))
    with pytest.raises(ValueError, match=f"class_weights has {len(weights)} values for 3 labels"):
        model(*padded(random_clips([4, 5])), labels=torch.tensor([0, 1]))


def test_the_classifier_returns_the_loss_of_its_logits() -> None:
    model = enlivened(SERForAudioClassification(small_config(class_weights=WEIGHTS)))
    labels = torch.tensor([2, 0])
    output = model(*padded(random_clips([4, 5])), labels=labels)
    expected = by_hand(output.logits.detach().double().numpy(), labels.tolist(), WEIGHTS, 0.0)
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)
    assert model(*padded(random_clips([4, 5]))).loss is None
    assert model(*padded(random_clips([4, 5])), labels=labels, return_dict=False)[0] == output.loss
