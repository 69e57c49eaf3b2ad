"""Calibration error, temperature and abstention: by hand, by brute force and on scores whose calibration is known."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from speech_emotion.evaluation.calibration import (
    abstention_curve,
    apply_temperature,
    calibration_metrics,
    expected_calibration_error,
    fit_temperature,
    log_scores,
    negative_log_likelihood,
    reliability,
)
from speech_emotion.evaluation.metrics import classification_metrics


def overconfident(clips: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from probabilities, and those probabilities sharpened as by a temperature of 1 / 2.5."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(clips, 4))
    truth = (softmax(logits, axis=1).cumsum(axis=1) > random.random((clips, 1))).argmax(axis=1)
    return truth, softmax(logits * 2.5, axis=1)


def test_calibration_error_by_hand() -> None:
    scores = np.array([[0.95, 0.05], [0.92, 0.08], [0.45, 0.55], [0.4, 0.6]])
    truth = np.array([0, 1, 1, 1])
    # Bins of a tenth: 0.9 to 1.0 holds two clips, one right; 0.5 to 0.6 the others, both right; 0.6 is its upper end.
    table = reliability(truth, scores, bins=10)
    assert table.clips.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert table.error == pytest.approx(0.5 * abs(1 - 0.575) + 0.5 * abs(0.5 - 0.935))


def test_certain_scores_belong_to_the_last_bin() -> None:
    table = reliability(np.array([0, 1]), np.array([[1, 0], [1, 0]], dtype=np.float16))
    assert table.clips[-1] == 2 and table.error == 0.5


def test_temperature_recovers_what_sharpened_the_scores() -> None:
    truth, scores = overconfident()
    temperature = fit_temperature(truth, scores)
    assert temperature == pytest.approx(2.5, rel=0.1)
    losses = [log_loss(truth, apply_temperature(scores, one)) for one in np.geomspace(1, 6, 25)]
    plain = fit_temperature(truth, scores, prior_clips=0)
    assert negative_log_likelihood(truth, scores, plain) <= min(losses) + 1e-9
    assert temperature == pytest.approx(plain, rel=2e-3)  # two clips among thousands
    after = apply_temperature(scores, temperature)
    assert (after.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert expected_calibration_error(truth, after) < 0.03 < 0.15 < expected_calibration_error(truth, scores)


def test_loss_is_that_of_scikit_learn() -> None:
    truth, scores = overconfident(100)
    assert negative_log_likelihood(truth, scores) == pytest.approx(log_loss(truth, scores, labels=range(4)))


@pytest.mark.parametrize("truth", [[0, 1], [0, 0]], ids=["two classes", "one class"])
def test_right_clips_make_no_more_certain_than_their_number_allows(truth: list[int]) -> None:
    scores = np.where(np.eye(2)[truth] > 0, 0.6, 0.4)
    # The target of two clips is (2 + 1) / (2 + 2): odds of 3, which 0.6 : 0.4 have at T = ln 1.5 / ln 3.
    assert fit_temperature(np.array(truth), scores) == pytest.approx(np.log(1.5) / np.log(3), rel=1e-4)
    for clips in (2, 50, 5000):
        many, certain = np.zeros(clips, int), np.tile([1 - 1e-9, 1e-9], (clips, 1))
        after = apply_temperature(certain, fit_temperature(many, certain))
        assert after[0, 0] == pytest.approx((clips + 1) / (clips + 2), rel=1e-3)
    assert fit_temperature(np.array(truth), scores, prior_clips=0) == pytest.approx(0.05, rel=1e-3)  # the bound


def test_wrong_clips_make_evenness_at_most() -> None:
    assert fit_temperature(np.ones(50, int), np.tile([0.9, 0.1], (50, 1))) == pytest.approx(20, rel=1e-3)


def test_figures_before_and_after() -> None:
    truth, scores = overconfident()
    found = calibration_metrics(truth, scores, 2.5)
    after = apply_temperature(scores, 2.5)
    assert found["ece_before"] == expected_calibration_error(truth, apply_temperature(scores, 1.0))
    assert found["ece_after"] == expected_calibration_error(truth, after) < 0.03 < found["ece_before"]
    assert found["nll_after"] == pytest.approx(log_loss(truth, after)) and found["nll_after"] < found["nll_before"]


def test_scores_that_float16_rounds_to_zero_stay_finite() -> None:
    wrong = np.array([[1.0, 0.0]] * 3, dtype=np.float16)
    assert log_scores(wrong)[0, 1] == pytest.approx(np.log(2.0**-25))
    assert log_scores(np.array([[1e-30]]))[0, 0] == pytest.approx(np.log(1e-30))
    assert np.float16(2.0**-25 * 0.99) == 0 and np.float16(2.0**-25 * 1.01) > 0
    assert negative_log_likelihood(np.array([1, 1, 0]), wrong) == pytest.approx(2 / 3 * 25 * np.log(2), rel=1e-6)
    assert np.isfinite(fit_temperature(np.array([1, 1, 0]), wrong))
    with pytest.raises(ValueError, match="positive"):
        apply_temperature(wrong, 0)


def test_abstention_by_brute_force() -> None:
    truth, scores = overconfident(60)
    scores = scores.round(2)  # ties
    curve = abstention_curve(truth, scores)
    confidence = scores.max(axis=1)
    assert curve.thresholds.tolist() == sorted(set(confidence), reverse=True)
    for index, threshold in enumerate(curve.thresholds):
        answered = confidence >= threshold
        expected = classification_metrics(truth[answered], scores[answered].argmax(axis=1), 4)
        assert curve.coverage[index] == pytest.approx(answered.mean())
        assert (curve.accuracy[index], curve.ua[index]) == pytest.approx((expected["wa"], expected["ua"]))


def test_coverage_is_at_least_what_is_asked_for() -> None:
    curve = abstention_curve(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.6, 0.4]]))
    assert [curve.coverage[curve.at(share)] for share in (0.25, 0.5, 0.75, 0.76, 1.0)] == [0.25, 0.75, 0.75, 1, 1]
    with pytest.raises(ValueError, match="coverage"):
        curve.at(0)


@pytest.mark.parametrize("function", [reliability, abstention_curve, fit_temperature])
def test_scores_of_other_clips_are_refused(function: object) -> None:
    for truth, scores in (([], np.empty((0, 2))), ([0, 1], np.ones((1, 2))), ([0], np.ones(1))):
        with pytest.raises(ValueError, match="at least 1 clip"):
            function(np.array(truth, dtype=int), scores)
