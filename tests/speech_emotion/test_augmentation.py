"""What chance does to training batches of log-mel energies, and that it is the same chance each time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed

from dataset_scripts import load_corpus, speaker_folds
from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification
from speech_emotion.training import ModelArguments, SERTrainer, SERTrainingArguments
from speech_emotion.training.augmentation import make_augmentations, mel_bands
from speech_emotion.training.augmentation_masking import SpecAugment
from speech_emotion.training.augmentation_stretching import Stretching, stretch_frames
from speech_emotion.training.building import make_extractor, make_model
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.splits import Splits, make_splits
from tests.speech_emotion.interrupted_runs import SignalAt, assert_equal_checkpoints, last_checkpoint
from tests.synthetic import write_polish

BANDS = 16


def batch_of(lengths: list[int], features: torch.Tensor) -> dict[str, torch.Tensor]:
    """Take a clip of each length from the beginning of the same frames, (frames, features)."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()  # (batch, frames)
    stacked = features[: max(lengths)].expand(len(lengths), -1, -1) * mask[..., None]
    return {"input_features": stacked, "attention_mask": mask, "labels": torch.arange(len(lengths))}


def ramp(frames: int) -> torch.Tensor:
    """Energies that rise by 2 dB a frame and by 1 dB a band, their Δ = 2 and ΔΔ = 0.5, (frames, 3 × BANDS)."""
    mel = 2.0 * torch.arange(frames)[:, None] + torch.arange(BANDS)
    return torch.cat([mel, torch.full_like(mel, 2.0), torch.full_like(mel, 0.5)], dim=1)


# Stretching ----------------------------------------------------------------------------------------------------------


def test_frames_are_stretched_linearly_between_fixed_ends() -> None:
    features = torch.arange(10.0)[None, :, None].repeat(2, 1, 3)
    lengths, stretched = torch.tensor([10, 4]), torch.tensor([19, 2])
    changed, mask = stretch_frames(features, lengths, stretched)
    assert mask.sum(dim=1).tolist() == [19, 2]
    torch.testing.assert_close(changed[0, :, 1], torch.arange(19) / 2)
    assert changed[1, :2, 0].tolist() == [0.0, 3.0]
    assert not changed[1, 2:].any()


def test_stretching_to_the_same_length_changes_nothing() -> None:
    features = torch.randn(3, 7, 5)
    lengths = torch.tensor([7, 1, 3])
    changed, mask = stretch_frames(features, lengths, lengths)
    assert torch.equal(changed, features * mask[..., None])


def test_derivatives_follow_the_tempo() -> None:
    torch.manual_seed(0)
    batch = batch_of([120, 80] * 50, ramp(120))
    changed = Stretching(tempo=0.2, band_warp=0.0, num_mel_bins=BANDS)(batch)
    lengths = batch["attention_mask"].sum(dim=1)
    ratios = changed["attention_mask"].sum(dim=1) / lengths
    assert 0.79 < ratios.min() < 0.82
    assert 1.18 < ratios.max() < 1.21
    assert torch.equal(changed["labels"], batch["labels"])
    for index in (0, 1, 17):
        clip = changed["input_features"][index, : int(ratios[index] * lengths[index] + 0.5)]
        slopes = clip[1:, :BANDS] - clip[:-1, :BANDS]
        torch.testing.assert_close(slopes, torch.full_like(slopes, slopes.mean().item()), atol=1e-3, rtol=0)
        # What stands for the slope is the slope, but for the two ends that stay where they are.
        torch.testing.assert_close(clip[1:, BANDS : 2 * BANDS], slopes, atol=0.02, rtol=0)
        torch.testing.assert_close(clip[:, 2 * BANDS :], torch.full_like(clip[:, :BANDS], 0.5 / ratios[index] ** 2))
        assert not changed["input_features"][index, len(clip) :].any()


def test_bands_move_in_all_three_groups_alike() -> None:
    torch.manual_seed(1)
    frames = ramp(30)
    frames[:, BANDS:] = torch.arange(BANDS).repeat(2)
    changed = Stretching(tempo=0.0, band_warp=0.2, num_mel_bins=BANDS)(batch_of([30] * 100, frames))
    assert (changed["attention_mask"] == 1).all()
    moved = changed["input_features"]
    warps = moved[:, 0, BANDS + 1]  # Δ of band 1 was 1: it is α now
    assert 0.8 < warps.min() < 0.82
    assert 1.18 < warps.max() < 1.2
    expected = (torch.arange(BANDS) * warps[:, None]).clamp(max=BANDS - 1)  # (batch, bands)
    for group in range(3):
        at_start = moved[:, 0, group * BANDS : (group + 1) * BANDS]
        torch.testing.assert_close(at_start, expected, atol=1e-4, rtol=0)


def test_other_streams_are_only_stretched() -> None:
    torch.manual_seed(2)
    others = torch.arange(40.0)[:, None].repeat(1, 5)
    frames = torch.cat([others, ramp(40)], dim=1)
    changed = Stretching(0.1, 0.1, num_mel_bins=BANDS, mel_start=5)(batch_of([40] * 20, frames))
    torch.manual_seed(2)
    alone = Stretching(0.1, 0.1, num_mel_bins=0)(batch_of([40] * 20, others))
    assert torch.equal(changed["input_features"][..., :5], alone["input_features"])
    torch.manual_seed(2)
    mel = Stretching(0.1, 0.1, num_mel_bins=BANDS)(batch_of([40] * 20, ramp(40)))
    assert torch.equal(changed["input_features"][..., 5:], mel["input_features"])


def test_a_clip_of_one_frame_survives() -> None:
    changed = Stretching(0.5, 0.5, num_mel_bins=BANDS)(batch_of([1, 2, 1], ramp(2)))
    assert changed["attention_mask"].sum(dim=1).min() >= 1
    assert torch.isfinite(changed["input_features"]).all()


@pytest.mark.parametrize("settings", [{"tempo": 1.0}, {"tempo": -0.1}, {"band_warp": 1.5}])
def test_impossible_stretching_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Stretching(**settings)


# Masking by bands ----------------------------------------------------------------------------------------------------


def test_a_masked_band_takes_its_derivatives_along() -> None:
    bands = torch.cat([torch.full((5,), -1), torch.arange(BANDS).repeat(3)])
    fill = torch.zeros(len(bands))
    augment = SpecAugment(fill, time_masks=0, feature_masks=1, feature_mask_size=4, bands=bands)
    torch.manual_seed(0)
    features = torch.ones(200, 10, len(bands))
    masked = augment({"input_features": features, "attention_mask": torch.ones(200, 10)})["input_features"] == 0
    assert not masked[..., :5].any()
    groups = masked[..., 5:].unflatten(-1, (3, BANDS))  # (batch, frames, 3, bands)
    assert torch.equal(groups[:, :, 0], groups[:, :, 1])
    assert torch.equal(groups[:, :, 0], groups[:, :, 2])
    assert set(groups[:, 0, 0].sum(dim=-1).tolist()) == set(range(5))
    assert groups[:, 0, 0].any(dim=0).all()  # every band has its turn


def test_without_bands_every_feature_is_one_of_its_own() -> None:
    batch = {"input_features": torch.ones(8, 20, 12), "attention_mask": torch.ones(8, 20)}
    results = []
    for bands in (None, torch.arange(12)):
        torch.manual_seed(4)
        results.append(SpecAugment(torch.zeros(12), bands=bands)(batch)["input_features"])
    assert torch.equal(*results)


def test_bands_must_be_named_for_every_feature() -> None:
    with pytest.raises(ValueError, match="for each of 12 features, not 4"):
        SpecAugment(torch.zeros(12), bands=torch.arange(4))
    with pytest.raises(ValueError, match="below 4"):
        SpecAugment(torch.zeros(12), feature_mask_size=4, bands=torch.arange(4).repeat(3))


# From arguments ------------------------------------------------------------------------------------------------------


def network(extractor: SERFeatureExtractor) -> SERForAudioClassification:
    size = extractor.feature_size
    model = SERForAudioClassification(SERConfig(input_size=size, num_labels=3))
    model.ser.set_normalization(torch.arange(float(size)), torch.ones(size))
    return model


def made(**settings: Any) -> list[Any]:
    extractor = SERFeatureExtractor(num_mel_bins=BANDS)
    return make_augmentations(ModelArguments(**settings), extractor, network(extractor))


def test_the_defaults_change_nothing() -> None:
    assert made() == []


def test_arguments_reach_the_augmentations() -> None:
    stretching, masking = made(tempo=0.1, band_warp=0.05, time_masks=2, band_masks=3, band_mask_size=4)
    assert (stretching.tempo, stretching.band_warp) == (0.1, 0.05)
    assert (stretching.num_mel_bins, stretching.mel_start) == (BANDS, 0)
    assert (masking.time_masks, masking.feature_masks, masking.feature_mask_size) == (2, 3, 4)
    assert masking.fill.tolist() == list(range(3 * BANDS))
    assert masking.bands.tolist() == list(range(BANDS)) * 3


def test_bands_are_found_wherever_mel_stands() -> None:
    class Two:
        """As an extractor of two streams says it."""

        streams, stream_sizes, num_mel_bins = ("words", "mel"), [2, 6], 2

    assert mel_bands(Two()).tolist() == [-1, -1, 0, 1, 0, 1, 0, 1]


def test_features_without_mel_are_masked_in_time_only() -> None:
    class Words:
        """As an extractor of an encoder's stream says it."""

        streams, stream_sizes, num_mel_bins = ("words",), [48], 128

    settings = ModelArguments(tempo=0.1, band_warp=0.1, time_masks=1, band_masks=2)
    stretching, masking = make_augmentations(settings, Words(), network(SERFeatureExtractor(num_mel_bins=BANDS)))
    assert (stretching.num_mel_bins, masking.feature_masks) == (0, 0)
    changed = masking(stretching(batch_of([50], torch.ones(50, 48))))["input_features"]
    assert changed.shape[2] == 48


@pytest.mark.parametrize(
    ("settings", "message"), [({"tempo": 2.0}, "tempo"), ({"band_masks": 1, "band_mask_size": 16}, "below 16")]
)
def test_impossible_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**settings)


# In training ---------------------------------------------------------------------------------------------------------

LABELS = ["anger", "fear", "neutral"]
CHANCES = {"tempo": 0.1, "band_warp": 0.1, "time_masks": 2, "band_masks": 2}


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    folder = write_polish(tmp_path_factory.mktemp("polish"))
    rows = load_corpus("polish", data_dir=folder, cache_dir=tmp_path_factory.mktemp("cache"))
    features = cache_features(rows, make_extractor(ModelArguments(dynamic_range=60.0)))
    return make_splits(rows, features, speaker_folds(rows)[0], LABELS)


def trainer(folder: Path, splits: Splits, *callbacks: TrainerCallback, **settings: Any) -> SERTrainer:
    model_args = ModelArguments(hidden_size=8, dense_size=8, dynamic_range=60.0, **settings)
    args = SERTrainingArguments(output_dir=str(folder), num_train_epochs=2, use_cpu=True, report_to="none")
    set_seed(args.seed)
    extractor = make_extractor(model_args)
    network = make_model(model_args, LABELS, splits.train, extractor)
    return SERTrainer(
        network,
        args,
        splits.train,
        splits.validation,
        feature_size=extractor.feature_size,
        processing_class=extractor,
        augmentations=make_augmentations(model_args, extractor, network),
        callbacks=[EarlyStoppingCallback(20), *callbacks],
    )


POLISH = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")


@POLISH
def test_an_augmented_training_resumes_exactly(splits: Splits, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trainer(whole, splits, **CHANCES).train()
    stopped = trainer(parts, splits, SignalAt("on_step_begin", 5), **CHANCES)
    stopped.train()
    assert stopped.stop.stopped
    trainer(parts, splits, **CHANCES).train(resume_from_checkpoint=str(last_checkpoint(parts)))
    assert_equal_checkpoints(last_checkpoint(whole), last_checkpoint(parts), "eval_ua")


@POLISH
def test_only_training_batches_are_augmented(splits: Splits, tmp_path: Path) -> None:
    seen: list[bool] = []
    training = trainer(tmp_path, splits)

    def spy(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen.append(training.model.training)
        return batch

    training.augmentations = [spy]
    training.train()
    training.predict(splits.test)
    assert seen == [True] * training.state.global_step


@POLISH
def test_augmentation_changes_what_is_learned(splits: Splits, tmp_path: Path) -> None:
    trained = []
    for settings in ({}, CHANCES):
        training = trainer(tmp_path / str(len(settings)), splits, **settings)
        training.train()
        trained.append(training.model.classifier.dense.weight.detach().clone())
    assert not torch.equal(*trained)
