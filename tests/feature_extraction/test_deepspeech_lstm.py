from collections.abc import Iterator

import pytest
import torch
from torch import nn

from feature_extraction import lstm_deepspeech
from feature_extraction.lstm_deepspeech import FEW_FRAMES, DeepSpeechLSTM

SIZE, HIDDEN = 24, 40


@pytest.fixture
def lstm() -> Iterator[DeepSpeechLSTM]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield DeepSpeechLSTM(SIZE, HIDDEN).eval()


def frame_by_frame(lstm: DeepSpeechLSTM, frames: torch.Tensor) -> bool:
    return lstm._goes_frame_by_frame(frames)


@pytest.mark.parametrize("frames", [1, 2, FEW_FRAMES, 200])
@pytest.mark.parametrize("carried", [False, True])
def test_both_ways_agree(lstm: DeepSpeechLSTM, frames: int, carried: bool) -> None:
    x = torch.randn(1, frames, SIZE)
    state = (torch.randn(1, 1, HIDDEN).tanh(), torch.randn(1, 1, HIDDEN)) if carried else None
    kept = None if state is None else [part.clone() for part in state]
    output, states = lstm._frame_by_frame(x, state)
    wanted, wanted_states = nn.LSTM.forward(lstm, x, state)
    torch.testing.assert_close(output, wanted, rtol=0, atol=2e-6)
    for found, expected in zip(states, wanted_states, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=5e-6)
    if carried:  # a state may be used twice
        assert all(torch.equal(part, before) for part, before in zip(state, kept, strict=True))


def test_chunks_give_the_whole(lstm: DeepSpeechLSTM) -> None:
    x = torch.randn(1, 50, SIZE)
    state, parts = None, []
    for chunk in x.split((1, 3, 20, FEW_FRAMES, 18), dim=1):
        part, state = lstm(chunk, state)
        parts.append(part)
    whole, last = nn.LSTM.forward(lstm, x)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=2e-6)
    torch.testing.assert_close(state[1], last[1], rtol=0, atol=5e-6)


def test_the_short_way_is_for_single_clips_only(lstm: DeepSpeechLSTM, monkeypatch: pytest.MonkeyPatch) -> None:
    assert frame_by_frame(lstm, torch.zeros(1, FEW_FRAMES, SIZE))
    assert not frame_by_frame(lstm, torch.zeros(2, FEW_FRAMES, SIZE))
    assert not frame_by_frame(lstm, torch.zeros(1, FEW_FRAMES + 1, SIZE))
    with torch.enable_grad():
        assert not frame_by_frame(lstm, torch.zeros(1, FEW_FRAMES, SIZE))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not frame_by_frame(lstm, torch.zeros(1, FEW_FRAMES, SIZE))
    monkeypatch.setattr(lstm_deepspeech, "UNCACHED_UNITS", HIDDEN)
    for threads, short in ((1, True), (2, False)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert frame_by_frame(lstm, torch.zeros(1, FEW_FRAMES + 1, SIZE)) is short
