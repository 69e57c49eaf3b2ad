"""Voice activity: how likely somebody speaks, for each 32 ms of a sound that comes in blocks, by Silero's network."""

import warnings
from functools import cache
from importlib.metadata import distribution

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from speech_emotion.extras import check_extra

RATE = 16_000
FRAME = 512  # samples that one probability is of
CONTEXT = 64  # samples before them that the network sees, too
AT_ONCE = 64  # frames


class VoiceActivity:
    """Gives the probabilities of silero-vad 6.2.3 at 16 kHz, many frames at once.

    Only the weights are read that lie in its wheel: its own code computes frame by frame, ten times as long, and sets
    torch's number of threads when it is imported.

    Raises:
        ModuleNotFoundError: silero-vad is not installed.

    Source: Silero Team, "Silero VAD: pre-trained enterprise-grade voice activity detector", MIT license.

    Example:
        >>> activity = VoiceActivity()  # doctest: +SKIP
        >>> activity.push(samples)  # doctest: +SKIP
        array([0.02, 0.03, 0.97, 0.99], dtype=float32)
    """

    def __init__(self) -> None:
        self._network = _network()
        self._state: tuple[torch.Tensor, torch.Tensor] | None = None
        self._held = torch.zeros(CONTEXT)  # what the next frame's context and beginning are

    @torch.inference_mode()
    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples, (samples,), and give a probability for each frame that they complete, (frames,)."""
        held = torch.cat([self._held, torch.from_numpy(samples)])
        frames = held.unfold(0, CONTEXT + FRAME, FRAME) if len(held) >= CONTEXT + FRAME else held.new_empty(0, 1)
        self._held = held[len(frames) * FRAME :].clone()
        found = [np.zeros(0, np.float32)]
        for some in frames.split(AT_ONCE) if len(frames) else ():
            probabilities, self._state = self._network(some, self._state)
            found.append(probabilities.numpy())
        return np.concatenate(found)

    def finish(self) -> np.ndarray:
        """Give the probability of the last frame if it is not whole, filled up with zeros, (1,), or none, (0,)."""
        rest = len(self._held) - CONTEXT
        return self.push(np.zeros(FRAME - rest if rest else 0, np.float32))


_NAMES = {
    "stft.weight": "stft.forward_basis_buffer",
    **{
        f"convolutions.{i}.{kind}": f"encoder.{i}.reparam_conv.{kind}" for i in range(4) for kind in ("weight", "bias")
    },
    **{f"lstm.{kind}_l0": f"decoder.rnn.{kind}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    **{f"last.{kind}": f"decoder.decoder.2.{kind}" for kind in ("weight", "bias")},
}


class _Network(nn.Module):
    """Magnitudes of a short-time spectrum, four convolutions, and an LSTM over the frames."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = nn.Conv1d(1, 258, 256, stride=128, bias=False)  # 129 cosines and 129 sines
        shapes = ((129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, 3, stride, padding=1) for a, b, stride in shapes)
        self.lstm = nn.LSTM(128, 128)
        self.last = nn.Conv1d(128, 1, 1)

    def forward(
        self, frames: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Give probabilities, (frames,), of successive frames with their contexts, (frames, 576), and the state."""
        waves = self.stft(functional.pad(frames[:, None], (0, 64), mode="reflect"))  # (frames, 258, 4)
        states = (waves[:, :129].square() + waves[:, 129:].square()).sqrt()  # (frames, 129, 4)
        for convolution in self.convolutions:
            states = convolution(states).relu()
        states, state = self.lstm(states[..., 0], state)  # (frames, 128)
        return self.last(states.relu()[..., None])[:, 0, 0].sigmoid(), state


@cache
def _network() -> _Network:
    check_extra("vad", "Voice activity", "silero_vad")
    place = str(distribution("silero-vad").locate_file("silero_vad/data/silero_vad.jit"))
    with warnings.catch_warnings():  # the safetensors beside it are of an earlier network
        warnings.filterwarnings("ignore", ".*torch.jit")  # whose category changes from release to release
        weights = torch.jit.load(place, map_location="cpu").state_dict()
    network = _Network()
    network.load_state_dict({ours: weights[f"_model.{theirs}"] for ours, theirs in _NAMES.items()})
    return network.eval()
