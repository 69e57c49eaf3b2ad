"""What is done to every training batch by chance: stretched, moved, masked, louder.

All chances are drawn on the CPU whatever the model's device is, so that every device changes alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification

from .arguments import ModelArguments
from .task import Augmentation


def make_augmentations(
    args: ModelArguments,
    extractor: SERFeatureExtractor,
    network: SERForAudioClassification,
    fill: torch.Tensor | None = None,
) -> list[Augmentation]:
    """Make what changes training batches by chance; nothing by default. Masks are filled with the features' mean."""
    bands = mel_bands(extractor)
    has_mel = bool((bands >= 0).any())
    num_mel_bins = extractor.num_mel_bins if has_mel else 0
    mel_start = int((bands >= 0).long().argmax())
    stretching = Stretching(args.tempo, args.band_warp, num_mel_bins, mel_start)
    masking = SpecAugment(
        network.ser.feature_mean.clone() if fill is None else fill,
        time_masks=args.time_masks,
        time_mask_frames=args.time_mask_frames,
        feature_masks=args.band_masks if has_mel else 0,
        feature_mask_size=args.band_mask_size,
        bands=bands,
    )
    steps: list[Augmentation] = []
    if args.tempo or args.band_warp:
        steps.append(stretching)
    if args.time_masks or args.band_masks:
        steps.append(masking)
    return steps


def mel_bands(extractor: SERFeatureExtractor) -> torch.Tensor:
    """Return the mel band of each feature of a frame."""
    return torch.cat(
        [
            torch.arange(extractor.num_mel_bins).repeat(3) if stream == "mel" else torch.full((size,), -1)
            for stream, size in zip(extractor.streams, extractor.stream_sizes, strict=True)
        ]
    )


@dataclass(frozen=True)
class Stretching:
    """Changes each training clip's tempo and the place of its spectrum by chance, in cached features.

    Source: Jaitly and Hinton, "Vocal tract length perturbation (VTLP) improves speech recognition", 2013, there before
        the mel filters; Ko et al., "Audio augmentation for speech recognition", Interspeech 2015, for the tempo.
    """

    tempo: float = 0.1  # largest change of a clip's length, as a part of it, in [0, 1)
    band_warp: float = 0.1  # largest change of α from 1, in [0, 1)
    num_mel_bins: int = 128  # bands of the stream "mel"; 0 for features without it, which are only stretched in time
    mel_start: int = 0  # where log-mel, Δ and ΔΔ begin in a frame

    def __post_init__(self) -> None:
        for name in ("tempo", "band_warp"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), not be {getattr(self, name)}.")

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Change a batch."""
        features = batch["input_features"]
        lengths = batch["attention_mask"].sum(dim=1).long()  # (batch,)
        chances = (2 * torch.rand(2, len(lengths)) - 1).to(features.device)
        stretched = (lengths * (1 + self.tempo * chances[0])).round().long().clamp(min=1)  # (batch,)
        changed, mask = stretch_frames(features, lengths, stretched)
        if self.num_mel_bins:
            mel = slice(self.mel_start, self.mel_start + 3 * self.num_mel_bins)
            changed[..., mel] = self._moved(changed[..., mel], 1 + self.band_warp * chances[1], stretched / lengths)
        return {**batch, "input_features": changed, "attention_mask": mask}

    def _moved(self, mel: torch.Tensor, warps: torch.Tensor, ratios: torch.Tensor) -> torch.Tensor:
        """Move the bands of log-mel, Δ and ΔΔ, (batch, frames, 3 × bands), by α and slow them down by ρ, (batch,)."""
        groups = mel.unflatten(-1, (3, self.num_mel_bins))  # (batch, frames, 3, bands)
        if self.band_warp:
            weights = self._band_weights(warps).to(mel)  # (batch, bands, bands)
            groups = (groups.flatten(1, 2) @ weights).view(groups.shape)
        orders = torch.arange(3, device=mel.device)  # of the derivatives
        slower = ratios.to(mel)[:, None] ** -orders  # (batch, 3)
        return (groups * slower[:, None, :, None]).flatten(-2)

    def _band_weights(self, warps: torch.Tensor) -> torch.Tensor:
        """Return the part of band b that each moved band takes, (batch, b, bands), for each α, (batch,)."""
        places = torch.arange(self.num_mel_bins, device=warps.device) * warps[:, None]  # (batch, bands)
        before = places.floor().long().clamp(max=self.num_mel_bins - 1)
        after = (before + 1).clamp(max=self.num_mel_bins - 1)
        upper = (places - before).clamp(0, 1)
        weights = warps.new_zeros(len(warps), self.num_mel_bins, self.num_mel_bins)
        weights.scatter_add_(1, before[:, None], (1 - upper)[:, None])
        return weights.scatter_add_(1, after[:, None], upper[:, None])


def stretch_frames(
    features: torch.Tensor, lengths: torch.Tensor, stretched: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stretch sequences of frames to other lengths, linear between neighbors; both ends stay ends."""
    lengths, stretched = lengths[:, None], stretched[:, None]  # (batch, 1)
    places = torch.arange(int(stretched.max()), device=features.device)  # (frames,)
    mask = (places < stretched).long()  # (batch, frames)
    positions = places * (lengths - 1) / (stretched - 1).clamp(min=1)  # (batch, frames)
    before = positions.floor().long().minimum(lengths - 1)  # (batch, frames)
    after = (before + 1).minimum(lengths - 1)
    weight = (positions - before).clamp(0, 1).to(features)[..., None]  # (batch, frames, 1)
    # Whole frames are copied: `gather`, which could take each value from elsewhere, is far slower.
    rows = torch.arange(features.shape[0], device=features.device)[:, None] * features.shape[1]  # (batch, 1)
    flat = features.flatten(0, 1)  # (batch * frames, features)
    first, second = (
        flat.index_select(0, (rows + index).flatten()).unflatten(0, index.shape) for index in (before, after)
    )  # (batch, frames, features)
    return first.lerp_(second, weight).masked_fill_(mask[..., None] == 0, 0.0), mask


@dataclass(frozen=True)
class Perturbation:
    """Changes each training clip's tempo and loudness by chance, in its coefficients, so that they can stay cached.

    Source: Ko et al., "Audio augmentation for speech recognition", Interspeech 2015.
    """

    tempo: float = 0.1  # largest change of a clip's length, as a part of it, in [0, 1)
    gain: float = 6.0  # largest change of its level, in dB

    def __post_init__(self) -> None:
        if not 0 <= self.tempo < 1:
            raise ValueError(f"tempo must lie in [0, 1), not be {self.tempo}.")
        if not 0 <= self.gain < float("inf"):
            raise ValueError(f"gain must be 0 dB or more and finite, not {self.gain}.")

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Change a batch."""
        features, labels = batch["input_features"], batch["labels"]
        lengths = batch["attention_mask"].sum(dim=1).long()  # (batch,)
        tempos, gains = (2 * torch.rand(2, len(lengths)) - 1).to(features.device)
        stretched = (lengths * (1 + self.tempo * tempos)).round().long()  # (batch,)
        enough = stretched > 2 * (labels >= 0).sum(dim=1)  # every letter and a blank beside it
        changed, mask = stretch_frames(features, lengths, torch.where(enough, stretched, lengths))
        decibels = self.gain * gains  # (batch,)
        changed[..., 0] += (decibels * (torch.log(torch.tensor(10.0)) / 10).item()).to(features)[:, None] * mask
        return {**batch, "input_features": changed, "attention_mask": mask}


@dataclass(frozen=True)
class SpecAugment:
    """Replaces random stretches of frames, and random runs of features, by the mean of the training clips.

    Source: Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", Interspeech
        2019; on cepstral coefficients, instead of mel bands, where those are what the model hears.
    """

    fill: torch.Tensor  # mean of each feature over the training clips, (features,)
    time_masks: int = 2  # stretches of frames to mask in each clip
    time_mask_frames: int = 20  # the most frames of one stretch
    time_mask_share: float = 0.2
    feature_masks: int = 1  # runs of features to mask in each clip, over all of its frames
    feature_mask_size: int = 5  # the most features of one run
    bands: torch.Tensor | None = None

    def __post_init__(self) -> None:
        counts = ("time_masks", "time_mask_frames", "feature_masks", "feature_mask_size")
        negative = next((name for name in counts if getattr(self, name) < 0), None)
        if negative is not None:
            raise ValueError(f"{negative} must be 0 or more, not {getattr(self, negative)}.")
        if not 0 <= self.time_mask_share <= 1:
            raise ValueError(f"time_mask_share must lie in [0, 1], not be {self.time_mask_share}.")
        if self.bands is not None and self.bands.shape != self.fill.shape:
            raise ValueError(f"bands must name a band for each of {len(self.fill)} features, not {len(self.bands)}.")
        if self.feature_masks and self.feature_mask_size >= self.num_bands:
            raise ValueError(f"feature_mask_size must be below {self.num_bands}, all features of a frame.")

    @property
    def num_bands(self) -> int:
        """Number of bands that runs are drawn among."""
        return len(self.fill) if self.bands is None else int(self.bands.max()) + 1

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Mask a batch."""
        features = batch["input_features"]
        lengths = batch["attention_mask"].sum(dim=1).cpu().float()  # (batch,)
        longest = (lengths * self.time_mask_share).clamp(max=self.time_mask_frames)  # (batch,)
        sizes = torch.full_like(lengths, self.num_bands)
        frames = _random_runs(self.time_masks, longest, lengths, features.shape[1])  # (batch, frames)
        runs = _random_runs(
            self.feature_masks, torch.full_like(sizes, self.feature_mask_size), sizes, self.num_bands
        )  # (batch, bands)
        if self.bands is not None:
            runs = torch.nn.functional.pad(runs, (0, 1))[:, self.bands.cpu()]  # (batch, features); -1 is the pad
        masked = (frames[:, :, None] | runs[:, None, :]).to(features.device)  # (batch, frames, features)
        return {**batch, "input_features": torch.where(masked, self.fill.to(features), features)}


def _random_runs(number: int, longest: torch.Tensor, lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Draw runs of up to `longest` places within `lengths`, both (batch,); returns (batch, size), true in a run."""
    shape = (len(lengths), number)
    spans = (torch.rand(shape) * (longest[:, None] + 1)).floor().minimum(longest[:, None].floor())  # (batch, number)
    starts = (torch.rand(shape) * (lengths[:, None] - spans + 1)).floor()  # (batch, number)
    places = torch.arange(size)[None, None, :]  # (1, 1, size)
    runs = (places >= starts[:, :, None]) & (places < (starts + spans)[:, :, None])  # (batch, number, size)
    return runs.any(dim=1)
