"""Speaker bootstrap, paired tests, Holm and permutation: against scipy, scikit-learn and brute force."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from speech_emotion.evaluation.intervals import speaker_bootstrap, speaker_bootstrap_difference
from speech_emotion.evaluation.metrics import ua, wa
from speech_emotion.evaluation.significance import (
    holm,
    mcnemar,
    permutation_control,
    permute_labels,
    wilcoxon_over_speakers,
)


def test_bootstrap_equals_brute_force_over_all_resamples() -> None:
    # Of three speakers there are 27 resamples, all equally likely: the interval's ends are among their figures.
    counts = np.random.default_rng(1).integers(0, 9, (3, 2, 2)) + 1
    figures = [float(ua(counts[list(drawn)].sum(axis=0))) for drawn in itertools.product(range(3), repeat=3)]
    estimate = speaker_bootstrap(counts, resamples=40_000)
    assert estimate.value == pytest.approx(ua(counts.sum(axis=0)))
    exact = np.quantile(figures, [0.025, 0.975], method="inverted_cdf")
    assert (estimate.low, estimate.high) == pytest.approx(tuple(exact))


def test_bootstrap_leaves_out_classes_that_a_resample_lacks() -> None:
    # The second class is one speaker's alone, all wrong. Drawn without her, UA is the first class's recall, 1.
    counts = np.array([[[4, 0], [4, 0]], [[4, 0], [0, 0]], [[4, 0], [0, 0]]])
    estimate = speaker_bootstrap(counts)
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.5, 1.0)


def test_bootstrap_difference_is_paired() -> None:
    # Speakers differ much, the systems by one clip of ten for each: paired, that is certain.
    hits = np.array([1, 3, 5, 7, 9])
    first = np.stack([[[n + 1, 9 - n], [9 - n, n + 1]] for n in hits])
    second = np.stack([[[n, 10 - n], [10 - n, n]] for n in hits])
    paired = speaker_bootstrap_difference(first, second)
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.1, 0.1, 0.1))
    alone = speaker_bootstrap(first)
    assert alone.high - alone.low > 0.3
    reversed_order = speaker_bootstrap_difference(second, first, wa)
    assert reversed_order.value == pytest.approx(-0.1)


def test_bootstrap_is_the_same_for_the_same_seed() -> None:
    counts = np.random.default_rng(0).integers(1, 9, (10, 3, 3))
    assert speaker_bootstrap(counts, seed=4) == speaker_bootstrap(counts, seed=4)
    assert speaker_bootstrap(counts, resamples=50, seed=4) != speaker_bootstrap(counts, resamples=50, seed=5)


@pytest.mark.parametrize(
    ("function", "counts", "what"),
    [
        (speaker_bootstrap, [np.ones((1, 2, 2))], "at least 2"),
        (speaker_bootstrap, [np.array([np.ones((2, 2)), np.zeros((2, 2))])], "no clips"),
        (speaker_bootstrap_difference, [np.ones((2, 2, 2)), np.ones((3, 2, 2))], "same speakers"),
    ],
)
def test_bootstrap_refuses_what_it_cannot_resample(function: Callable, counts: list, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        function(*counts)


def test_mcnemar_of_equal_systems_and_of_other_clips() -> None:
    truth, first = np.zeros(9, dtype=int), np.arange(9) % 2
    assert mcnemar(truth, first, first).p == 1
    with pytest.raises(ValueError, match="same clips"):
        mcnemar(truth, first, first[:5])


@pytest.mark.parametrize(("seeds_of_first", "seeds_of_second"), [(1, 1), (3, 3), (2, 3), (1, 3)])
def test_mcnemar_of_several_seeds_tries_all_signs(seeds_of_first: int, seeds_of_second: int) -> None:
    random = np.random.default_rng(seeds_of_first)
    truth, clips = random.integers(0, 2, 10), 10
    first, second = random.integers(0, 2, (seeds_of_first, clips)), random.integers(0, 2, (seeds_of_second, clips))
    shares = [(predictions == truth).mean(axis=0) for predictions in (first, second)]
    weights = shares[0] - shares[1]
    sums = np.array([(np.abs(weights) * signs).sum() for signs in itertools.product((-1, 1), repeat=clips)])
    result = mcnemar(truth, first, second)  # of one seed each this is the binomial test of the discordant clips
    assert result.p == pytest.approx(np.mean(np.abs(sums) >= abs(weights.sum()) - 1e-9))
    pairs = [((one == truth) & (other != truth)).sum() for one in first for other in second]
    assert result.only_first == pytest.approx(np.mean(pairs))
    assert result.only_first - result.only_second == pytest.approx(weights.sum())


def test_more_seeds_of_a_random_system_do_not_make_it_another() -> None:
    # Votes of three trainings would be better than each; the test is of single trainings, which are equally good.
    random = np.random.default_rng(1)
    truth = np.zeros(3000, dtype=int)
    steady = np.broadcast_to((random.random(3000) > 0.7).astype(int), (3, 3000))
    varied = (random.random((3, 3000)) > 0.7).astype(int)
    assert (np.median(varied, axis=0) == truth).mean() > (steady[0] == truth).mean() + 0.05
    assert mcnemar(truth, varied, steady).p > 0.05


def test_wilcoxon_without_ties_is_that_of_scipy() -> None:
    first, second = np.random.default_rng(3).normal(size=(2, 24))
    assert wilcoxon_over_speakers(first, second) == pytest.approx(
        stats.wilcoxon(first - second, method="exact").pvalue
    )


def test_wilcoxon_with_ties_and_zeros_is_exact_for_few_speakers() -> None:
    differences = np.array([0.2, 0.2, 0.0, 0.1, -0.1, 0.3, 0.4])
    ranks = stats.rankdata(np.abs(differences))  # Pratt: zeros are ranked, then count for neither side
    observed = abs((ranks * np.sign(differences)).sum())
    signs = itertools.product((-1, 1), repeat=7)
    sums = [abs((ranks * np.abs(np.sign(differences)) * sign).sum()) for sign in signs]
    expected = np.mean(np.array(sums) >= observed - 1e-12)
    assert wilcoxon_over_speakers(differences, np.zeros(7)) == pytest.approx(expected)


@pytest.mark.parametrize("speakers", [13, 24])
def test_wilcoxon_with_ties_is_the_normal_approximation_for_more_speakers(speakers: int) -> None:
    differences = np.random.default_rng(4).normal(0.05, 0.1, speakers).round(1)
    expected = stats.wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue
    assert wilcoxon_over_speakers(differences, np.zeros(speakers)) == pytest.approx(expected)


def test_wilcoxon_of_equal_or_single_speakers_says_nothing() -> None:
    third = np.array([0.1 + 0.2, 0.5])  # 0.1 + 0.2 is not 0.3 to the last bit, which is no preference
    assert wilcoxon_over_speakers(third, np.array([0.3, 0.5])) == 1
    assert wilcoxon_over_speakers(np.array([0.9]), np.array([0.1])) == 1
    with pytest.raises(ValueError, match="two figures"):
        wilcoxon_over_speakers(np.zeros(2), np.zeros(3))


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([1.2])


def test_permutation_control_equals_permuting_clips() -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 3, 60)
    predictions = np.where(random.random(60) < 0.15, truth, random.integers(0, 3, 60))
    speakers = random.integers(0, 4, 60)
    result = permutation_control(truth, predictions, 3, speakers.tolist())
    by_hand = []
    for trial in range(1000):
        permuted = np.array(permute_labels(truth.tolist(), speakers.tolist(), trial))
        by_hand.append(np.mean([(predictions[permuted == label] == label).mean() for label in range(3)]))
    assert result.value == pytest.approx(balanced_accuracy_score(truth, predictions))
    assert result.expected == pytest.approx(np.mean(by_hand), abs=0.01)
    assert result.p == pytest.approx(np.mean(np.array(by_hand) >= result.value - 1e-12), abs=0.05)


def test_knowing_the_speaker_only_is_chance_within_speakers() -> None:
    # Each speaker has one emotion mostly, as in a corpus that confounds the two; the system knows the speaker.
    truth = np.array([0] * 9 + [1] + [1] * 9 + [0])
    speakers = ["a"] * 10 + ["b"] * 10
    predictions = np.repeat([0, 1], 10)
    assert permutation_control(truth, predictions, 2).p < 0.01
    assert permutation_control(truth, predictions, 2, speakers).p == 1
    with pytest.raises(ValueError, match="same clips"):
        permutation_control(truth, predictions[:3], 2)


def test_permuted_labels_stay_with_their_speaker() -> None:
    labels, speakers = list("aabbcacb"), list("xxxxyyyy")
    permuted = permute_labels(labels, speakers, seed=1)
    assert permuted == permute_labels(labels, speakers, seed=1) != permute_labels(labels, speakers, seed=2)
    assert sorted(permuted[:4]) == sorted(labels[:4]) and sorted(permuted[4:]) == sorted(labels[4:])
    assert permute_labels(["a"], ["x"], 0) == ["a"] and permute_labels([], [], 0) == []
    with pytest.raises(ValueError, match="label and a speaker"):
        permute_labels(labels, speakers[:2], 0)
