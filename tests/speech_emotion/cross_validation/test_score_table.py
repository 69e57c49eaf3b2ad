"""Scores of folds as one table: pooled as scikit-learn has it, whole seeds only, and no file against another."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

from speech_emotion.cross_validation.report_table import mean_sd
from speech_emotion.cross_validation.score_store import FoldScores
from speech_emotion.cross_validation.score_table import SystemScores, gather_systems, pooled_metrics, truth_and_scores
from speech_emotion.cross_validation.tables import calibrate_folds
from speech_emotion.evaluation.calibration import (
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from speech_emotion.evaluation.metrics import ua

from .simulated_scores import all_folds, fold_scores


def toy_system(**options: object) -> SystemScores:
    (system,) = gather_systems(all_folds(**options))
    return system


def test_pooled_figures_are_those_of_all_test_clips_together() -> None:
    entries = all_folds(seeds=(3, 5))
    system = gather_systems(entries)[0]
    clips = system.test
    assert clips.seeds == [3, 5] and clips.ids == sorted(clips.ids) and len(clips.ids) == 54
    assert len(system.clips) == sum(len(entry.scores) for entry in entries)
    for place, seed in enumerate(clips.seeds):
        tests = [entry.select("test") for entry in entries if entry.seed == seed]
        truth = np.concatenate([test.truth for test in tests])
        predictions = np.concatenate([test.predictions for test in tests])
        assert pooled_metrics(clips)["ua"][place] == pytest.approx(balanced_accuracy_score(truth, predictions))
        assert pooled_metrics(clips)["wa"][place] == pytest.approx(accuracy_score(truth, predictions))
        by_fold = [balanced_accuracy_score(test.truth, test.predictions) for test in tests]
        assert pooled_metrics(clips, "fold")["ua"][place] == pytest.approx(by_fold)
        names = [clip for test in tests for clip in test.clips["id"]]
        assert (clips.truth[[clips.ids.index(name) for name in names]] == truth).all()
        assert (clips.predictions[place][[clips.ids.index(name) for name in names]] == predictions).all()
    truth, scores = truth_and_scores(clips.table)
    assert truth.tolist() == 2 * clips.truth.tolist()
    assert (scores.argmax(axis=1) == clips.predictions.ravel()).all() and scores.dtype == np.float16


def test_summed_counts_give_the_mean_over_seeds() -> None:
    clips = toy_system(seeds=(0, 1, 2)).test
    names, counts = clips.speaker_seed_counts()
    assert names == [f"s{number}" for number in range(6)] and counts.sum() == 3 * 54
    assert ua(counts.sum(axis=(0, 1))) == pytest.approx(pooled_metrics(clips)["ua"].mean())
    assert (counts.sum(axis=1) == clips.counts()).all()


def test_ua_of_a_group_is_over_the_classes_of_the_group() -> None:
    clips = toy_system(seeds=(0,), clips=2).test  # two clips each, so that every speaker lacks the third class
    for group, figure in zip(clips.sizes("speaker"), pooled_metrics(clips, "speaker")["ua"][0], strict=True):
        chosen = [index for index, speaker in enumerate(clips.speakers) if speaker == group]
        truth, predictions = clips.truth[chosen], clips.predictions[0][chosen]
        expected = recall_score(truth, predictions, labels=[0, 1], average=None, zero_division=0).mean()
        assert figure == pytest.approx(expected)


def test_clips_of_whom_something_is_unknown() -> None:
    entry = fold_scores()
    entry.clips["sex"][0] = entry.clips["speaker"][0] = None
    clips = gather_systems([entry])[0].test
    assert clips.sizes("sex") == {"f": 8, "m": 9, "unknown": 1}
    assert clips.counts("sex").sum(axis=(0, 2, 3)).tolist() == [8, 9, 1]
    assert clips.speakers[0] is None
    with pytest.raises(ValueError, match="s0_0"):
        clips.speaker_seed_counts()


def test_spread_over_seeds_has_ddof_1() -> None:
    assert mean_sd([0.1, 0.2, 0.6]) == pytest.approx((0.3, np.std([0.1, 0.2, 0.6], ddof=1)))
    assert mean_sd([0.4]).sd is None
    with pytest.raises(ValueError, match="no seed"):
        mean_sd([])


def test_each_fold_has_the_temperature_of_its_validation_clips() -> None:
    entries = all_folds(seeds=(0, 1), clips=12)
    found = calibrate_folds(gather_systems(entries)[0])
    assert found.temperatures.shape == (2, 3)
    validation = entries[1].select("validation")
    assert found.temperatures[0, 1] == fit_temperature(validation.truth, validation.scores)
    tests = [entry.select("test") for entry in entries[:3]]
    scaled = [apply_temperature(test.scores, t) for test, t in zip(tests, found.temperatures[0], strict=True)]
    truth = np.concatenate([test.truth for test in tests])
    assert found.ece_after[0] == pytest.approx(expected_calibration_error(truth, np.concatenate(scaled)))
    assert found.nll_after[0] == pytest.approx(negative_log_likelihood(truth, np.concatenate(scaled)))
    without = gather_systems([entry.select("test") for entry in entries])
    assert calibrate_folds(without[0]) is None


def test_missing_folds_and_seeds_are_named_and_left_out() -> None:
    entries = all_folds("whole", seeds=(0, 1, 2))
    entries += [entry for entry in all_folds("part", seeds=(0, 1)) if (entry.seed, entry.fold) != (1, 2)]
    part, whole = gather_systems(entries)
    assert whole.seeds == [0, 1, 2] and whole.missing == {} and whole.missing_text == ""
    assert part.seeds == [0] and part.missing == {1: [2], 2: [0, 1, 2]}
    assert part.missing_text == "seeds 1: folds 2; seeds 2: folds 0-2" and part.finished_text == "5 of 9"
    assert len(part.test.scores) == 1
    assert part.hours == pytest.approx(5 * 0.01)
    (system,) = gather_systems(all_folds("whole", seeds=(0, 1, 2), about={"folds": 9}))
    assert system.missing_text == "seeds 0-2: folds 3-8" and system.finished_text == "9 of 27"


@pytest.mark.parametrize("about", [{"folds": 4}, {"settings": {"condition": {"num_folds": 4}}}])
def test_a_fold_that_no_system_has_is_missed_where_files_tell_their_number(about: dict[str, Any]) -> None:
    system = toy_system(seeds=(0,), about=about)
    assert system.seeds == [] and system.missing == {0: [3]}
    with pytest.raises(ValueError, match="no seed is complete"):
        _ = system.test


def settings(**values: str) -> dict[str, Any]:
    return {"about": {"settings": values}}


def twice_tested() -> list[FoldScores]:
    same_speakers = fold_scores(fold=1)
    object.__setattr__(same_speakers, "fold", 0)
    return [fold_scores(fold=1), same_speakers]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: [fold_scores(), fold_scores(seed=1, **settings(dropout="0.1"))], "2 different settings"),
        (lambda: [fold_scores(), fold_scores(corpus="other")], "one corpus"),
        (lambda: [fold_scores(), fold_scores()], "there twice"),
        (lambda: all_folds("one") + all_folds("two", clips=8), "different clips"),
        (lambda: all_folds(seeds=(0,)) + all_folds(seeds=(1,), clips=8), "different clips"),
        (lambda: [fold_scores(), fold_scores(fold=1, labels=["fear", "anger", "neutral"])], "different emotions"),
        (twice_tested, "tested more than once"),
        *(
            (lambda name=name, second=second: [fold_scores(**settings(**{name: "one"})),
                                               fold_scores(**second, **settings(**{name: "other"}))], what)
            for name, what in (("fold", "fold 0 of .* divide"), ("audio", "fold 0 of .* recordings"))
            for second in ({"seed": 1}, {"system": "other"})
        ),
    ],
)  # fmt: skip
def test_files_that_contradict_each_other_are_refused(make: Callable[[], list[FoldScores]], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        _ = [system.test for system in gather_systems(make())]


def test_files_that_tell_nothing_of_their_recordings_contradict_nobody() -> None:
    divided = [fold_scores(fold=fold, **settings(fold=f"clips of {fold}")) for fold in (0, 1)]
    assert len(gather_systems(divided)) == 1
    assert len(gather_systems([fold_scores(**settings(audio="one")), fold_scores(system="other", **settings())])) == 2
