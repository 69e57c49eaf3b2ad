"""Yenigalla et al. (2018) as compared systems: spectrogram, phonemes, both."""

from dataclasses import asdict, replace
from typing import Any

from torch import nn

from reproduction.modeling_yenigalla import YenigallaConfig, YenigallaNetwork
from speech_emotion.cross_validation.system import FoldTask, System
from speech_emotion.training.clip_split import ClipSplit

from .compared_items import Items, Statistics
from .compared_system import NetworkSystem
from .compared_training import Recipe
from .phonemes import encode_phonemes, phoneme_numbers, phonemes_of, transcripts_of
from .spectrogram_extractor import SpectrogramExtractor

SECONDS = 6.0


class Yenigalla(NetworkSystem):
    """Parallel convolutions over a mel spectrogram, over embedded phonemes, or over both."""

    def __init__(
        self,
        name: str,
        title: str,
        spectrogram: bool,
        phonemes: bool,
        config: YenigallaConfig | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        adadelta = Recipe(epochs=60, patience=10, optimizer="adadelta", learning_rate=1.0, weight_decay=0.0)
        super().__init__(name, title, recipe or adadelta)
        self.spectrogram, self.phonemes = spectrogram, phonemes
        self.config = config or YenigallaConfig()

    def make_extractor(self) -> SpectrogramExtractor:
        """Make the extractor of mel spectrograms; the phoneme system has the same and does not look at them."""
        hop = round(SECONDS * SpectrogramExtractor.sampling_rate / self.config.num_frames)
        return SpectrogramExtractor(800, hop, 8000.0, num_mel_bins=self.config.num_mel_bins, n_fft=1024)

    def make_items(self, task: FoldTask, clips: ClipSplit, statistics: Statistics) -> Items:
        """Bring together spectrograms and phonemes."""
        symbols = None
        if self.phonemes:
            numbers = self._numbers(task)
            symbols = [encode_phonemes(row, numbers) for row in _phonemes(task, clips)]
        return Items(clips, statistics if self.spectrogram else None, symbols)

    def make_network(self, task: FoldTask) -> nn.Module:
        """Make the network."""
        vocabulary = 1 + len(self._numbers(task)) if self.phonemes else self.config.vocab_size
        config = replace(self.config, num_labels=len(task.labels), vocab_size=vocabulary)
        return YenigallaNetwork(config, self.spectrogram, self.phonemes)

    def own_settings(self) -> dict[str, Any]:
        """Return channels and sizes."""
        channels = {"spectrogram": self.spectrogram, "phonemes": self.phonemes, "phonemizer": "espeak-ng"}
        return {"network": asdict(self.config), "seconds": SECONDS, **channels}

    def _numbers(self, task: FoldTask) -> dict[str, int]:
        return phoneme_numbers(_phonemes(task, task.splits.train))


def _phonemes(task: FoldTask, clips: ClipSplit) -> list[list[str]]:
    return phonemes_of(transcripts_of(task.rows, clips.ids))


def yenigalla_2018_spectrogram() -> System:
    """Make the system that reads spectrograms, with its default, reduced sizes."""
    title = "Yenigalla et al. 2018, spectrogram (reduced)"
    return Yenigalla("yenigalla-2018-spectrogram", title, spectrogram=True, phonemes=False)


def yenigalla_2018_phonemes() -> System:
    """Make the system that reads phonemes of the corpus's transcripts."""
    title = "Yenigalla et al. 2018, phonemes (espeak-ng)"
    return Yenigalla("yenigalla-2018-phonemes", title, spectrogram=False, phonemes=True)


def yenigalla_2018_combined() -> System:
    """Make the system that reads both, with its default, reduced sizes."""
    title = "Yenigalla et al. 2018, spectrogram + phonemes (reduced, espeak-ng)"
    return Yenigalla("yenigalla-2018-combined", title, spectrogram=True, phonemes=True)


def make_system(name: str) -> System:
    """Make the system of a name, as the registry asks."""
    factories = (yenigalla_2018_spectrogram, yenigalla_2018_phonemes, yenigalla_2018_combined)
    return {factory.__name__.replace("_", "-"): factory for factory in factories}[name]()


__all__ = [
    "Yenigalla",
    "make_system",
    "yenigalla_2018_combined",
    "yenigalla_2018_phonemes",
    "yenigalla_2018_spectrogram",
]
