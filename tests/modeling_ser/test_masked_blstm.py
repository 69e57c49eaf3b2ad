"""The BLSTM over padded clips against torch's own over packed ones."""

import torch
from torch import nn

from reproduction.masked_blstm import MaskedBLSTM, reversal

LENGTHS = torch.tensor([7, 12, 1, 9])
MASK = (torch.arange(12) < LENGTHS[:, None]).long()  # (4, 12)


def packed_blstm(blstm: MaskedBLSTM) -> nn.LSTM:
    """Torch's own, with the same weights."""
    layers = len(blstm.forward_layers)
    first = blstm.forward_layers[0]
    packed = nn.LSTM(first.input_size, first.hidden_size, layers, batch_first=True, bidirectional=True)
    weights = {}
    for number in range(layers):
        for part, ending in ((blstm.forward_layers, ""), (blstm.backward_layers, "_reverse")):
            for name, value in part[number].state_dict().items():
                weights[name.replace("_l0", f"_l{number}") + ending] = value
    packed.load_state_dict(weights)
    return packed


def test_it_is_torchs_packed_blstm() -> None:
    torch.manual_seed(0)
    blstm = MaskedBLSTM(5, 3, num_layers=2)
    packed = packed_blstm(blstm)
    x = torch.randn(4, 12, 5)
    weights = torch.randn(4, 12, 6)
    own, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = blstm(own, MASK)
    sequence = nn.utils.rnn.pack_padded_sequence(theirs, LENGTHS, batch_first=True, enforce_sorted=False)
    expected = nn.utils.rnn.pad_packed_sequence(packed(sequence)[0], batch_first=True)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(own.grad, theirs.grad, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        blstm.backward_layers[1].weight_hh_l0.grad, packed.weight_hh_l1_reverse.grad, rtol=0, atol=1e-5
    )


def test_padding_changes_nothing_and_is_zero() -> None:
    torch.manual_seed(0)
    blstm = MaskedBLSTM(5, 3, num_layers=2).eval()
    x = torch.randn(4, 12, 5)
    other = torch.where(MASK.bool().unsqueeze(-1), x, torch.full_like(x, 100.0))
    torch.testing.assert_close(blstm(other, MASK), blstm(x, MASK), rtol=0, atol=0)
    assert blstm(x, MASK)[MASK == 0].eq(0).all()
    for number, length in enumerate(LENGTHS.tolist()):
        alone = blstm(x[number : number + 1, :length], torch.ones(1, length))
        torch.testing.assert_close(blstm(x, MASK)[number : number + 1, :length], alone, rtol=0, atol=1e-6)


def test_dropout_is_between_layers_only() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 12, 5)
    one, two = MaskedBLSTM(5, 3, dropout=0.5), MaskedBLSTM(5, 3, num_layers=2, dropout=0.5)
    assert torch.equal(one(x, MASK), one(x, MASK))
    assert not torch.equal(two(x, MASK), two(x, MASK))
    assert torch.equal(two.eval()(x, MASK), two(x, MASK))


def test_reversal_taken_twice_changes_nothing() -> None:
    order = reversal(MASK)
    assert torch.equal(order.gather(1, order), torch.arange(12).expand(4, -1))
