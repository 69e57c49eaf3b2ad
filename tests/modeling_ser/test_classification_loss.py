"""The class-weighted loss against sums written out by hand."""

import math

import numpy as np
import pytest
import torch

from modeling_ser import SERForAudioClassification
from modeling_ser.classification_loss import classification_loss, focal_losses
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


def focal_by_hand(logits: np.ndarray, labels: list[int], gamma: float, weights: list[float] | None = None) -> float:
    exponentials = np.exp(logits)
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    true = probabilities[np.arange(len(labels)), labels]
    losses = (1 - true) ** gamma * -np.log(true)
    return float((losses * (np.array(weights)[labels] if weights else 1.0)).sum() / len(labels))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("gamma", [0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_by_hand(gamma: float, weights: list[float] | None) -> None:
    logits = 2 * torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    labels = [0, 2, 1, 1, 2, 0, 2]
    config = small_config(loss="focal", focal_gamma=gamma, class_weights=weights)
    loss = classification_loss(logits, torch.tensor(labels), config)
    assert loss.item() == pytest.approx(focal_by_hand(logits.double().numpy(), labels, gamma, weights), rel=1e-5)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_loss_without_gamma_is_cross_entropy(weights: list[float] | None) -> None:
    results = []
    for fields in ({"loss": "cross_entropy"}, {"loss": "focal", "focal_gamma": 0.0}):
        logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
        config = small_config(class_weights=weights, **fields)
        loss = classification_loss(logits, torch.tensor([0, 2, 1, 1, 2, 0, 2]), config)
        loss.backward()
        results.append((loss.detach(), logits.grad))
    torch.testing.assert_close(*results)


def test_the_gradient_of_the_focal_loss_is_that_of_its_differences() -> None:
    logits = (3 * torch.randn(5, 3, generator=torch.Generator().manual_seed(3))).double().requires_grad_()
    labels = torch.tensor([0, 2, 1, 1, 0])
    for gamma in (0.0, 0.5, 1.0, 2.0):
        assert torch.autograd.gradcheck(lambda z, g=gamma: focal_losses(z, labels, g), (logits,))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("margin", [10.0, 16.5, 17.5, 60.0, 1e4])
def test_the_focal_loss_is_stable_where_the_model_is_certain(margin: float, gamma: float) -> None:
    for label in (0, 1):  # certain and right, certain and wrong
        logits = torch.tensor([[margin, 0.0, 0.0]]).requires_grad_()
        loss = focal_losses(logits, torch.tensor([label]), gamma).sum()
        loss.backward()
        assert torch.isfinite(logits.grad).all()
        exact = torch.tensor([[margin, 0.0, 0.0]], dtype=torch.float64).requires_grad_()
        reference = focal_losses(exact, torch.tensor([label]), gamma).sum()
        reference.backward()
        assert loss.item() == pytest.approx(reference.item(), rel=1e-4, abs=1e-6)
        torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=1e-3, atol=1e-5)


def test_the_focal_loss_keeps_the_digits_of_a_small_remainder() -> None:
    # 1 - p = 2 e^-12 / (1 + 2 e^-12): in float32, 1 - exp(log p) has two digits of it left.
    logits = torch.tensor([[12.0, 0.0, 0.0]])
    rest = 2 * math.exp(-12) / (1 + 2 * math.exp(-12))
    expected = rest**2 * -math.log1p(-rest)
    assert focal_losses(logits, torch.tensor([0]), 2.0).item() == pytest.approx(expected, rel=0.03)
    assert focal_losses(logits.double(), torch.tensor([0]), 2.0).item() == pytest.approx(expected, rel=1e-9)


def test_the_mean_of_two_halves_is_the_focal_loss_of_the_whole() -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 1, 2])
    config = small_config(loss="focal", class_weights=WEIGHTS)
    halves = [classification_loss(logits[part], labels[part], config) for part in (slice(4), slice(4, 8))]
    torch.testing.assert_close(sum(halves) / 2, classification_loss(logits, labels, config))


def test_smoothing_set_after_the_configuration_was_made_is_refused_too() -> None:
    config = small_config(loss="focal")
    config.label_smoothing = 0.1
    with pytest.raises(ValueError, match="focal loss knows one true class"):
        classification_loss(torch.zeros(1, 3), torch.tensor([0]), config)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_a_clip_without_a_label_does_not_count(loss: str) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(5))
    config = small_config(loss=loss, class_weights=WEIGHTS)
    found = classification_loss(logits, torch.tensor([1, -100, 2, -100]), config)
    torch.testing.assert_close(found, classification_loss(logits[[0, 2]], torch.tensor([1, 2]), config))


def test_values_and_several_labels_at_once_have_losses_of_their_own() -> None:
    logits = torch.tensor([[0.0, 2.0, -1.0], [1.0, 0.0, 0.5]])
    values = torch.tensor([[0.5, 2.0, 0.0], [1.0, 1.0, 0.5]])
    model = enlivened(SERForAudioClassification(small_config(problem_type="regression")))
    assert classification_loss(logits, values, model.config).item() == pytest.approx((0.25 + 1 + 1) / 6)
    batch = padded(random_clips([4, 5]))
    output = model(*batch, labels=values)
    assert output.loss.item() == pytest.approx((output.logits - values).square().mean().item())
    of_one = small_config(problem_type="regression", num_labels=1)
    assert classification_loss(logits[:, :1], torch.tensor([1.0, 1.0]), of_one).item() == pytest.approx(0.5)

    several = torch.tensor([[0, 1, 1], [0, 0, 0]])
    found = classification_loss(logits, several, small_config(problem_type="multi_label_classification"))
    terms = [math.log1p(math.exp(-z if y else z)) for z, y in zip(logits.flatten(), several.flatten(), strict=True)]
    assert found.item() == pytest.approx(sum(terms) / 6)


@pytest.mark.parametrize(
    ("problem_type", "labels", "message"),
    [
        (None, torch.full((2, 3), 1 / 3), r"labels must be \(batch,\) = \(2,\) integers"),
        (None, torch.tensor([0.0, 1.0]), r"not \(2,\) of torch.float32"),
        ("regression", torch.tensor([0.0, 1.0]), r"\(batch, num_labels\) = \(2, 3\) for problem_type 'regression'"),
    ],
)
def test_labels_of_another_kind_are_refused(problem_type: str | None, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_loss(torch.zeros(2, 3), labels, small_config(problem_type=problem_type))
