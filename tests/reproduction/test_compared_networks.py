"""Networks of compared systems: shapes, masks, and their own mathematics against slow references."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn import functional as F

from feature_extraction import DeepSpeechConfig, DeepSpeechForCTC
from reproduction.lakomkin_2017 import JointOutput, LakomkinConfig, LakomkinNetwork
from reproduction.lee_2015 import (
    ExtremeLearningMachine,
    LeeConfig,
    LeeNetwork,
    posterior_statistics,
    utterance_log_likelihood,
)
from reproduction.masked_blstm import MaskedBLSTM
from reproduction.satt_2017 import SattConfig, SattNetwork
from reproduction.yenigalla_2018 import (
    BlockConv2d,
    PhonemeChannel,
    SpectrogramChannel,
    YenigallaConfig,
    YenigallaNetwork,
)

SMALL_YENIGALLA = YenigallaConfig(num_labels=3, num_filters=2, num_text_filters=4, vocab_size=9, dense_sizes=(8, 6))
SMALL_LAKOMKIN = LakomkinConfig(num_labels=3, activation_size=8, hidden_size=5)

# Each with the number of features that it reads.
MAKERS: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "satt": lambda: (SattNetwork(SattConfig(num_bins=21, num_labels=3, channels=(2, 3, 4), hidden_size=5)), 21),
    "yenigalla": lambda: (YenigallaNetwork(SMALL_YENIGALLA, phonemes=False), 128),
    "lee": lambda: (LeeNetwork(LeeConfig(feature_size=4, num_labels=3, hidden_size=6)), 4),
    "lakomkin": lambda: (LakomkinNetwork(DeepSpeechForCTC(DeepSpeechConfig(hidden_size=8)), SMALL_LAKOMKIN), 26),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("frames", [1, 7, 50])
def test_a_clip_scores_alone_as_in_a_batch(name: str, frames: int) -> None:
    torch.manual_seed(0)
    network, size = MAKERS[name]()
    for _ in range(3):  # running statistics other than 0 and 1
        network(torch.randn(4, 60, size), torch.ones(4, 60, dtype=torch.int64))
    network.eval()

    def score(clips: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        output = network(clips, mask)
        return output.emotion_logits if isinstance(output, JointOutput) else output

    clip, other = torch.randn(1, frames, size), torch.randn(1, 75, size)
    batch = torch.cat([F.pad(clip, (0, 0, 0, 75 - frames)), other])
    mask = torch.tensor([[1] * frames + [0] * (75 - frames), [1] * 75])
    with torch.no_grad():
        alone = score(clip, mask[:1, :frames])
        together = score(batch, mask)
        after = score(other, mask[1:])
    assert alone.shape == (1, 3)
    torch.testing.assert_close(together, torch.cat([alone, after]), atol=1e-5, rtol=0)
    assert not torch.allclose(alone, after, atol=1e-3)


def test_padding_has_no_part_in_satts_batch_statistics() -> None:
    torch.manual_seed(0)
    network, size = MAKERS["satt"]()
    network.dropout.p = 0.0
    clips, mask = torch.randn(3, 30, size), torch.ones(3, 30, dtype=torch.int64)
    expected = network(clips, mask)
    padded = network(F.pad(clips, (0, 0, 0, 11)), F.pad(mask, (0, 11)))
    torch.testing.assert_close(padded, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("lengths", [(2, 5), (5, 30), (17, 18)])
def test_a_transcript_scores_alone_as_in_a_batch(lengths: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = PhonemeChannel(SMALL_YENIGALLA).eval()
    rows = [torch.randint(0, 9, (length,)) for length in lengths]
    batch = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)
    with torch.no_grad():
        alone = torch.cat([network(row[None]) for row in rows])
        torch.testing.assert_close(network(batch), alone, atol=1e-6, rtol=0)


def test_a_phoneme_filter_sees_the_places_within_the_transcript() -> None:
    # Against a loop over the places, with the widest filter and one transcript longer than it.
    torch.manual_seed(0)
    channel = PhonemeChannel(SMALL_YENIGALLA).eval()
    seen = {}
    channel.dense.register_forward_pre_hook(lambda _, inputs: seen.update(pooled=inputs[0]))
    symbols = torch.randint(0, 9, (1, 20))
    channel(symbols)
    embedded = channel.embedding(symbols)[0]  # (20, 100)
    expected = []
    for convolution in channel.convolutions:
        width = convolution.kernel_size[0]
        places = [
            torch.einsum("fck,kc->f", convolution.weight, embedded[start : start + width]) + convolution.bias
            for start in range(20 - width + 1)
        ]
        expected.append(torch.stack(places).amax(dim=0).relu())
    torch.testing.assert_close(seen["pooled"][0], torch.cat(expected), atol=1e-5, rtol=0)


def test_yenigallas_published_sizes() -> None:
    channel = SpectrogramChannel(YenigallaConfig(num_filters=1, stride=1))
    maps = []
    for convolution in channel.convolutions:
        convolution.register_forward_hook(lambda *call: maps.append(tuple(call[2].shape[2:])))
    assert channel.eval()(torch.randn(1, 256, 128), torch.ones(1, 256)).shape == (1, 200)
    kernels = [convolution.kernel_size for convolution in channel.convolutions]
    assert kernels == [(12, 16), (18, 24), (24, 32), (30, 40)]
    assert maps == [(117, 241), (111, 233), (105, 225), (99, 217)]
    assert channel.dense[0].in_features == 4 * 4  # four maps, of each a place in every quarter


def test_what_is_beyond_the_spectrogram_is_cut() -> None:
    channel = SpectrogramChannel(SMALL_YENIGALLA).eval()
    clip = torch.randn(1, 300, 128)
    with torch.no_grad():
        assert torch.equal(channel(clip, torch.ones(1, 300)), channel(clip[:, :256], torch.ones(1, 256)))


def test_both_channels_count() -> None:
    network = YenigallaNetwork(SMALL_YENIGALLA).eval()
    clip, mask, symbols = torch.randn(1, 99, 128), torch.ones(1, 99), torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        scores = network(clip, mask, symbols)
        assert not torch.allclose(scores, network(-clip, mask, symbols))
        assert not torch.allclose(scores, network(clip, mask, symbols + 1))


def test_likelihood_is_the_sum_over_all_sequences_of_labels() -> None:
    torch.manual_seed(0)
    emotions, frames = 3, 4
    logs = torch.randn(1, frames, emotions + 1, dtype=torch.float64).log_softmax(dim=-1)
    expected = torch.zeros(emotions, dtype=torch.float64)
    for sequence in itertools.product(range(emotions + 1), repeat=frames):
        said = set(sequence) - {emotions}
        if len(said) == 1:
            expected[said.pop()] += sum(logs[0, frame, label] for frame, label in enumerate(sequence)).exp()
    actual = utterance_log_likelihood(logs, torch.ones(1, frames))
    torch.testing.assert_close(actual[0].exp(), expected)
    padded = utterance_log_likelihood(F.pad(logs, (0, 0, 0, 3)), torch.tensor([[1] * 4 + [0] * 3]))
    torch.testing.assert_close(padded, actual)


def test_likelihood_of_many_frames_stays_finite_with_its_gradient() -> None:
    for null in (-30.0, 0.0, 30.0):
        logits = torch.zeros(1, 3000, 5)
        logits[..., -1] = null
        logits.requires_grad_()
        value = utterance_log_likelihood(logits.log_softmax(dim=-1), torch.ones(1, 3000))
        value.sum().backward()
        assert value.isfinite().all() and (value <= 0).all() and logits.grad.isfinite().all()


def test_posterior_statistics_against_numpy() -> None:
    torch.manual_seed(0)
    logs = torch.randn(2, 9, 4).log_softmax(dim=-1)
    mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    actual = posterior_statistics(logs, mask, threshold=0.3).numpy()
    for row, length in enumerate((9, 5)):
        p = np.exp(logs[row, :length, :3].numpy())
        expected = np.concatenate([p.max(0), p.min(0), p.mean(0), (p > 0.3).mean(0)])
        np.testing.assert_allclose(actual[row], expected, atol=1e-6)


def test_extreme_learning_machine_is_a_ridge_on_random_sigmoids() -> None:
    random = np.random.default_rng(0)
    x, labels = random.normal(3.0, 2.0, (40, 5)), random.integers(0, 3, 40)
    machine = ExtremeLearningMachine(hidden_size=12, seed=1).fit(x, labels, num_labels=3, ridge=0.5)
    hidden = machine._hidden(x)
    assert hidden.shape == (40, 13) and (hidden[:, -1] == 1).all()
    reference = Ridge(alpha=0.5, fit_intercept=False).fit(hidden, 2.0 * np.eye(3)[labels] - 1)
    np.testing.assert_allclose(machine.decide(x), reference.predict(hidden), atol=1e-8)
    again = ExtremeLearningMachine(hidden_size=12, seed=1).fit(x, labels, 3, 0.5)
    assert np.array_equal(again.decide(x), machine.decide(x))


def test_the_emotions_gradient_reaches_the_recognizer() -> None:
    network, _ = MAKERS["lakomkin"]()
    output = network(torch.randn(2, 20, 26), torch.ones(2, 20, dtype=torch.int64))
    output.emotion_logits.sum().backward()
    recognizer = network.recognizer.deepspeech
    assert recognizer.layer_1.weight.grad.abs().sum() > 0
    assert recognizer.layer_6.weight.grad is None  # letters have no part in the emotion


LENGTHS = torch.tensor([7, 12, 1, 9])
MASK = (torch.arange(12) < LENGTHS[:, None]).long()  # (4, 12)


def test_the_blstm_is_torchs_over_packed_clips_and_zero_where_padded() -> None:
    torch.manual_seed(0)
    blstm = MaskedBLSTM(5, 3, num_layers=2)
    packed, weights = nn.LSTM(5, 3, 2, batch_first=True, bidirectional=True), {}
    for key, value in blstm.state_dict().items():
        part, number, name = key.split(".")
        weights[name.replace("_l0", f"_l{number}") + ("_reverse" if part == "backward_layers" else "")] = value
    packed.load_state_dict(weights)
    x = torch.randn(4, 12, 5)  # noise where padded, too
    factors = torch.randn(4, 12, 6)
    own, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = blstm(own, MASK)
    sequence = nn.utils.rnn.pack_padded_sequence(theirs, LENGTHS, batch_first=True, enforce_sorted=False)
    expected = nn.utils.rnn.pad_packed_sequence(packed(sequence)[0], batch_first=True)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    (found * factors).sum().backward()
    (expected * factors).sum().backward()
    torch.testing.assert_close(own.grad, theirs.grad, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        blstm.backward_layers[1].weight_hh_l0.grad, packed.weight_hh_l1_reverse.grad, rtol=0, atol=1e-5
    )


def test_dropout_of_the_blstm_is_between_layers_only() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 12, 5)
    one, two = MaskedBLSTM(5, 3, dropout=0.5), MaskedBLSTM(5, 3, num_layers=2, dropout=0.5)
    assert torch.equal(one(x, MASK), one(x, MASK))
    assert not torch.equal(two(x, MASK), two(x, MASK))
    assert torch.equal(two.eval()(x, MASK), two(x, MASK))


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("kernel", [(4, 8), (5, 3), (9, 14)])
@pytest.mark.parametrize("size", [(16, 24), (17, 30), (13, 19)])
def test_the_block_convolution_is_torchs(stride: int, kernel: tuple[int, int], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    convolution = BlockConv2d(3, kernel, stride)
    x = torch.randn(2, 1, *size)
    own, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = convolution(own)
    expected = F.conv2d(theirs, convolution.weight, convolution.bias, stride=stride)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((found * weights).sum(), [own, convolution.weight, convolution.bias])
    known = torch.autograd.grad((expected * weights).sum(), [theirs, convolution.weight, convolution.bias])
    for gradient, other in zip(gradients, known, strict=True):
        torch.testing.assert_close(gradient, other, rtol=0, atol=1e-4)
