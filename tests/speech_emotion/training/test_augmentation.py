"""What chance does to training batches: log-mel energies, coefficients, and which bands of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from feature_extraction import DeepSpeechFeatureExtractor, SERFeatureExtractor
from modeling_ser import SERConfig, SERForAudioClassification
from speech_emotion.training import ModelArguments
from speech_emotion.training.augmentation import (
    Perturbation,
    SpecAugment,
    Stretching,
    make_augmentations,
    mel_bands,
    stretch_frames,
)

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
    same, mask = stretch_frames(features, lengths, lengths)
    assert torch.equal(same, features * mask[..., None])


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


# SpecAugment ---------------------------------------------------------------------------------------------------------


def test_masks_are_within_their_limits_and_hold_the_mean() -> None:
    fill = torch.arange(26.0)
    augment = SpecAugment(fill, time_masks=1, time_mask_frames=15, time_mask_share=0.2, feature_masks=1)
    features = torch.full((400, 100, 26), -1.0)
    lengths = torch.tensor([100, 30] * 200)
    mask = (torch.arange(100) < lengths[:, None]).long()
    torch.manual_seed(0)
    batch = {"input_features": features, "attention_mask": mask}
    changed = augment(batch)["input_features"]
    masked = changed != features  # (batch, frames, features)
    assert features.eq(-1).all()  # the batch itself is left alone
    assert torch.equal(changed, torch.where(masked, fill, features))
    runs, stretches = masked.all(dim=1).sum(dim=1), masked.all(dim=2).sum(dim=1)
    assert set(runs.tolist()) == set(range(6))
    assert set(stretches[0::2].tolist()) == set(range(16))  # at most 15 frames,
    assert set(stretches[1::2].tolist()) == set(range(7))  # and at most a fifth of the clip,
    assert not masked[1::2, 30:].all(dim=2).any()  # within the clip
    starts = masked[0::2].all(dim=2).float().argmax(dim=1)
    assert starts.max() > 70


# Perturbation --------------------------------------------------------------------------------------------------------


def ramps(lengths: list[int], letters: int = 3) -> dict[str, torch.Tensor]:
    """Ramps: coefficient k of frame t is t + 100 k."""
    batch = batch_of(lengths, torch.arange(max(lengths))[:, None] + 100.0 * torch.arange(26))
    return batch | {"labels": torch.ones(len(lengths), letters).long()}


def test_tempo_stretches_within_its_limits_and_keeps_both_ends() -> None:
    torch.manual_seed(0)
    lengths = [200, 120] * 100
    changed = Perturbation(tempo=0.1, gain=0)(ramps(lengths))
    ratios = changed["attention_mask"].sum(dim=1) / torch.tensor(lengths)
    assert 0.895 <= ratios.min() < 0.91
    assert 1.09 < ratios.max() <= 1.105
    for index in (0, 1, 57):
        clip = changed["input_features"][index][changed["attention_mask"][index] == 1]
        line = torch.linspace(0, lengths[index] - 1, len(clip))
        torch.testing.assert_close(clip[:, 4], line + 400, atol=1e-3, rtol=0)
        assert not changed["input_features"][index, len(clip) :].any()


def test_gain_is_that_of_a_louder_waveform() -> None:
    extractor, random = DeepSpeechFeatureExtractor(), np.random.default_rng(0)
    wave = (0.01 * random.standard_normal(8000)).astype(np.float32)
    torch.manual_seed(5)
    features = extractor.extract([wave])
    batch = {**features, "labels": torch.ones(1, 2).long()}
    changed = Perturbation(tempo=0, gain=6)(batch)["input_features"]
    decibels = (changed - features["input_features"])[0, 0, 0].item() * 10 / np.log(10)
    assert 0.1 < abs(decibels) <= 6
    louder = extractor.extract([wave * np.float32(10 ** (decibels / 20))])["input_features"]
    torch.testing.assert_close(changed, louder, atol=1e-3, rtol=0)


def test_no_clip_becomes_too_short_for_its_transcript() -> None:
    torch.manual_seed(0)
    changed = Perturbation(tempo=0.5, gain=0)(ramps([21] * 200, letters=10))
    lengths = changed["attention_mask"].sum(dim=1)
    assert lengths.min() == 21
    assert lengths.max() > 25


def test_no_perturbation_changes_nothing() -> None:
    batch = ramps([30, 1, 17], letters=1)
    changed = Perturbation(tempo=0, gain=0)(batch)
    assert all(torch.equal(changed[name], value) for name, value in batch.items())


# From arguments ------------------------------------------------------------------------------------------------------


def network(extractor: SERFeatureExtractor) -> SERForAudioClassification:
    size = extractor.feature_size
    model = SERForAudioClassification(SERConfig(input_size=size, num_labels=3))
    model.ser.set_normalization(torch.arange(float(size)), torch.ones(size))
    return model


def made(**settings: Any) -> list[Any]:
    extractor = SERFeatureExtractor(num_mel_bins=BANDS)
    return make_augmentations(ModelArguments(**settings), extractor, network(extractor))


def test_arguments_reach_the_augmentations() -> None:
    assert made() == []
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
    ("make", "settings", "message"),
    [
        (Stretching, {"tempo": 1.0}, "tempo"),
        (Stretching, {"tempo": -0.1}, "tempo"),
        (Stretching, {"band_warp": 1.5}, "band_warp"),
        (Perturbation, {"tempo": 1.0}, "tempo"),
        (Perturbation, {"tempo": -0.1}, "tempo"),
        (Perturbation, {"gain": -1.0}, "gain"),
        (Perturbation, {"gain": float("inf")}, "gain"),
        (SpecAugment, {"fill": torch.zeros(26), "time_masks": -1}, "time_masks"),
        (SpecAugment, {"fill": torch.zeros(26), "time_mask_share": 2.0}, "time_mask_share"),
        (SpecAugment, {"fill": torch.zeros(26), "feature_mask_size": 26}, "26"),
        (SpecAugment, {"fill": torch.zeros(12), "bands": torch.arange(4)}, "for each of 12 features, not 4"),
        (SpecAugment, {"fill": torch.zeros(9), "feature_mask_size": 3, "bands": torch.arange(3).repeat(3)}, "below 3"),
        (made, {"tempo": 2.0}, "tempo"),
        (made, {"band_masks": 1, "band_mask_size": 16}, "below 16"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[..., Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**settings)
