"""What is done to a clip before its features: only its speech is kept, at one level, whatever recorded it."""

import torch
from torch.nn import functional

FRONTS = ("none", "speech")
LEVEL = 0.05  # root mean square that the speech is brought to; full scale is 1

BLOCK = 160  # samples whose energy is one number: 10 ms at 16 kHz
SMOOTHED = 5  # blocks that are averaged before one is called silent: a stop within a word is none
LONG = 10  # blocks over which the loudest and the quietest part are measured: a click is neither
SILENCE_DB = 30.0  # below the loudest part there is no speech at a clip's ends,
ABOVE_FLOOR_DB = 4.0  # nor so little above the quietest, the room's noise;
MOST_DB = 15.0  # but what is so near to the loudest is speech in any noise
EMPTY_DB = 60.0  # below the loudest part a recorder was not listening: that is no room's noise
LOUD_DB = 20.0  # the level is measured over blocks down to here, so that pauses do not count


def speech_part(waveform: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Cut the silence at a clip's ends off and bring its speech to one level.

    Silence is what lies `SILENCE_DB` below the loudest 50 to 100 ms, or hardly above the quietest. Everything is
    measured relative to the clip itself: its gain, and digital silence before and after it, change nothing. Digital
    silence alone is returned as it is.

    Returns:
        The speech, (samples,), and the sample of the clip that it begins at.
    """
    sounding = waveform.nonzero()
    if not len(sounding):
        return waveform, 0
    start = int(sounding[0])
    clip = waveform[start : int(sounding[-1]) + 1]
    clip = clip / clip.abs().max()  # so that no square of a very quiet sample is lost
    energies = functional.pad(clip, (0, -len(clip) % BLOCK)).view(-1, BLOCK).square().mean(dim=1)  # (blocks,)
    smoothed = _averages(functional.pad(energies, (SMOOTHED // 2, SMOOTHED // 2)), SMOOTHED)  # (blocks,)
    loudest = _averages(energies, LONG).max()
    heard = (smoothed > loudest * _ratio(-EMPTY_DB)).nonzero()
    quietest = _averages(energies[int(heard[0]) : int(heard[-1]) + 1], LONG).min()
    floor = (quietest * _ratio(ABOVE_FLOOR_DB)).clamp(max=loudest * _ratio(-MOST_DB))
    speech = (smoothed > floor.clamp(min=loudest * _ratio(-SILENCE_DB))).nonzero()
    first, end = int(speech[0]) * BLOCK, (int(speech[-1]) + 1) * BLOCK
    level = energies[smoothed > loudest * _ratio(-LOUD_DB)].mean().sqrt()
    return clip[first:end] * (LEVEL / level), start + first


def _averages(energies: torch.Tensor, blocks: int) -> torch.Tensor:
    """Average each run of so many blocks, or all of them where there are fewer."""
    return functional.avg_pool1d(energies[None], min(blocks, len(energies)), stride=1)[0]


def _ratio(decibels: float) -> float:
    return 10 ** (decibels / 10)
