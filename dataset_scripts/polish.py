"""Emotions in Polish speech: 5 young men, six words, three emotions; fetched where it is not on disk."""

import os
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar

import datasets

from .corpus_base import CorpusConfig, SpeechCorpus
from .package_fetch import Package, PackagedFolder, fetch_folder

ARCHIVE = "polish_speech_emotions.zip"
SOURCE = PackagedFolder(
    title="Emotions in Polish speech",
    packages=(
        Package(
            name="nkululeko",
            version="1.14.1",
            file="nkululeko-1.14.1.tar.gz",
            sha256="a1eb6d5c5047cda99561d1f872a5f841b3e77bccc19d754b32437cbd3f2208d2",
            megabytes=38,
            members={f"nkululeko-1.14.1/data/polish/{ARCHIVE}": ARCHIVE},
        ),
    ),
    make=lambda members, folder: shutil.unpack_archive(members / ARCHIVE, folder),
    otherwise=(
        "On another machine fetch the source distribution of nkululeko 1.14.1, unpack "
        f"{ARCHIVE} from it, and pass its folder: data_dir"
    ),
)


class Polish(SpeechCorpus):
    """Emotions in Polish speech recordings (Mięsikowska and Świsulski, 2020), the copy resampled to 16 kHz."""

    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = [CorpusConfig(name="words", version="1.0.0")]

    title = "Emotions in Polish speech"
    homepage = "https://doi.org/10.34808/h46c-hb44"
    license = "CC BY by the readme inside the archive (no version named); unknown by the package that carries it"
    citation = (
        "Mięsikowska, M., & Świsulski, D. (2020). Emotions in Polish speech recordings [Dataset]. "
        "Gdańsk University of Technology. https://doi.org/10.34808/h46c-hb44"
    )
    grammar = "mN.E_word_R (speaker m1-m5, emotion a anger, s fear or n neutral, word, repetition)"
    pattern = r"(?P<speaker>m[1-5])\.(?P<native_label>[ans])_(?P<sentence>[a-z]+)_\d+"
    labels: ClassVar[dict[str, str]] = {"a": "anger", "s": "fear", "n": "neutral"}
    published: ClassVar[dict[str, int]] = {"a": 150, "s": 150, "n": 150}
    published_speakers = 5
    kind = "acted"
    traps = (
        "Four pairs of repetitions are identical, each of one speaker and one emotion.",
        "More than a quarter of the clips touch full scale.",
    )
    language = "pl"

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Add that all speakers are men; a sentence is one word."""
        return name.groupdict() | {"sex": "m", "transcript": name["sentence"]}

    @classmethod
    def default_data_dir(cls, cache_dir: str | os.PathLike[str] | None = None) -> Path:
        """Take ``$SER_DATA_DIR/polish`` where it exists, else fetch the corpus once."""
        try:
            return super().default_data_dir(cache_dir)
        except FileNotFoundError:
            parent = Path(datasets.config.HF_DATASETS_CACHE, "ser_corpora") if cache_dir is None else Path(cache_dir)
            folder = parent.expanduser() / f"polish-{SOURCE.digest}"
            return fetch_folder(SOURCE, folder, offline=datasets.config.HF_HUB_OFFLINE)
