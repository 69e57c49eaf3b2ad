"""The losses against sums written out by hand."""

import math

import numpy as np
import pytest
import torch

from modeling_ser.classification_loss import classification_loss, concordance, focal_losses
from tests.modeling_ser.small_models import HEAD, clips_for, small_config, small_model

WEIGHTS = [0.5, 1.0, 2.5]
LABELS = [0, 2, 1, 1, 2, 0, 2]


def random_logits(clips: int = 7) -> torch.Tensor:
    return 2 * torch.randn(clips, 3, generator=torch.Generator().manual_seed(0))


def by_hand(logits: np.ndarray, labels: list[int], weights: list[float] | None, smoothing: float = 0.0) -> float:
    total, classes = 0.0, logits.shape[1]
    for row, label in zip(logits, labels, strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for index, value in enumerate(row):
            target = (1 - smoothing) * (index == label) + smoothing / classes
            total -= (weights[index] if weights else 1.0) * target * (value - log_sum)
    return total / len(labels)


def focal_by_hand(logits: np.ndarray, labels: list[int], gamma: float, weights: list[float] | None = None) -> float:
    exponentials = np.exp(logits)
    true = (exponentials / exponentials.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]
    losses = (1 - true) ** gamma * -np.log(true)
    return float((losses * (np.array(weights)[labels] if weights else 1.0)).sum() / len(labels))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_by_hand(weights: list[float] | None, smoothing: float) -> None:
    logits, config = random_logits(), small_config(class_weights=weights, label_smoothing=smoothing)
    loss = classification_loss(logits, torch.tensor(LABELS), config)
    assert loss.item() == pytest.approx(by_hand(logits.double().numpy(), LABELS, weights, smoothing))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("gamma", [0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_by_hand(gamma: float, weights: list[float] | None) -> None:
    logits, config = random_logits(), small_config(loss="focal", focal_gamma=gamma, class_weights=weights)
    loss = classification_loss(logits, torch.tensor(LABELS), config)
    assert loss.item() == pytest.approx(focal_by_hand(logits.double().numpy(), LABELS, gamma, weights), rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_a_clip_without_a_label_does_not_count(loss: str) -> None:
    logits, config = random_logits(4), small_config(loss=loss, class_weights=WEIGHTS)
    found = classification_loss(logits, torch.tensor([1, -100, 2, -100]), config)
    torch.testing.assert_close(found, classification_loss(logits[[0, 2]], torch.tensor([1, 2]), config))


@pytest.mark.parametrize("fields", [{}, {"class_weights": WEIGHTS, "label_smoothing": 0.2}], ids=str)
def test_shares_of_raters_are_learned_as_a_distribution(fields: dict) -> None:
    logits, config = random_logits(), small_config(**fields)
    one_hot = torch.eye(3)[LABELS]
    whole = [classification_loss(logits, labels, config) for labels in (one_hot, torch.tensor(LABELS))]
    torch.testing.assert_close(*whole)
    shares = 0.75 * one_hot + 0.25 * torch.eye(3)[[1] * 7]  # one in four heard the second
    other = classification_loss(logits, torch.full((7,), 1), config)
    torch.testing.assert_close(classification_loss(logits, shares, config), 0.75 * whole[0] + 0.25 * other)
    assert small_model(statistics_head=True)(*clips_for(small_model(), [4, 5]), labels=shares[:2]).loss > 0


@pytest.mark.parametrize(
    ("fields", "shares", "named"),
    [
        ({}, [[0.5, 0.2, 0.2]], "sum to 1"),
        ({}, [[1.5, -0.5, 0.0]], "not be negative"),
        ({"loss": "focal"}, [[1.0, 0.0, 0.0]], "go with the loss 'cross_entropy'"),
    ],
)
def test_shares_that_are_none_are_refused(fields: dict, shares: list, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        classification_loss(random_logits(1), torch.tensor(shares), small_config(**fields))


@pytest.mark.parametrize("loss", [{"label_smoothing": 0.2}, {"label_smoothing": 0.0}, {"loss": "focal"}])
def test_labels_that_a_clip_could_not_have_count_nothing(loss: dict) -> None:
    logits, config = random_logits(), small_config(**loss)
    mask = torch.tensor([[True, True, False]] * 3 + [[True] * 3] * 2)
    labels = torch.tensor([0, 1, -100, 2, 0])
    found = classification_loss(logits[:5], labels, config, mask)
    two = small_config(**loss, id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1})
    parts = [
        2 * classification_loss(logits[:2, :2], labels[:2], two),
        2 * classification_loss(logits[3:5], labels[3:], config),
    ]
    torch.testing.assert_close(found, sum(parts) / 4)
    model = small_model(**loss)
    batch = clips_for(model, [4, 5])
    masked = model(*batch, labels=torch.tensor([2, 0]), class_mask=torch.tensor([[True, False, True]] * 2))
    assert masked.loss < model(*batch, labels=torch.tensor([2, 0])).loss


@pytest.mark.parametrize(
    ("mask", "named"),
    [
        (torch.ones(1, 3, dtype=torch.bool), "must be"),
        (torch.ones(2, 3), "torch.bool"),
        (torch.eye(3)[:2] > 0, "rules out"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask: torch.Tensor, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        classification_loss(random_logits(2), torch.tensor([0, 2]), small_config(), mask)


def test_the_classifier_returns_the_loss_of_its_logits() -> None:
    model, labels = small_model(class_weights=WEIGHTS), torch.tensor([2, 0])
    batch = clips_for(model, [4, 5])
    output = model(*batch, labels=labels)
    expected = by_hand(output.logits.detach().double().numpy(), labels.tolist(), WEIGHTS)
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)
    assert model(*batch).loss is None
    assert model(*batch, labels=labels, return_dict=False)[0] == output.loss


def test_the_gradient_of_the_focal_loss_is_that_of_its_differences() -> None:
    logits = random_logits().double().requires_grad_()
    for gamma in (0.0, 0.5, 1.0, 2.0):
        assert torch.autograd.gradcheck(lambda z, g=gamma: focal_losses(z, torch.tensor(LABELS), g), (logits,))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("margin", [10.0, 16.5, 17.5, 60.0, 1e4])
@pytest.mark.parametrize("label", [0, 1])  # certain and right, certain and wrong
def test_the_focal_loss_is_stable_where_the_model_is_certain(label: int, margin: float, gamma: float) -> None:
    results = []
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor([[margin, 0.0, 0.0]], dtype=dtype).requires_grad_()
        loss = focal_losses(logits, torch.tensor([label]), gamma).sum()
        loss.backward()
        results.append((loss.item(), logits.grad.double()))
    (loss, gradient), (exact, exact_gradient) = results
    assert loss == pytest.approx(exact, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(gradient, exact_gradient, rtol=1e-3, atol=1e-5)


def test_the_focal_loss_keeps_the_digits_of_a_small_remainder() -> None:
    # 1 - p = 2 e^-12 / (1 + 2 e^-12): in float32, 1 - exp(log p) has two digits of it left.
    logits = torch.tensor([[12.0, 0.0, 0.0]])
    rest = 2 * math.exp(-12) / (1 + 2 * math.exp(-12))
    expected = rest**2 * -math.log1p(-rest)
    assert focal_losses(logits, torch.tensor([0]), 2.0).item() == pytest.approx(expected, rel=0.03)
    assert focal_losses(logits.double(), torch.tensor([0]), 2.0).item() == pytest.approx(expected, rel=1e-9)


def test_smoothing_set_after_the_configuration_was_made_is_refused_too() -> None:
    config = small_config(loss="focal")
    config.label_smoothing = 0.1
    with pytest.raises(ValueError, match="label_smoothing"):
        classification_loss(torch.zeros(1, 3), torch.tensor([0]), config)


def test_concordance_by_hand_and_its_loss() -> None:
    values, truth = (torch.randn(9, 2, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    x, y = values.double().numpy().T, truth.double().numpy().T
    by_hand = [
        2 * np.cov(a, b, bias=True)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
        for a, b in zip(x, y, strict=True)
    ]
    assert concordance(values, truth).tolist() == pytest.approx(by_hand, rel=1e-5)
    # Whatever the units, and far from zero.
    assert concordance(1e3 + 2 * values, 1e3 + 2 * truth).tolist() == pytest.approx(by_hand, rel=1e-3)
    config = small_config(problem_type="regression", num_labels=2, loss="ccc")
    values.requires_grad_()
    loss = classification_loss(values, truth, config)
    assert loss.item() == pytest.approx(1 - np.mean(by_hand), rel=1e-5)
    loss.backward()
    a, b = values.detach().double().requires_grad_(), truth.double()
    spread = a.var(dim=0, correction=0) + b.var(dim=0, correction=0) + (a.mean(dim=0) - b.mean(dim=0)) ** 2
    (1 - (2 * ((a - a.mean(dim=0)) * (b - b.mean(dim=0))).mean(dim=0) / spread).mean()).backward()
    torch.testing.assert_close(values.grad.double(), a.grad, rtol=1e-4, atol=1e-6)
    for alike in (torch.ones(3, 2), torch.ones(1, 2)):  # nothing varies: no concordance, and no division by 0
        assert classification_loss(alike.requires_grad_(), torch.ones_like(alike), config).item() == 1


def test_values_and_several_labels_at_once_have_losses_of_their_own() -> None:
    logits = torch.tensor([[0.0, 2.0, -1.0], [1.0, 0.0, 0.5]])
    values = torch.tensor([[0.5, 2.0, 0.0], [1.0, 1.0, 0.5]])
    model = small_model(problem_type="regression")
    assert classification_loss(logits, values, model.config).item() == pytest.approx((0.25 + 1 + 1) / 6)
    output = model(*clips_for(model, [4, 5]), labels=values)
    assert output.loss.item() == pytest.approx((output.logits - values).square().mean().item())
    of_one = small_config(problem_type="regression", num_labels=1)
    assert classification_loss(logits[:, :1], torch.tensor([1.0, 1.0]), of_one).item() == pytest.approx(0.5)
    units = small_model(problem_type="regression", value_ranges=[[1.0, 5.0], [-1.0, 1.0], [0.0, 100.0]], **HEAD)
    raw = units.classifier(units.ser(*(batch := clips_for(units, [4, 5]))).pooler_output)
    expected = torch.tensor([3.0, 0.0, 50.0]) + torch.tensor([2.0, 1.0, 50.0]) * sum(raw) / 2
    torch.testing.assert_close(units(*batch).logits, expected)
    several = torch.tensor([[0, 1, 1], [0, 0, 0]])
    found = classification_loss(logits, several, small_config(problem_type="multi_label_classification"))
    terms = [math.log1p(math.exp(-z if y else z)) for z, y in zip(logits.flatten(), several.flatten(), strict=True)]
    assert found.item() == pytest.approx(sum(terms) / 6)


@pytest.mark.parametrize(
    ("fields", "labels", "named"),
    [
        ({}, torch.full((2, 2), 1 / 2), r"labels .*\(2,\) integers"),
        ({}, torch.tensor([0.0, 1.0]), r"not \(2,\) of torch.float32"),
        ({"problem_type": "regression"}, torch.tensor([0.0, 1.0]), r"\(2, 3\) for problem_type 'regression'"),
        ({"class_weights": [1.0, 1.0]}, torch.tensor([0, 1]), "class_weights has 2 values for 3 labels"),
        ({"class_weights": [1.0] * 4}, torch.tensor([0, 1]), "class_weights has 4 values for 3 labels"),
    ],
)
def test_labels_or_weights_that_do_not_fit_are_refused(fields: dict, labels: torch.Tensor, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        classification_loss(torch.zeros(2, 3), labels, small_config(**fields))
