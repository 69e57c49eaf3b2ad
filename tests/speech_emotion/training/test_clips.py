"""Sampler, statistics, class weights, splits and the cache of features: what a training is fed with."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
import torch

from dataset_scripts import Fold, load_corpus, save_fold, speaker_folds
from feature_extraction import DeepSpeechFeatureExtractor, SERFeatureExtractor
from modeling_ser.feature_statistics import normalization
from speech_emotion.training import feature_cache
from speech_emotion.training.arguments import DataArguments
from speech_emotion.training.batches import FeatureCollator, LengthGroupedSampler, NoLoneItem
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.splits import (
    balanced_weights,
    choose_fold,
    feature_statistics,
    keep_labels,
    make_splits,
    name_unknown_speakers,
    one_clip,
)
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
LABELS = ["anger", "fear", "neutral"]


@pytest.fixture(scope="module")
def rows(polish_dir: Path, cache_dir: Path) -> datasets.Dataset:
    return load_corpus("polish", data_dir=polish_dir, cache_dir=cache_dir)


# Batches -------------------------------------------------------------------------------------------------------------


def test_every_clip_comes_once_per_epoch_and_epochs_differ() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, 203)
    sampler = LengthGroupedSampler(lengths, batch_size=16, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(203))
    assert first != second
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(LengthGroupedSampler(lengths, batch_size=16, seed=4)) != first
    with pytest.raises(ValueError, match="at least 1"):
        LengthGroupedSampler([], batch_size=4, seed=0)


def test_batches_hold_clips_of_like_length_and_the_rest_comes_last() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, 16 * 40 + 5)
    order = np.array(list(LengthGroupedSampler(lengths, batch_size=16, seed=0)))
    batches = [lengths[order[i : i + 16]] for i in range(0, 640, 16)]
    padding = 1 - sum(batch.sum() for batch in batches) / sum(16 * batch.max() for batch in batches)
    random = np.random.default_rng(1).permutation(640).reshape(-1, 16)
    padding_at_random = 1 - lengths[random].sum() / (16 * lengths[random].max(axis=1)).sum()
    assert padding < padding_at_random / 3
    assert len(order) == 645


@pytest.mark.parametrize(("items", "sizes"), [(5, [2, 3]), (4, [2, 2]), (1, [1]), (3, [3])])
def test_no_item_is_left_alone_where_it_need_not_be(items: int, sizes: list[int]) -> None:
    batches = NoLoneItem(range(items), batch_size=2, drop_last=False)
    assert [len(batch) for batch in batches] == sizes and len(batches) == len(sizes)


@pytest.mark.parametrize(
    ("labels", "joined"), [((2, 0), [2, 0]), (([4], [1, 2]), [[4, -100], [1, 2]])], ids=["classes", "transcripts"]
)
def test_collated_padding_is_zero_and_masked(labels: tuple[object, object], joined: list[object]) -> None:
    arrays = (np.arange(6, dtype=np.float32), np.arange(2, dtype=np.float32))
    clips = [{"input_features": array, "labels": one} for array, one in zip(arrays, labels, strict=True)]
    batch = FeatureCollator(2)(clips)
    assert batch["input_features"].tolist() == [[[0, 1], [2, 3], [4, 5]], [[0, 1], [0, 0], [0, 0]]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == joined
    assert (batch["input_features"].dtype, batch["labels"].dtype) == (torch.float32, torch.int64)


# Statistics and weights ----------------------------------------------------------------------------------------------


def test_statistics_are_those_of_all_frames_at_once() -> None:
    random = np.random.default_rng(0)
    clips = [random.normal(-80, 3, (frames, 4)).astype(np.float32) for frames in (1, 7, 100)]
    mean, std = feature_statistics((clip.reshape(-1) for clip in clips), 4)
    frames = np.concatenate(clips).astype(np.float64)
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-6)
    *joined, by_clip = normalization(
        one_clip(clip, 4) for clip in [*clips, clips[0][:0]]
    )  # an empty one tells nothing
    assert [one.tolist() for one in joined] == [mean.tolist(), std.tolist()]
    rows = np.stack([np.concatenate([clip.mean(axis=0), clip.std(axis=0)]) for clip in clips])
    np.testing.assert_allclose(np.stack(by_clip), [rows.mean(axis=0), rows.std(axis=0)], rtol=1e-4)
    assert feature_statistics([np.full(10, 7.0)], 2)[1].tolist() == [1.0, 1.0]  # constant features keep their scale


@pytest.mark.parametrize("clips", [[], [np.array([1.0, np.nan])]])
def test_statistics_of_nothing_or_nan_are_refused(clips: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"no frames|not finite"):
        feature_statistics(clips, 2)


def test_class_weights_have_mean_one_over_clips() -> None:
    labels = [0] * 50 + [1] * 10 + [2] * 5
    weights = balanced_weights(labels, 3)
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1.0)
    assert weights[0] * 50 == pytest.approx(weights[2] * 5)
    with pytest.raises(ValueError, match="Class 3 has no training clip"):
        balanced_weights(labels, 4)


# Splits --------------------------------------------------------------------------------------------------------------


def test_splits_hold_the_folds_clips_and_disjoint_speakers(rows: datasets.Dataset) -> None:
    fold = choose_fold(rows, DataArguments(corpus="polish", fold=1))
    splits = make_splits(rows, cache_features(rows, SERFeatureExtractor()), fold, LABELS)
    truth = dict(zip(rows["id"], rows["label"], strict=True))
    for name, clips in splits.items():
        assert tuple(clips.ids) == fold.splits[name]
        assert [LABELS[label] for label in clips.labels] == [truth[clip] for clip in clips.ids]
    assert {len(set(clips.speakers)) for _, clips in splits.items()} == {3, 1}
    assert not set(splits.train.speakers) & (set(splits.validation.speakers) | set(splits.test.speakers))


def test_clips_of_unknown_speakers_are_divided_only_where_that_is_asked_for(
    rows: datasets.Dataset, tmp_path: Path
) -> None:
    nobody = rows.remove_columns("speaker").add_column("speaker", [None] * len(rows))
    with pytest.raises(ValueError, match=r"is unknown.*--unsafe_split true"):
        choose_fold(nobody, DataArguments(corpus="polish"))
    unknown = name_unknown_speakers(nobody)
    assert set(unknown["speaker"]) == {"unknown"} and name_unknown_speakers(rows) is rows
    fold = choose_fold(unknown, DataArguments(corpus="polish", unsafe_split=True, num_folds=5, fold=2))
    assert fold.name == "unsafe-5-fold-2" and sum(map(len, fold.splits.values())) == len(rows)
    with pytest.raises(ValueError, match="There is no fold 10: --unsafe_split gives 10"):
        choose_fold(unknown, DataArguments(corpus="polish", unsafe_split=True, fold=10))
    with pytest.raises(ValueError, match="is in train and in"):
        save_fold(fold, unknown, tmp_path / "fold.jsonl")
    save_fold(fold, unknown, tmp_path / "fold.jsonl", shares_speakers=True)
    given = DataArguments(corpus="polish", unsafe_split=True, folds_file=str(tmp_path / "fold.jsonl"))
    assert choose_fold(unknown, given).splits == fold.splits


def test_a_speaker_in_two_splits_is_caught_where_the_fold_is_used(rows: datasets.Dataset) -> None:
    fold = speaker_folds(rows)[0]
    leaky = Fold(fold.train[:-1], fold.validation, (*fold.test, fold.train[-1]))
    with pytest.raises(ValueError, match=r"the speaker 'm5' is in train and in test"):
        make_splits(rows, cache_features(rows, SERFeatureExtractor()), leaky, LABELS)


def test_labels_choose_clips_and_the_order_of_classes(rows: datasets.Dataset) -> None:
    kept, labels = keep_labels(rows, ["neutral", "anger"])
    assert labels == ["neutral", "anger"]
    assert set(kept["label"]) == {"neutral", "anger"}
    assert len(kept) == len(rows) * 2 // 3


@pytest.mark.parametrize("labels", [["anger"], ["anger", "anger"]])
def test_fewer_than_two_labels_are_refused(rows: datasets.Dataset, labels: list[str]) -> None:
    with pytest.raises(ValueError, match="At least two different labels"):
        keep_labels(rows, labels)


# Cache ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SERFeatureExtractor, DeepSpeechFeatureExtractor])
def test_cached_features_equal_fresh_ones(rows: datasets.Dataset, kind: type) -> None:
    extractor = kind()
    cached = cache_features(rows, extractor)
    assert cached["id"][:].tolist() == rows["id"][:]
    for index in (0, 17, len(rows) - 1):
        fresh = extractor.extract([extractor.load_audio(rows[index]["audio"])])["input_features"][0].numpy()
        np.testing.assert_array_equal(cached[index]["input_features"].reshape(-1, extractor.feature_size), fresh)
        assert cached[index]["num_frames"] == len(fresh)


def test_the_cache_is_found_again_and_not_for_other_settings(
    rows: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cache_features(rows, SERFeatureExtractor(hop_length=320))

    def fail(self: SERFeatureExtractor, *args: object, **kwargs: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(SERFeatureExtractor, "extract", fail)
    assert cache_features(rows, SERFeatureExtractor(hop_length=320))._fingerprint == first._fingerprint
    with pytest.raises(AssertionError, match="computed again"):
        cache_features(rows, SERFeatureExtractor(hop_length=300))
    monkeypatch.setattr(feature_cache, "CACHE_VERSION", 999)
    with pytest.raises(AssertionError, match="computed again"):
        cache_features(rows, SERFeatureExtractor(hop_length=320))


def test_half_precision_features_stay_half(rows: datasets.Dataset) -> None:
    half = cache_features(rows, SERFeatureExtractor(feature_dtype="float16"))[3]["input_features"]
    whole = cache_features(rows, SERFeatureExtractor())[3]["input_features"]
    # datasets reads them as float32, which holds every float16 exactly.
    np.testing.assert_array_equal(half, whole.astype(np.float16).astype(np.float32))
    assert (half != whole).any()


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {"input": "log-mel", "size": 80, "window": 480_000},
        {"input": "waveform", "size": 1, "normalize": True, "shortest": 400},
    ],
)
def test_what_waits_in_memory_is_bounded_also_for_an_encoders_input(
    entry: dict[str, Any] | None, rows: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    compute = datasets.Dataset.map

    def watched(table: datasets.Dataset, *args: Any, **options: Any) -> datasets.Dataset:
        written.append(options["writer_batch_size"])
        return compute(table, *args, **options)

    monkeypatch.setattr(datasets.Dataset, "map", watched)
    monkeypatch.setattr(feature_cache, "WAITING_BYTES", 200_000)
    streams = {} if entry is None else {"streams": ("encoder",), "encoders": {"encoder": entry}}
    cached = cache_features(rows, SERFeatureExtractor(**streams))
    largest = 4 * max(len(features) for features in cached["input_features"])  # bytes
    assert len(rows) * largest > 200_000 > written[0] * largest


def test_a_bad_clip_is_named_and_skipped_only_if_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_polish(tmp_path / "polish", repetitions=(1,))
    samples, rate = soundfile.read(folder / "m2.a_tak_1.wav")
    samples[100] = np.nan
    soundfile.write(folder / "m2.a_tak_1.wav", samples, rate, subtype="FLOAT")
    rows = load_corpus("polish", data_dir=folder, cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match=r"Clip 'm2\.a_tak_1'.*"):
        cache_features(rows, SERFeatureExtractor())
    kept = cache_features(rows, SERFeatureExtractor(), skip_bad=True)
    assert len(kept) == len(rows) - 1
    assert "m2.a_tak_1" not in kept["id"][:]
    assert "Skipped: Clip 'm2.a_tak_1'" in caplog.text
    caplog.clear()  # found in the cache, it is told of all the same
    assert len(cache_features(rows, SERFeatureExtractor(), skip_bad=True)) == len(kept)
    assert f"1 of {len(rows)} clips cannot be used and are left out: m2.a_tak_1" in caplog.text
    splits = make_splits(rows, kept, speaker_folds(rows)[0], LABELS)
    assert sum(len(clips) for _, clips in splits.items()) == len(rows) - 1
