"""Sounds without speech: always the same, of all levels and lengths, and none of the tested kinds is learned."""

import numpy as np
import pytest

from speech_emotion.checkpoint.no_speech import LEARNED, QUIETEST, SECONDS, TESTED, make_sound


@pytest.mark.parametrize("kind", sorted(LEARNED | TESTED))
def test_sounds_are_finite_not_too_loud_and_always_the_same(kind: str) -> None:
    sounds = [make_sound(kind, number) for number in range(8)]
    for number, sound in enumerate(sounds):
        assert sound.dtype == np.float32 and np.isfinite(sound).all() and np.abs(sound).max() < 1
        assert SECONDS[0] <= len(sound) / 16_000 <= SECONDS[1]
        np.testing.assert_array_equal(sound, make_sound(kind, number))
        if kind != "silence":
            assert np.abs(sound).max() > 0.9 * 10 ** (QUIETEST / 20)
    assert len({sound.tobytes() for sound in sounds}) == len(sounds)


def test_what_is_tested_is_not_learned() -> None:
    assert not set(LEARNED) & set(TESTED)
    with pytest.raises(ValueError, match="There are no sounds 'speech'"):
        make_sound("speech", 0)
