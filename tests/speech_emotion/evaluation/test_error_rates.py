"""Errors over letters and words."""

from typing import Any

import numpy as np
import pytest

from speech_emotion.evaluation.error_rates import edit_distance, error_rates


def slow_edit_distance(one: Any, other: Any) -> int:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if not i or not j:
                table[i][j] = i + j
            else:
                replaced = table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
                table[i][j] = min(replaced, table[i - 1][j] + 1, table[i][j - 1] + 1)
    return table[-1][-1]


def test_edit_distance_is_that_of_the_whole_table() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        one, other = ("".join(random.choice(list("ab c"), random.integers(0, 12))) for _ in range(2))
        assert edit_distance(one, other) == slow_edit_distance(one, other), (one, other)
        assert edit_distance(one.split(), other.split()) == slow_edit_distance(one.split(), other.split())


@pytest.mark.parametrize(
    ("reference", "hypothesis", "cer", "wer"),
    [
        ("a b", "a b", 0.0, 0.0),
        ("a b", "", 1.0, 1.0),
        ("ab", "a b", 1 / 2, 2.0),  # one letter too many, but two words for one
        ("a b", "  a   b ", 0.0, 0.0),
        ("a", "abcd", 3.0, 1.0),
    ],
)
def test_error_rates_of_one_clip(reference: str, hypothesis: str, cer: float, wer: float) -> None:
    rates = error_rates([reference], [hypothesis])
    assert (rates.cer, rates.wer) == (pytest.approx(cer), pytest.approx(wer))


def test_errors_are_pooled_over_clips_and_not_averaged() -> None:
    rates = error_rates(["a" * 9, "b"], ["a" * 9, "c"])
    assert rates.cer == pytest.approx(1 / 10)
    assert (rates.clips, rates.characters, rates.words, rates.word_errors) == (2, 10, 2, 1)


@pytest.mark.parametrize(
    ("references", "hypotheses", "message"),
    [([], [], "at least 1"), (["a"], ["a", "b"], "1 and 2"), (["a", " "], ["", ""], "Reference 1 has no word")],
)
def test_rates_of_nothing_are_refused(references: list[str], hypotheses: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        error_rates(references, hypotheses)
