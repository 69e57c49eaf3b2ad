"""Yenigalla et al. (2018) as compared systems: spectrogram, phonemes, both.

Source: Yenigalla et al., "Speech emotion recognition using spectrogram & phoneme embedding", Interspeech 2018.

The paper's, of the spectrogram's channel: mel, 128 × 256, up to 6 s; four parallel 2-D convolutions with kernels
12×16, 18×24, 24×32 and 30×40, each max-pooled by half its map; dense layers of 400 and 200 with batch normalization
and dropout, not on the second; Adadelta. Of the phonemes': 47 phonemes, an embedding of 100, 1-D filters of width 3,
9, 13 and 17, the maximum over time, dense layers. Of both: dense layers of each channel, concatenation, normalization,
a dense layer.

Ours: 256 frames in 6 s make a hop of 375 samples, frames have 800, the logarithm is taken, shorter clips are padded
with the training clips' mean and of longer ones the first 6 s are taken; kernels are bands × frames; the convolutions
move in steps of 4, a sixteenth of the work of steps of 1, and have 32 filters each, those over phonemes 64; the
phonemes' dense layers and Adadelta are as the spectrogram's; the rate of dropout; cross entropy without weights. In
place of the 47 phonemes are those that espeak-ng makes of the training clips' transcripts, and one number for all
others. Transcripts are the corpus's own, not a recognizer's. Where every sentence is said in every emotion, as in
EmoDB, phonemes can tell nothing, and the phoneme system stays near chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import datasets
import torch
from torch import nn
from torch.nn import functional as F

from speech_emotion.cross_validation.system import FoldTask
from speech_emotion.training.splits import ClipSplit

from .compared_features import SpectrogramExtractor
from .compared_network import ComparedSystem, Items, Recipe, Statistics

SECONDS = 6.0
# Codes of our corpora's languages that espeak-ng spells otherwise.
ESPEAK_LANGUAGES = {"en": "en-us", "zh": "cmn"}
WORD_BREAK = "|"  # which no phoneme is written as
UNKNOWN = 0  # number of a phoneme that no training clip has


@dataclass(frozen=True)
class YenigallaConfig:
    """Sizes of the networks: the paper's, and where marked, ours."""

    num_labels: int = 4
    num_mel_bins: int = 128  # mel bands of the spectrogram
    num_frames: int = 256  # frames of the spectrogram; shorter clips are padded, longer ones cut
    # Bands and frames that each of the parallel 2-D convolutions sees.
    kernel_sizes: tuple[tuple[int, int], ...] = ((12, 16), (18, 24), (24, 32), (30, 40))
    num_filters: int = 32  # of each of them; ours
    stride: int = 4  # bands and frames from one place of a convolution to the next; ours
    vocab_size: int = 48  # Phonemes, and whatever stands for those not known
    embedding_size: int = 100  # values of a phoneme
    text_kernel_sizes: tuple[int, ...] = (3, 9, 13, 17)  # phonemes that each of the 1-D convolutions sees
    num_text_filters: int = 64  # of each of them; ours
    dense_sizes: tuple[int, int] = (400, 200)  # sizes of the fully connected layers
    dropout: float = 0.3  # after the first of them, not after the second; its rate is ours


class SpectrogramChannel(nn.Module):
    """Four parallel 2-D convolutions over a mel spectrogram, each max-pooled by half its map, then dense layers.

    What is padded holds zeros, which for normalized features is the mean of the training clips.
    """

    def __init__(self, config: YenigallaConfig) -> None:
        super().__init__()
        self.config = config
        self.convolutions = nn.ModuleList(
            BlockConv2d(config.num_filters, size, config.stride) for size in config.kernel_sizes
        )
        # By half: two places of a map's height and two of its width are left.
        self.dense = dense_layers(4 * config.num_filters * len(config.kernel_sizes), config)

    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Describe clips."""
        x = input_features * attention_mask.to(input_features.dtype).unsqueeze(-1)
        x = x[:, : self.config.num_frames]
        x = F.pad(x, (0, 0, 0, self.config.num_frames - x.shape[1]))  # (batch, num_frames, num_mel_bins)
        x = x.transpose(1, 2).unsqueeze(1)  # (batch, 1, num_mel_bins, num_frames)
        pooled = []
        for convolution in self.convolutions:
            activations = F.relu(convolution(x))  # (batch, num_filters, height, width)
            half = (activations.shape[2] // 2, activations.shape[3] // 2)
            pooled.append(F.max_pool2d(activations, half)[..., :2, :2].flatten(1))  # (batch, num_filters * 4)
        return self.dense(torch.cat(pooled, dim=1))


class PhonemeChannel(nn.Module):
    """An embedding, four parallel 1-D convolutions and the maximum over time, then dense layers.

    A transcript shorter than a filter is padded with zero vectors to its width, and of any other only the places are
    taken at which the filter lies within it: so what pads a batch has no effect.
    """

    def __init__(self, config: YenigallaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding_size, config.num_text_filters, size) for size in config.text_kernel_sizes
        )
        self.dense = dense_layers(config.num_text_filters * len(config.text_kernel_sizes), config)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        """Describe transcripts."""
        real = symbols >= 0  # (batch, longest)
        x = self.embedding(symbols.clamp(min=0)) * real.unsqueeze(-1)
        widest = max(self.config.text_kernel_sizes)
        x = F.pad(x, (0, 0, 0, max(0, widest - x.shape[1]))).transpose(1, 2)  # (batch, embedding_size, longest)
        lengths = real.sum(dim=1, keepdim=True)  # (batch, 1)
        pooled = []
        for convolution in self.convolutions:
            activations = F.relu(convolution(x))  # (batch, num_text_filters, places)
            places = torch.arange(activations.shape[-1], device=x.device)
            within = places < (lengths - convolution.kernel_size[0] + 1).clamp(min=1)  # (batch, places)
            # Activations are 0 or more: a zero in place of one that does not count is never the maximum wrongly.
            pooled.append((activations * within.unsqueeze(1)).amax(dim=-1))  # (batch, num_text_filters)
        return self.dense(torch.cat(pooled, dim=1))


def dense_layers(in_size: int, config: YenigallaConfig) -> nn.Sequential:
    """Dense → batch normalization → ReLU, twice, with dropout after the first."""
    first, second = config.dense_sizes
    return nn.Sequential(
        nn.Linear(in_size, first, bias=False),
        nn.BatchNorm1d(first),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(first, second, bias=False),
        nn.BatchNorm1d(second),
        nn.ReLU(),
    )


class YenigallaNetwork(nn.Module):
    """One channel and a classifier, or both: concatenated, normalized and classified by one dense layer."""

    def __init__(self, config: YenigallaConfig, spectrogram: bool = True, phonemes: bool = True) -> None:
        super().__init__()
        self.spectrogram = SpectrogramChannel(config) if spectrogram else None
        self.phonemes = PhonemeChannel(config) if phonemes else None
        size = config.dense_sizes[-1] * (spectrogram + phonemes)
        self.norm = nn.BatchNorm1d(size) if spectrogram and phonemes else nn.Identity()
        self.classifier = nn.Linear(size, config.num_labels)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        symbols: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Score clips."""
        parts = []
        if self.spectrogram is not None:
            parts.append(self.spectrogram(input_features, attention_mask))
        if self.phonemes is not None:
            parts.append(self.phonemes(symbols))
        return self.classifier(self.norm(torch.cat(parts, dim=1)))


class BlockConv2d(nn.Conv2d):
    """2-D convolution over one channel in steps of s places, computed as an ordinary one over s² channels.

    Image and kernel are cut into blocks of s × s places, a channel for each place within a block; a step of s places
    is then one of a block. On a CPU libraries compute with many channels far better than with one. Weights and result
    are those of `torch.nn.Conv2d`. Source: ours; blocks as channels are known as space-to-depth.
    """

    def __init__(self, out_channels: int, kernel_size: tuple[int, int], stride: int) -> None:
        super().__init__(1, out_channels, kernel_size, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve: (batch, 1, height, width) → (batch, out_channels, …), as `torch.nn.Conv2d` does."""
        step = self.stride[0]
        height, width = (
            (size - kernel) // step + 1 for size, kernel in zip(x.shape[2:], self.kernel_size, strict=True)
        )
        image = F.pixel_unshuffle(_fill(x, step), step)  # (batch, s², ⌈height / s⌉, ⌈width / s⌉)
        weight = F.pixel_unshuffle(_fill(self.weight, step), step)  # (out_channels, s², …)
        y = F.conv2d(
            image.contiguous(memory_format=torch.channels_last),
            weight.contiguous(memory_format=torch.channels_last),
            self.bias,
        )
        return y[..., :height, :width]  # the zeros that fill up the image may make one place more


def _fill(x: torch.Tensor, step: int) -> torch.Tensor:
    """Fill up height and width, the last two dimensions, with zeros to multiples of the step."""
    return F.pad(x, (0, -x.shape[3] % step, 0, -x.shape[2] % step))


def phonemes_of_clips(rows: datasets.Dataset, ids: Sequence[str]) -> list[tuple[str, ...]]:
    """Turn the transcripts of clips into phonemes."""
    columns = [rows[name][:] for name in ("id", "transcript", "language")]
    spoken = {clip: (transcript or "", language) for clip, transcript, language in zip(*columns, strict=True)}
    for clip in ids:
        if not spoken[clip][0].strip():
            raise ValueError(
                f"Clip {clip!r} has no transcript, which the phonemes are made from. Take a system that reads sound "
                "alone, or a corpus with transcripts."
            )
    return [phonemes_of(*spoken[clip]) for clip in ids]


@cache
def phonemes_of(text: str, language: str) -> tuple[str, ...]:
    """Turn a text into phonemes by the rules of espeak-ng, in the alphabet of the IPA, without stress.

    Source: espeak-ng, through phonemizer: Bernard and Titeux, "Phonemizer: Text to Phones Transcription for Multiple
        Languages in Python", JOSS 6, 2021.
    """
    backend, separator = _espeak(ESPEAK_LANGUAGES.get(language, language))
    (line,) = backend.phonemize([text], separator=separator, strip=True)
    phonemes = tuple(phoneme for phoneme in line.split() if phoneme != WORD_BREAK)
    if not phonemes:
        raise ValueError(f"espeak-ng finds no phoneme in the {language} transcript {text!r}; correct it.")
    return phonemes


@cache
def _espeak(language: str) -> tuple[Any, Any]:
    """Load espeak-ng, which comes as a wheel, not from the system, for a language."""
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
        from phonemizer.separator import Separator
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Phonemes need the package {error.name}: pip install 'modeling-ser[bench]'.", name=error.name
        ) from error
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    if language not in EspeakBackend.supported_languages():
        raise ValueError(f"espeak-ng does not know the language {language!r}; its phonemes cannot be made.")
    # Words of another language keep the phonemes of that language, without the marks of the switch.
    backend = EspeakBackend(language, with_stress=False, language_switch="remove-flags")
    return backend, Separator(phone=" ", word=f" {WORD_BREAK} ", syllable="")


class Yenigalla(ComparedSystem):
    """Parallel convolutions over a mel spectrogram, over embedded phonemes, or over both, as its name ends."""

    config = YenigallaConfig()
    recipe = Recipe(epochs=60, patience=10, optimizer="adadelta", learning_rate=1.0, weight_decay=0.0)

    def __init__(self, name: str, *args: Any) -> None:
        super().__init__(name, *args)
        reads = name.rpartition("-")[2]  # "spectrogram", "phonemes" or "combined"
        self.spectrogram, self.phonemes = reads != "phonemes", reads != "spectrogram"

    def make_extractor(self) -> SpectrogramExtractor:
        """Make the extractor of mel spectrograms; the phoneme system has the same and does not look at them."""
        hop = round(SECONDS * SpectrogramExtractor.sampling_rate / self.config.num_frames)
        return SpectrogramExtractor(800, hop, 8000.0, num_mel_bins=self.config.num_mel_bins, n_fft=1024)

    def make_items(self, fold: FoldTask, clips: ClipSplit, statistics: Statistics) -> Items:
        """Bring together spectrograms and phonemes."""
        symbols = None
        if self.phonemes:
            numbers = _numbers(fold)
            rows = phonemes_of_clips(fold.rows, clips.ids)
            symbols = [[numbers.get(phoneme, UNKNOWN) for phoneme in row] for row in rows]
        return Items(clips, statistics if self.spectrogram else None, symbols)

    def make_network(self, fold: FoldTask) -> nn.Module:
        """Make the network."""
        vocabulary = 1 + len(_numbers(fold)) if self.phonemes else self.config.vocab_size
        config = replace(self.config, num_labels=len(fold.labels), vocab_size=vocabulary)
        return YenigallaNetwork(config, self.spectrogram, self.phonemes)

    def own_settings(self) -> dict[str, Any]:
        """Return what is read."""
        channels = {"spectrogram": self.spectrogram, "phonemes": self.phonemes}
        return {"seconds": SECONDS, **channels, "phonemizer": "espeak-ng"}


def _numbers(fold: FoldTask) -> dict[str, int]:
    """Number the phonemes of the training clips, from 1: what is unknown has 0."""
    known = {phoneme for row in phonemes_of_clips(fold.rows, fold.splits.train.ids) for phoneme in row}
    return {phoneme: number for number, phoneme in enumerate(sorted(known), UNKNOWN + 1)}
