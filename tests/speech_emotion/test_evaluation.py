"""Metrics against scikit-learn and by hand; the `evaluate` metric offline; tables."""

import evaluate
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from speech_emotion.evaluation import SERMetric, classification_metrics, confusion_counts, markdown_table, ser_metric


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    references, predictions = random.integers(0, 5, 200), random.integers(0, 5, 200)
    metrics = classification_metrics(references, predictions, 5)
    assert metrics["wa"] == pytest.approx((references == predictions).mean())
    assert metrics["ua"] == pytest.approx(balanced_accuracy_score(references, predictions))
    assert metrics["macro_f1"] == pytest.approx(f1_score(references, predictions, average="macro"))
    assert metrics["weighted_f1"] == pytest.approx(f1_score(references, predictions, average="weighted"))


def test_ua_leaves_out_classes_without_references() -> None:
    # Class 2 is predicted once but never true: UA is the mean of two recalls, 1/2 and 1.
    metrics = classification_metrics([0, 0, 1], [0, 2, 1], 4)
    assert metrics["ua"] == pytest.approx(0.75)
    assert metrics["wa"] == pytest.approx(2 / 3)


def test_majority_guess_has_high_wa_and_chance_ua() -> None:
    metrics = classification_metrics([0] * 90 + [1] * 10, [0] * 100, 2)
    assert (metrics["wa"], metrics["ua"]) == (0.9, 0.5)


def test_confusion_rows_are_true_classes() -> None:
    assert confusion_counts([0, 0, 2], [1, 1, 2], 3).tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([], [], "at least 1"),
        ([0, 1], [0], "one length"),
        ([0, 3], [0, 1], "reference lies outside"),
        ([0, 1], [0, -1], "prediction lies outside"),
    ],
)
def test_impossible_inputs_are_refused(references: list[int], predictions: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_metrics(references, predictions, 3)


def test_evaluate_loads_the_metric_offline() -> None:
    loaded = evaluate.load(ser_metric.__file__)
    expected = SERMetric(keep_in_memory=True).compute(predictions=[0, 1, 1], references=[0, 1, 0], num_labels=3)
    assert loaded.compute(predictions=[0, 1, 1], references=[0, 1, 0], num_labels=3) == expected
    assert expected["ua"] == pytest.approx(0.75)


def test_bars_in_cells_do_not_break_markdown() -> None:
    assert markdown_table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"
