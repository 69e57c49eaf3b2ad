"""DeepSpeech's LSTM, quick for single clips and for streams too.

At every call torch's kernel for CPUs first rearranges all of the weights, 134 MB at the released size. In a batch that
is little; a single clip loses the time of 60 frames, and a stream that of 60 frames for every chunk.
"""

import torch
from torch import nn
from torch.nn import functional as F

# Where the LSTM goes frame by frame: in small chunks of a stream, and on one thread where the recurrent weights are
# larger than caches, so that torch's own kernel waits for memory as well.
FEW_FRAMES = 8
UNCACHED_UNITS = 2048

LSTMState = tuple[torch.Tensor, torch.Tensor]


class DeepSpeechLSTM(nn.LSTM):
    """An LSTM of one layer and one direction that reads single clips frame by frame where that is faster.

    Parameters, arguments and results are those of `torch.nn.LSTM` with `batch_first=True`; the two ways differ by
    rounding, 1e-6.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def forward(
        self, input: torch.Tensor | nn.utils.rnn.PackedSequence, hx: LSTMState | None = None
    ) -> tuple[torch.Tensor | nn.utils.rnn.PackedSequence, LSTMState]:
        """Run over a batch of sequences."""
        if self._goes_frame_by_frame(input):
            return self._frame_by_frame(input, hx)
        return super().forward(input, hx)

    def _goes_frame_by_frame(self, input: torch.Tensor | nn.utils.rnn.PackedSequence) -> bool:
        if torch.compiler.is_compiling() or torch.is_grad_enabled() or not isinstance(input, torch.Tensor):
            return False
        if input.dim() != 3 or len(input) != 1 or input.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return False
        large = self.hidden_size >= UNCACHED_UNITS and torch.get_num_threads() == 1
        return large or input.shape[1] <= FEW_FRAMES

    def _frame_by_frame(self, input: torch.Tensor, hx: LSTMState | None) -> tuple[torch.Tensor, LSTMState]:
        hidden, cell = (input.new_zeros(self.hidden_size),) * 2 if hx is None else (part[0, 0] for part in hx)
        cell = cell.clone()
        # What does not depend on the frame before is one product for all frames: (frames, 4 * hidden_size).
        given = F.linear(input[0], self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        output = input.new_empty(len(given), self.hidden_size)
        for row, result in zip(given, output, strict=True):
            gates = torch.addmv(row, self.weight_hh_l0, hidden)
            in_gate, forget_gate, proposal, out_gate = gates.chunk(4)  # (hidden_size,) each
            gates[: 2 * self.hidden_size].sigmoid_()
            cell.mul_(forget_gate).addcmul_(in_gate, proposal.tanh_())
            hidden = torch.mul(out_gate.sigmoid_(), cell.tanh(), out=result)
        return output[None], (hidden.clone()[None, None], cell[None, None])
