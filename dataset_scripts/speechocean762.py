"""speechocean762: English read by Mandarin speakers, with transcripts; no emotions."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import datasets

from .corpus_base import CorpusConfig, SpeechCorpus

SPLITS = ("train", "test")
TABLES = ("text", "utt2spk", "spk2gender", "spk2age")


class Speechocean762(SpeechCorpus):
    """speechocean762 (Zhang et al., 2021), for training speech recognition: transcripts in upper case, no emotions."""

    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = [
        CorpusConfig(name=name, version="1.0.0") for name in ("all", *SPLITS)
    ]

    title = "speechocean762"
    homepage = "https://www.openslr.org/101"
    license = "CC BY 4.0; free for commercial and non-commercial use"
    license_id = "cc-by-4.0"
    may_be_shared = True
    citation = (
        "Zhang, J., Zhang, Z., Wang, Y., Yan, Z., Song, Q., Huang, Y., Li, K., Povey, D., & Wang, Y. (2021). "
        "speechocean762: An open-source non-native English speech corpus for pronunciation assessment. "
        "Interspeech 2021, 3710-3714. https://doi.org/10.21437/Interspeech.2021-1259"
    )
    grammar = "WAVE/SPEAKERNNNN/NNNNNNNNN, with the Kaldi files train/text, test/text and so on beside WAVE"
    pattern = r"SPEAKER(?P<speaker>\d{4})/\d{9}"
    labels: ClassVar[dict[str, str]] = {}
    published_rate = 16_000
    published: ClassVar[dict[str, int]] = dict.fromkeys(SPLITS, 2500)
    count_column = "split"
    kind = "read"
    language = "en"
    levels = 2
    extra_features: ClassVar[dict[str, Any]] = {"split": datasets.Value("string"), "age": datasets.Value("int32")}

    @property
    def published_speakers(self) -> int:
        """Published number of speakers of the configuration."""
        return 125 * len(self.published_counts())

    def published_counts(self) -> Mapping[str, int]:
        """Return the published number of clips of each half that the configuration holds."""
        return {split: clips for split, clips in self.published.items() if self.config.name in ("all", split)}

    def annotation_files(self) -> list[Path]:
        """Return the Kaldi files of both halves."""
        files = [Path(split, table) for split in SPLITS for table in TABLES]
        missing = next((file for file in files if not (self.root / file).is_file()), None)
        if missing is not None:
            raise FileNotFoundError(
                f"{self.title}: there is no {missing} in {self.root}. "
                f"Pass as data_dir the folder that holds WAVE, train and test; see {self.homepage}"
            )
        return files

    def read_rows(self, files: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Join the clips with the Kaldi files."""
        tables = {split: {table: self._read_table(split, table) for table in TABLES} for split in SPLITS}
        both = set.intersection(*(set(tables[split]["text"]) for split in SPLITS))
        if both:
            raise ValueError(f"{self.title}: {min(both)} is in train/text and in test/text. Fetch both files anew")
        for file in files:
            speaker = self.parse(self.root / file)["speaker"]
            split = next((split for split in SPLITS if file.stem in tables[split]["text"]), None)
            if split is None:
                raise ValueError(f"{self.title}: neither train/text nor test/text has {file}. Fetch them anew")
            about = tables[split]
            if about["utt2spk"].get(file.stem) != speaker:
                raise ValueError(
                    f"{self.title}: {split}/utt2spk gives {file} the speaker {about['utt2spk'].get(file.stem)!r}. "
                    "Fetch it anew"
                )
            if split not in self.published_counts():  # of the other configuration
                continue
            age = int(about["spk2age"][speaker]) if speaker in about["spk2age"] else None
            person = {"speaker": speaker, "sex": about["spk2gender"].get(speaker), "age": age}
            yield file, person | {"transcript": about["text"][file.stem], "split": split}

    def expected_clips(self) -> dict[str, float | None]:
        """Return the ids that the Kaldi files list; their lengths are not known here."""
        return {clip: None for split in self.published_counts() for clip in self._read_table(split, "text")}

    def _read_table(self, split: str, table: str) -> dict[str, str]:
        """Read a Kaldi file: a key, white space, and the rest of the line."""
        lines = (self.root / split / table).read_text(encoding="utf-8").splitlines()
        pairs = (line.split(maxsplit=1) for line in lines if line.strip())
        return {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in pairs}
