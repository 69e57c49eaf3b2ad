"""Satt, Rozenberg and Hoory (2017) as a compared system."""

from dataclasses import asdict, replace
from typing import Any

from torch import nn

from reproduction.modeling_satt import SattConfig, SattNetwork
from speech_emotion.cross_validation.system import FoldTask, System
from speech_emotion.training.clip_split import ClipSplit

from .compared_items import Items, Statistics
from .compared_system import NetworkSystem
from .compared_training import Recipe
from .spectrogram_extractor import SpectrogramExtractor

LONGEST_SECONDS = 3.0


class Satt(NetworkSystem):
    """Convolutions and a BLSTM on log spectrograms of segments up to 3 s."""

    def __init__(self, name: str, title: str, config: SattConfig | None = None, recipe: Recipe | None = None) -> None:
        super().__init__(name, title, recipe or Recipe(epochs=50, patience=8, learning_rate=1e-3))
        self.config = config or SattConfig()

    def make_extractor(self) -> SpectrogramExtractor:
        """Make the extractor of log spectrograms."""
        return SpectrogramExtractor(win_length=640, hop_length=320, max_frequency=self.config.num_bins * 25.0)

    def make_items(self, task: FoldTask, clips: ClipSplit, statistics: Statistics) -> Items:
        """Cut the clips into segments."""
        extractor = self.make_extractor()
        return Items(clips, statistics, longest=int(LONGEST_SECONDS * extractor.sampling_rate / extractor.hop_length))

    def make_network(self, task: FoldTask) -> nn.Module:
        """Make the network."""
        return SattNetwork(replace(self.config, num_labels=len(task.labels)))

    def own_settings(self) -> dict[str, Any]:
        """Return the sizes."""
        return {"network": asdict(self.config), "longest_seconds": LONGEST_SECONDS}


def satt_2017() -> System:
    """Make the system with its default, reduced sizes."""
    return Satt("satt-2017", "Satt et al. 2017, CNN + BLSTM on spectrograms (reduced)")


def make_system(name: str) -> System:
    """Make the system of a name, as the registry asks."""
    return {"satt-2017": satt_2017}[name]()


__all__ = ["Satt", "make_system", "satt_2017"]
