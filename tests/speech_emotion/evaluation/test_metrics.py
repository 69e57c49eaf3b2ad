"""Metrics against scikit-learn and by hand; the `evaluate` metric offline; tables as text."""

import csv

import evaluate
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from speech_emotion.evaluation import classification_metrics, confusion_counts, markdown_table, ser_metric
from speech_emotion.evaluation.metrics import ua
from speech_emotion.evaluation.tables import latex_escape, latex_table
from speech_emotion.files import csv_text


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("true_classes", [5, 3])  # of two classes there may be no clips
def test_metrics_are_those_of_scikit_learn(seed: int, true_classes: int) -> None:
    random = np.random.default_rng(seed)
    references, predictions = random.integers(0, true_classes, 200), random.integers(0, 5, 200)
    recalls = [(predictions[references == label] == label).mean() for label in range(true_classes)]
    assert classification_metrics(references, predictions, 5) == pytest.approx(
        {
            "wa": (references == predictions).mean(),
            "ua": np.mean(recalls),
            "macro_f1": f1_score(references, predictions, average="macro", zero_division=0),
            "weighted_f1": f1_score(references, predictions, average="weighted", zero_division=0),
        }
    )
    if true_classes == 5:
        assert np.mean(recalls) == pytest.approx(balanced_accuracy_score(references, predictions))
    counts = confusion_counts(references, predictions, 5)
    assert ua(np.stack([counts, counts.T + 1])).tolist() == [ua(counts), ua(counts.T + 1)]


@pytest.mark.parametrize(
    ("references", "predictions", "wa", "ua"),
    [
        ([0, 0, 1], [0, 2, 1], 2 / 3, 0.75),  # class 2 is never true: UA is the mean of two recalls, 1/2 and 1
        ([0] * 90 + [1] * 10, [0] * 100, 0.9, 0.5),  # a majority guess
    ],
)
def test_wa_and_ua_by_hand(references: list[int], predictions: list[int], wa: float, ua: float) -> None:
    metrics = classification_metrics(references, predictions, 4)
    assert (metrics["wa"], metrics["ua"]) == pytest.approx((wa, ua))


def test_confusion_rows_are_true_classes() -> None:
    assert confusion_counts([0, 0, 2], [1, 1, 2], 3).tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("references", "predictions", "what"),
    [([], [], "at least 1"), ([0, 1], [0], "length"), ([0, 3], [0, 1], "reference"), ([0, 1], [0, -1], "prediction")],
)
def test_impossible_inputs_are_refused(references: list[int], predictions: list[int], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        classification_metrics(references, predictions, 3)


def test_evaluate_loads_the_metric_offline() -> None:
    loaded = evaluate.load(ser_metric.__file__)
    expected = ser_metric.SERMetric(keep_in_memory=True).compute(
        predictions=[0, 1, 1], references=[0, 1, 0], num_labels=3
    )
    assert loaded.compute(predictions=[0, 1, 1], references=[0, 1, 0], num_labels=3) == expected
    assert expected["ua"] == pytest.approx(0.75)


def test_cells_are_escaped_in_each_kind_of_table() -> None:
    assert markdown_table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"
    assert list(csv.reader(csv_text(["a"], [['say "x", y'], [None]]).splitlines())) == [["a"], ['say "x", y'], [""]]
    assert latex_escape(r"50 % of a_b & {c} \ ~^ #1 $x") == (
        r"50 \% of a\_b \& \{c\} \textbackslash{} \textasciitilde{}\textasciicircum{} \#1 \$x"
    )
    assert latex_escape("a < b ± −2 – é") == r"a \textless{} b $\pm$ $-$2 -- é"
    # A row that begins with a bracket would be an argument of the \\ above it.
    assert "\n{[}1] & 2 \\\\\n" in latex_table(["a", "b"], [["[1]", 2]], "c", "l")
    long = latex_table(["a", "b"], [["x", 1]] * 46, "c", "l")
    assert long.startswith(r"\begin{longtable}{lr}") and long.count("x & 1") == 46
