"""Sampler, statistics, class weights, splits, cache, launch checks: the parts of a training, one by one."""

import json
import os
import shlex
import signal
from pathlib import Path
from types import SimpleNamespace

import datasets
import filelock
import numpy as np
import pytest
import soundfile
import torch

from dataset_scripts import Fold, load_corpus, speaker_folds
from feature_extraction import SERFeatureExtractor
from speech_emotion.training import feature_cache
from speech_emotion.training.arguments import DataArguments, SERTrainingArguments, parse_arguments
from speech_emotion.training.batches import FeatureCollator, LengthGroupedSampler
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.launch import LOCK_NAME, check_launch, find_checkpoint, prepare_folder, sole_training
from speech_emotion.training.reproducible_trainer import check_order
from speech_emotion.training.splits import balanced_weights, choose_fold, feature_statistics, keep_labels, make_splits
from speech_emotion.training.stop_signal import StopSignalCallback
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_polish(tmp_path_factory.mktemp("polish"), repetitions=(1, 2))


@pytest.fixture(scope="module")
def rows(corpus_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return load_corpus("polish", data_dir=corpus_dir, cache_dir=tmp_path_factory.mktemp("cache"))


# Sampler -----------------------------------------------------------------------------------------------------------


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


def test_batches_hold_clips_of_like_length_and_the_rest_comes_last() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, 16 * 40 + 5)
    order = np.array(list(LengthGroupedSampler(lengths, batch_size=16, seed=0)))
    batches = [lengths[order[i : i + 16]] for i in range(0, 640, 16)]
    padding = 1 - sum(batch.sum() for batch in batches) / sum(16 * batch.max() for batch in batches)
    random = np.random.default_rng(1).permutation(640).reshape(-1, 16)
    padding_at_random = 1 - lengths[random].sum() / (16 * lengths[random].max(axis=1)).sum()
    assert padding < padding_at_random / 3
    assert len(order) == 645


def test_an_order_needs_clips() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LengthGroupedSampler([], batch_size=4, seed=0)


# Statistics and weights --------------------------------------------------------------------------------------------


def test_statistics_are_those_of_all_frames_at_once() -> None:
    random = np.random.default_rng(0)
    clips = [random.normal(-80, 3, (frames, 4)).astype(np.float32) for frames in (1, 7, 100)]
    mean, std = feature_statistics((clip.reshape(-1) for clip in clips), 4)
    frames = np.concatenate(clips).astype(np.float64)
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-6)


def test_constant_features_keep_their_scale() -> None:
    _, std = feature_statistics([np.full(10, 7.0)], 2)
    assert std.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("clips", [[], [np.array([1.0, np.nan])]])
def test_statistics_of_nothing_or_nan_are_refused(clips: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"no training frames|not finite"):
        feature_statistics(clips, 2)


def test_class_weights_have_mean_one_over_clips() -> None:
    labels = [0] * 50 + [1] * 10 + [2] * 5
    weights = balanced_weights(labels, 3)
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1.0)
    assert weights[0] * 50 == pytest.approx(weights[2] * 5)
    with pytest.raises(ValueError, match="Class 3 has no training clip"):
        balanced_weights(labels, 4)


# Splits ------------------------------------------------------------------------------------------------------------


def test_splits_hold_the_folds_clips_and_disjoint_speakers(rows: datasets.Dataset) -> None:
    fold = choose_fold(rows, DataArguments(corpus="polish", fold=1))
    splits = make_splits(rows, cache_features(rows, SERFeatureExtractor()), fold, ["anger", "fear", "neutral"])
    truth = dict(zip(rows["id"], rows["label"], strict=True))
    for name, clips in splits.items():
        assert tuple(clips.ids) == fold.splits[name]
        assert [["anger", "fear", "neutral"][label] for label in clips.labels] == [truth[clip] for clip in clips.ids]
    assert {len(set(clips.speakers)) for _, clips in splits.items()} == {3, 1}
    assert not set(splits.train.speakers) & (set(splits.validation.speakers) | set(splits.test.speakers))


def test_a_speaker_in_two_splits_is_caught_where_the_fold_is_used(rows: datasets.Dataset) -> None:
    fold = speaker_folds(rows)[0]
    leaky = Fold(fold.train[:-1], fold.validation, (*fold.test, fold.train[-1]))
    features = cache_features(rows, SERFeatureExtractor())
    with pytest.raises(ValueError, match=r"the speaker 'm5' is in train and in test"):
        make_splits(rows, features, leaky, ["anger", "fear", "neutral"])


def test_labels_choose_clips_and_the_order_of_classes(rows: datasets.Dataset) -> None:
    kept, labels = keep_labels(rows, ["neutral", "anger"])
    assert labels == ["neutral", "anger"]
    assert set(kept["label"]) == {"neutral", "anger"}
    assert len(kept) == len(rows) * 2 // 3


@pytest.mark.parametrize("labels", [["anger", "joy"], ["anger"], ["anger", "anger"]])
def test_unusable_labels_are_refused(rows: datasets.Dataset, labels: list[str]) -> None:
    with pytest.raises(ValueError, match=r"no clips labelled joy|At least two different labels"):
        keep_labels(rows, labels)


def test_a_fold_that_does_not_exist_is_refused(rows: datasets.Dataset) -> None:
    with pytest.raises(ValueError, match="There is no fold 5: leave-one-speaker-out gives 5"):
        choose_fold(rows, DataArguments(corpus="polish", fold=5))


# Cache -------------------------------------------------------------------------------------------------------------


def test_cached_features_equal_fresh_ones(rows: datasets.Dataset) -> None:
    extractor = SERFeatureExtractor()
    cached = cache_features(rows, extractor)
    assert cached["id"][:].tolist() == rows["id"][:]
    for index in (0, 17, len(rows) - 1):
        fresh = extractor.extract([extractor.load_audio(rows[index]["audio"])])["input_features"][0].numpy()
        np.testing.assert_array_equal(cached[index]["input_features"].reshape(-1, 384), fresh)
        assert cached[index]["num_frames"] == len(fresh)


def test_the_cache_is_found_again_and_not_for_other_settings(
    rows: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cache_features(rows, SERFeatureExtractor(hop_length=320))

    def fail(self: SERFeatureExtractor, *args: object, **kwargs: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(SERFeatureExtractor, "extract", fail)
    again = cache_features(rows, SERFeatureExtractor(hop_length=320))
    assert again._fingerprint == first._fingerprint
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
    splits = make_splits(rows, kept, speaker_folds(rows)[0], ["anger", "fear", "neutral"])
    assert sum(len(clips) for _, clips in splits.items()) == len(rows) - 1


def test_collated_padding_is_zero_and_masked() -> None:
    clips = [
        {"input_features": np.arange(6, dtype=np.float32), "labels": 2},
        {"input_features": np.arange(2, dtype=np.float32), "labels": 0},
    ]
    batch = FeatureCollator(2)(clips)
    assert batch["input_features"].tolist() == [[[0, 1], [2, 3], [4, 5]], [[0, 1], [0, 0], [0, 0]]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [2, 0]
    assert batch["input_features"].dtype == torch.float32


# Launch ------------------------------------------------------------------------------------------------------------


def launched(world_size: int = 1, n_gpu: int = 0) -> SimpleNamespace:
    return SimpleNamespace(world_size=world_size, n_gpu=n_gpu)


def test_launches_that_train_together_pass() -> None:
    check_launch(launched(), {})
    check_launch(launched(2), {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"})
    check_launch(launched(2), {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"})


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (launched(), {"ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1"}, r"single process(.|\n)*torchrun"),
        (launched(), {"WORLD_SIZE": "2"}, r"each of them would train alone(.|\n)*--use_cpu true"),
        (launched(n_gpu=4), {}, r"DataParallel(.|\n)*--nproc_per_node 4"),
    ],
)
def test_silent_failures_stop_with_the_command_that_works(
    arguments: SimpleNamespace, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        check_launch(arguments, environ)


def test_two_trainings_cannot_share_a_folder(tmp_path: Path) -> None:
    args = SimpleNamespace(process_index=0, output_dir=str(tmp_path))
    other = filelock.FileLock(tmp_path / LOCK_NAME)
    with other, pytest.raises(RuntimeError, match="Another training is writing"), sole_training(args):
        pass
    with sole_training(args), pytest.raises(filelock.Timeout):
        other.acquire(timeout=0)


def test_only_whole_checkpoints_are_resumed(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path, None) is None
    with pytest.raises(FileNotFoundError, match="no whole checkpoint"):
        find_checkpoint(tmp_path, True)
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").touch()
    (tmp_path / "checkpoint-11").mkdir()  # cut short before its last file
    (tmp_path / "checkpoint-best").mkdir()  # a copy kept by hand
    (tmp_path / "checkpoint-best" / "trainer_state.json").touch()
    assert find_checkpoint(tmp_path, True) == tmp_path / "checkpoint-10"
    with pytest.raises(FileNotFoundError, match="not a whole checkpoint"):
        find_checkpoint(tmp_path, str(tmp_path / "checkpoint-11"))
    with pytest.raises(FileExistsError, match="--resume_from_checkpoint true"):
        find_checkpoint(tmp_path, None)


def test_a_run_goes_on_among_its_own_checkpoints_only(tmp_path: Path) -> None:
    for run, steps in (("one", (9, 12)), ("other", (3,))):
        for step in steps:
            folder = tmp_path / run / f"checkpoint-{step}"
            folder.mkdir(parents=True)
            (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    one, other = tmp_path / "one", tmp_path / "other"
    assert find_checkpoint(one, str(one / "checkpoint-12")) == one / "checkpoint-12"
    assert find_checkpoint(tmp_path / "new", str(one / "checkpoint-9")) == one / "checkpoint-9"
    with pytest.raises(FileExistsError, match=r"holds checkpoint-12, which .*checkpoint-9 did not come to"):
        find_checkpoint(one, str(one / "checkpoint-9"))
    with pytest.raises(FileExistsError, match=r"holds checkpoint-3, which .*checkpoint-9 did not come to"):
        find_checkpoint(other, str(one / "checkpoint-9"))
    places = {"overwrite_output_dir": True, "resume_from_checkpoint": str(one / "checkpoint-9"), "use_cpu": True}
    for run in (one, other):
        assert prepare_folder(run, SERTrainingArguments(output_dir=str(run), **places)) == one / "checkpoint-9"
    assert [path.name for path in one.iterdir()] == ["checkpoint-9"] and not list(other.iterdir())


def test_ways_of_pushing_that_would_upload_pickles_are_refused() -> None:
    arguments = {"use_cpu": True, "push_to_hub": True}
    for strategy in ("every_save", "end"):
        check_order(SERTrainingArguments(**arguments, hub_strategy=strategy))
    for strategy in ("checkpoint", "all_checkpoints"):
        with pytest.raises(ValueError, match=f"hub_strategy '{strategy}' would upload the state of the training"):
            check_order(SERTrainingArguments(**arguments, hub_strategy=strategy))


# Arguments and signals ---------------------------------------------------------------------------------------------


def test_arguments_parse() -> None:
    data, model, training = parse_arguments(
        shlex.split(
            "--corpus ravdess --scheme k-fold --num_folds 6 --labels anger calm --class_weights balanced "
            "--resume_from_checkpoint true --use_cpu true"
        )
    )
    assert (data.scheme, data.num_folds, data.labels) == ("k-fold", 6, ["anger", "calm"])
    assert model.class_weights == "balanced"
    assert training.resume_from_checkpoint is True
    assert training.metric_for_best_model == "ua"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the following arguments are required: --corpus"),
        ("--corpus polish --no_such 1", "no_such"),
        ("--corpus polish --scheme x", "invalid choice: 'x'"),
    ],
)
def test_unknown_words_end_the_program(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_arguments(words.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_overwriting_removes_the_runs_checkpoints_alone(tmp_path: Path) -> None:
    for name in ("checkpoint-4", "checkpoint-12", "checkpoint-best", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").touch()
    arguments = {"output_dir": str(tmp_path), "overwrite_output_dir": True, "use_cpu": True}
    resumed = SERTrainingArguments(**arguments, resume_from_checkpoint=True)
    assert prepare_folder(tmp_path, resumed) == tmp_path / "checkpoint-12"
    assert len(list(tmp_path.iterdir())) == 4
    assert prepare_folder(tmp_path, SERTrainingArguments(**arguments)) is None
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-best", "notes"}


@pytest.mark.parametrize(
    "arguments",
    [{"train_sampling_strategy": "group_by_length"}, {"dataloader_drop_last": True}, {"prediction_loss_only": True}],
    ids=lambda arguments: next(iter(arguments)),
)
def test_what_would_mix_up_or_lose_scores_is_refused(arguments: dict[str, object]) -> None:
    check_order(SERTrainingArguments(use_cpu=True))
    with pytest.raises(ValueError, match=next(iter(arguments))):
        check_order(SERTrainingArguments(use_cpu=True, **arguments))


def test_negative_patience_is_refused() -> None:
    with pytest.raises(ValueError, match="early_stopping_patience"):
        SERTrainingArguments(early_stopping_patience=-1, use_cpu=True)


def test_the_second_signal_acts_as_if_nobody_listened() -> None:
    received = []
    previous = signal.signal(signal.SIGTERM, lambda *_: received.append("default"))
    try:
        callback = StopSignalCallback()
        callback.on_train_begin(launched(), None, None)
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == []
        control = SimpleNamespace(should_save=False, should_evaluate=True, should_training_stop=False)
        callback.on_step_end(launched(), None, control)
        assert callback.stopped
        assert (control.should_save, control.should_evaluate, control.should_training_stop) == (True, False, True)
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == ["default"]
    finally:
        signal.signal(signal.SIGTERM, previous)
