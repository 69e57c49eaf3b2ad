"""Scores of folds as one table: whole seeds only, and no file against another."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import recall_score

from speech_emotion.cross_validation.score_store import FoldScores
from speech_emotion.cross_validation.score_table import SystemScores, gather_systems, pooled_metrics
from speech_emotion.cross_validation.tables import calibrate_folds
from speech_emotion.evaluation.metrics import ua

from .simulated_scores import all_folds, fold_scores


def toy_system(**options: object) -> SystemScores:
    (system,) = gather_systems(all_folds(**options))
    return system


def test_pooled_clips_are_sorted_and_keep_what_belongs_together() -> None:
    entries = all_folds(seeds=(3, 5))
    (system,) = gather_systems(entries)
    clips = system.test
    assert clips.seeds == [3, 5] and clips.ids == sorted(clips.ids) and len(clips.ids) == 54
    assert len(system.clips) == sum(len(entry.scores) for entry in entries)
    for entry in entries:
        test = entry.select("test")
        places, seed = [clips.ids.index(name) for name in test.clips["id"]], clips.seeds.index(entry.seed)
        assert (clips.truth[places] == test.truth).all()
        assert (clips.predictions[seed, places] == test.predictions).all()
        assert (clips.scores[seed, places] == test.scores).all() and clips.scores.dtype == np.float16


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


def test_without_validation_clips_no_temperature_is_fitted() -> None:
    (system,) = gather_systems([entry.select("test") for entry in all_folds()])
    assert calibrate_folds(system) is None


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
