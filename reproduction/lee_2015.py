"""Lee and Tashev (2015) as a compared system.

Source: Lee and Tashev, "High-level feature representation using recurrent neural network for speech emotion
recognition", Interspeech 2015.

The paper's: 32 frame features (F0, voicing, zero crossings, 12 MFCC, energy and Δ); a BLSTM of two layers with 128
cells a direction pair; frame labels as random variables, learned by expectation maximization, with a label for frames
that carry no emotion; utterance statistics of the frame posteriors into an extreme learning machine.

Ours: the likelihood that `LeeNetwork` derives, over emotions and NULL, divided by the number of frames so that long
clips do not outweigh short ones, and made large by gradients; its epoch is chosen by the UA of the most likely
emotion; statistics are maximum, minimum, mean and the share of frames above 0.2 of every emotion's posterior; the
machine has 120 sigmoids, and its ridge is the one of the highest UA on the validation clips, of equal ones the
strongest; scores are softmax(output / T), T fitted on the validation clips.
"""

from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from scipy import linalg
from scipy.special import expit, softmax
from torch import nn
from torch.utils.data import DataLoader

from speech_emotion.cross_validation.system import FoldOutcome, FoldTask
from speech_emotion.evaluation import classification_metrics
from speech_emotion.evaluation.calibration import apply_temperature, fit_temperature

from .compared_features import FLOOR, FrameExtractor
from .compared_network import ComparedSystem, Items, Recipe, collate
from .masked_blstm import MaskedBLSTM

LOWEST_PITCH, HIGHEST_PITCH = 60.0, 400.0  # Hz
DELTA_FRAMES = 9
NUM_MFCC = 12
ELM_SIZE = 120
RIDGES = tuple(float(10.0**exponent) for exponent in range(-3, 4))
THRESHOLD = 0.2


class LeeFeatureExtractor(FrameExtractor):
    """Extractor of F0, voicing, zero crossings, 12 MFCC and log energy, and of the Δ of these 16."""

    win_length = 640
    hop_length = 160
    feature_size = 32

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that the features depend on."""
        own = {"pitch": [LOWEST_PITCH, HIGHEST_PITCH], "num_mfcc": NUM_MFCC, "delta_frames": DELTA_FRAMES}
        return super().to_dict() | own

    def frames(self, waveform: torch.Tensor) -> torch.Tensor:
        """Compute the features of one clip: (samples,) → (frames, 32), float32."""
        import librosa  # 2 s to import, and of use here alone

        half = self.win_length // 2
        padded = np.pad(waveform.cpu().numpy().astype(np.float64), half)  # so that frame m stands at sample 160 m
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.win_length)[:: self.hop_length]
        pitch, voicing = pitch_and_voicing(frames, self.sampling_rate)
        crossings = np.mean(np.signbit(frames[:, 1:]) != np.signbit(frames[:, :-1]), axis=1)  # (frames,)
        energy = np.log(np.mean(np.square(frames), axis=1) + FLOOR)  # (frames,)
        cepstrum = {"n_mfcc": NUM_MFCC + 1, "n_fft": self.win_length, "hop_length": self.hop_length, "n_mels": 40}
        mfcc = librosa.feature.mfcc(y=padded, sr=self.sampling_rate, center=False, **cepstrum)[1:].T  # (frames, 12)
        static = np.column_stack([pitch, voicing, crossings, mfcc, energy])  # (frames, 16)
        # mode="nearest" repeats the frames at the ends, and so takes clips of fewer frames than the regression's.
        delta = librosa.feature.delta(static, width=DELTA_FRAMES, axis=0, mode="nearest")
        features = np.concatenate([static, delta], axis=1).astype(np.float32)  # (frames, 32)
        return torch.from_numpy(features).to(waveform.device)


def pitch_and_voicing(frames: np.ndarray, sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the pitch of frames by their normalized autocorrelation."""
    x = frames - frames.mean(axis=1, keepdims=True)
    length = x.shape[1]
    spectrum = np.fft.rfft(x, 2 * length)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :length]  # (frames, lags)
    squares = np.concatenate([np.zeros((len(x), 1)), np.cumsum(x**2, axis=1)], axis=1)  # (frames, length + 1)
    lags = np.arange(length)
    head, tail = squares[:, length - lags], squares[:, -1:] - squares[:, lags]
    shortest, longest = int(sampling_rate / HIGHEST_PITCH), int(sampling_rate / LOWEST_PITCH)
    normalized = correlation / np.sqrt(head * tail + FLOOR)
    window = normalized[:, shortest - 1 : longest + 2]  # one more lag on either side, to see peaks at the ends
    middle = window[:, 1:-1]
    peaks = (middle >= window[:, :-2]) & (middle > window[:, 2:])
    heights = np.where(peaks, middle, 0.0)  # (frames, lags from shortest to longest)
    voicing = heights.max(axis=1)
    first = (heights >= 0.9 * voicing[:, None]).argmax(axis=1)  # (frames,)
    rows = np.arange(len(x))
    left, top, right = (window[rows, first + shift] for shift in (0, 1, 2))
    curvature = left - 2 * top + right
    shift = np.where(curvature < 0, 0.5 * (left - right) / np.where(curvature < 0, curvature, -1.0), 0.0)
    pitch = sampling_rate / (shortest + first + shift)
    return np.where(voicing >= 0.5, pitch, 0.0), voicing.clip(0.0, 1.0)


@dataclass(frozen=True)
class LeeConfig:
    """Sizes of `LeeNetwork`; the paper's but for the dropout."""

    feature_size: int = 32
    num_labels: int = 4
    hidden_size: int = 128  # cells of a layer, half of them in each direction
    num_layers: int = 2
    dropout: float = 0.3  # after each layer; ours


class LeeNetwork(nn.Module):
    """A BLSTM that gives every frame a distribution over the emotions and NULL, which stands for none.

    An utterance says an emotion, not which of its frames carry it, so the frames' labels are random variables. Given
    the network's output they are independent, and an utterance of the emotion e consists of frames labelled e or NULL,
    at least one of them e. The sum over all such sequences is

        P(e) = Π_t (p_t(e) + p_t(NULL)) - Π_t p_t(NULL),

    the first product counting every sequence over {e, NULL}, the second taking off the one of NULL alone. Its
    logarithm is made large by gradients, which weigh the labels e and NULL of a frame just as expectation maximization
    would; hence the original's alternation of two steps is not needed.
    """

    def __init__(self, config: LeeConfig) -> None:
        super().__init__()
        self.blstm = MaskedBLSTM(config.feature_size, config.hidden_size // 2, config.num_layers, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels + 1)  # NULL is the last

    def frame_log_probabilities(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Give every frame its distribution: (batch, frames, num_labels + 1)."""
        hidden = self.blstm(input_features, attention_mask)  # (batch, frames, hidden_size)
        return self.classifier(self.dropout(hidden)).log_softmax(dim=-1)

    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Compute log P(e) of every emotion, (batch, num_labels)."""
        return utterance_log_likelihood(self.frame_log_probabilities(input_features, attention_mask), attention_mask)


def utterance_log_likelihood(frame_log_probabilities: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Sum over all sequences of frame labels that an emotion allows: log P(e), (batch, num_labels)."""
    mask = attention_mask.to(frame_log_probabilities.dtype).unsqueeze(-1)  # (batch, frames, 1)
    emotions, null = frame_log_probabilities[..., :-1], frame_log_probabilities[..., -1:]
    either = (torch.logaddexp(emotions, null) * mask).sum(dim=1)  # (batch, num_labels)
    nothing = (null * mask).sum(dim=1)  # (batch, 1)
    # Below -1e-6, 1 - exp(…) is more than rounding, and its gradient is finite.
    difference = (nothing - either).clamp(max=-1e-6)
    return either + torch.log(-torch.expm1(difference))


def posterior_statistics(
    frame_log_probabilities: torch.Tensor, attention_mask: torch.Tensor, threshold: float = 0.2
) -> torch.Tensor:
    """Describe utterances by their frames' posteriors: (batch, 4 * num_labels)."""
    real = attention_mask.bool().unsqueeze(-1)  # (batch, frames, 1)
    posteriors = frame_log_probabilities[..., :-1].exp()  # (batch, frames, num_labels)
    count = real.sum(dim=1)  # (batch, 1)
    return torch.cat(
        [
            posteriors.masked_fill(~real, 0.0).amax(dim=1),
            posteriors.masked_fill(~real, 1.0).amin(dim=1),
            posteriors.masked_fill(~real, 0.0).sum(dim=1) / count,
            ((posteriors > threshold) & real).sum(dim=1) / count,
        ],
        dim=1,
    )


class ExtremeLearningMachine:
    """A layer of random sigmoids that is never trained, and a linear one fitted to it by least squares.

    With H the hidden layer's outputs for the training clips, a column of ones beside them, and Y their classes as ±1,
    the output weights are B = (HᵀH + λI)⁻¹ HᵀY. Inputs are standardized by the training clips.

    Source: Huang, Zhu and Siew, "Extreme learning machine: theory and applications", Neurocomputing 70, 2006; the
        ridge is ours.
    """

    def __init__(self, hidden_size: int, seed: int) -> None:
        self.hidden_size, self.seed = hidden_size, seed

    def fit(self, x: np.ndarray, labels: np.ndarray, num_labels: int, ridge: float) -> "ExtremeLearningMachine":
        """Fit the output weights."""
        random = np.random.default_rng(self.seed)
        self._weights = random.standard_normal((x.shape[1], self.hidden_size)) / np.sqrt(x.shape[1])
        self._bias = random.standard_normal(self.hidden_size)
        self._mean, std = x.mean(axis=0), x.std(axis=0)
        self._std = np.where(std > 1e-8, std, 1.0)
        hidden = self._hidden(x)
        targets = 2.0 * np.eye(num_labels)[labels] - 1.0  # (clips, num_labels)
        gram = hidden.T @ hidden + ridge * np.eye(hidden.shape[1])
        self._output = linalg.solve(gram, hidden.T @ targets, assume_a="pos")
        return self

    def decide(self, x: np.ndarray) -> np.ndarray:
        """Return a value for each class, near 1 for the right one and -1 for others."""
        return self._hidden(x) @ self._output

    def _hidden(self, x: np.ndarray) -> np.ndarray:
        hidden = expit(((x - self._mean) / self._std) @ self._weights + self._bias)
        return np.concatenate([hidden, np.ones((len(x), 1))], axis=1)  # (clips, hidden_size + 1)


class Lee(ComparedSystem):
    """A BLSTM whose frame labels are random variables, and an extreme learning machine over its posteriors."""

    config = LeeConfig()
    recipe = Recipe(epochs=60, patience=10, learning_rate=2e-3)

    def make_extractor(self) -> LeeFeatureExtractor:
        """Make the extractor of the 32 features."""
        return LeeFeatureExtractor()

    def make_network(self, fold: FoldTask) -> nn.Module:
        """Make the BLSTM."""
        return LeeNetwork(replace(self.config, num_labels=len(fold.labels)))

    def forward(
        self, network: nn.Module, inputs: dict[str, torch.Tensor], labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the mean over clips of -log P(emotion) per frame, and log P of every emotion."""
        likelihoods = network(**inputs)  # (batch, num_labels)
        frames = inputs["attention_mask"].sum(dim=1)
        return -(likelihoods.gather(1, labels[:, None]).squeeze(1) / frames).mean(), likelihoods

    def fit(self, fold: FoldTask) -> FoldOutcome:
        """Train the BLSTM, fit the machine to its posteriors, and score."""
        trained = self.train(fold)
        train, validation, test = (self._statistics(trained.network, part) for part in trained.items.values())
        labels, truth = (np.asarray(part.labels) for part in (fold.splits.train, fold.splits.validation))
        tried = []
        for ridge in reversed(RIDGES):
            machine = ExtremeLearningMachine(ELM_SIZE, fold.seed).fit(train, labels, len(fold.labels), ridge)
            guesses = machine.decide(validation).argmax(axis=1)
            tried.append((classification_metrics(truth, guesses, len(fold.labels))["ua"], ridge, machine))
        ua, ridge, machine = max(tried, key=itemgetter(0))  # the first, of equal ones
        scores = [softmax(machine.decide(part), axis=1) for part in (validation, test)]
        temperature = fit_temperature(truth, scores[0], prior_clips=0)  # as what is stored
        about = trained.about | {"ridge": ridge, "temperature": temperature, "machine_validation_ua": ua}
        return FoldOutcome(*(apply_temperature(part, temperature) for part in scores), about)

    def own_settings(self) -> dict[str, Any]:
        """Return the machine's grid."""
        return {"machine": {"hidden_size": ELM_SIZE, "ridges": list(RIDGES), "threshold": THRESHOLD}}

    @torch.no_grad()
    def _statistics(self, network: nn.Module, items: Items) -> np.ndarray:
        """Describe clips by their frames' posteriors: (clips, 4 * num_labels), float64."""
        network.eval()
        device = next(network.parameters()).device
        rows = []
        for batch in DataLoader(items, self.recipe.batch_size, collate_fn=collate):
            features, mask = (batch[name].to(device) for name in ("input_features", "attention_mask"))
            rows.append(posterior_statistics(network.frame_log_probabilities(features, mask), mask, THRESHOLD))
        return torch.cat(rows).double().cpu().numpy()
