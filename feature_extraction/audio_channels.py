"""Several channels become one: their average, or one of them."""

import numpy as np

# The part of its power that an average may lose against channels that have nothing in common, whose average has 1/N.
MOST_LOST = 0.75


class ChannelMix:
    """Mixes a sound that comes block by block, and knows in the end what of it the mixing destroyed."""

    def __init__(self, channel: int | None = None) -> None:
        self.channel = channel
        self.samples = 0
        self.sums = self.squares = 0.0

    def add(self, channels: np.ndarray) -> np.ndarray:
        """Mix a block, (channels, samples) to (samples,), float32."""
        if len(channels) == 1:
            return channels[0]
        if self.channel is not None:
            return channels[self.channel].copy()
        if len(channels) < 8:  # in the same order whatever the layout; of more, numpy sums pairs
            channels = np.ascontiguousarray(channels)
        mixed = channels.mean(axis=0, dtype=np.float32)  # (samples,)
        tracks = [*channels, mixed]
        self.samples += len(mixed)
        self.sums += np.array([track.sum(dtype=np.float64) for track in tracks])
        self.squares += np.array([float(np.dot(track, track)) for track in tracks])
        return mixed

    def louder_channel(self) -> int | None:
        """Return the loudest channel, where the average lost most of what was there; a constant offset is no sound."""
        if not self.samples:
            return None
        power = self.squares / self.samples
        swing = power - (self.sums / self.samples) ** 2
        swing[swing < 1e-5 * power] = 0.0  # below what float32 resolves
        *channels, mixed = swing.tolist()
        common = (1 - MOST_LOST) * sum(channels) / len(channels) ** 2
        if not np.isfinite(common) or mixed >= common:
            return None
        return next(index for index, power in enumerate(channels) if power >= 0.99 * max(channels))
