"""The same clip spoken a little faster or slower, through a longer or shorter vocal tract."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Stretching:
    """Changes each training clip's tempo and the place of its spectrum by chance, in cached features.

    Source: Jaitly and Hinton, "Vocal tract length perturbation (VTLP) improves speech recognition", 2013, there before
        the mel filters; Ko et al., "Audio augmentation for speech recognition", Interspeech 2015, for the tempo.

    >>> _ = torch.manual_seed(0)
    >>> batch = {"input_features": torch.ones(2, 100, 384), "attention_mask": torch.ones(2, 100)}
    >>> Stretching(tempo=0.1)(batch)["attention_mask"].sum(dim=1)
    tensor([100, 105])
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
        # On the CPU whatever the model's device is, so that every device changes alike.
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
    """Stretch sequences of frames to other lengths, linear between neighbors; both ends stay ends.

    >>> stretch_frames(torch.tensor([[[0.0], [2.0]]]), torch.tensor([2]), torch.tensor([3]))[0].flatten()
    tensor([0., 1., 2.])
    """
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


__all__ = ["Stretching", "stretch_frames"]
