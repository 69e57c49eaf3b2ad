"""nEMO: nine Polish actors, ninety sentences, six emotions."""

import csv
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pandas as pd

from .corpus_base import SpeechCorpus

COLUMNS = ("file_id", "emotion", "raw_text", "speaker_id", "gender", "age")
SEXES = {"female": "f", "male": "m"}


class NEMO(SpeechCorpus):
    """nEMO (Christop, 2024): simulated emotions; ``data.tsv`` tells the words, sexes and ages."""

    title = "nEMO"
    homepage = "https://github.com/amu-cai/nEMO"
    license = "CC BY-NC-SA 4.0"
    license_id = "cc-by-nc-sa-4.0"
    may_be_shared = True
    citation = (
        "Christop, I. (2024). nEMO: Dataset of emotional speech in Polish. Proceedings of LREC-COLING 2024, "
        "12111-12116. https://aclanthology.org/2024.lrec-main.1059"
    )
    grammar = "samples/XXN_emotion_NN (speaker, emotion, sentence), with data.tsv beside samples"
    pattern = (
        r"(?P<speaker>[A-Z]{2}\d)_(?P<native_label>anger|fear|happiness|neutral|sadness|surprised)_(?P<sentence>\d+)"
    )
    labels: ClassVar[dict[str, str]] = {
        "anger": "anger", "fear": "fear", "happiness": "happiness", "neutral": "neutral",
        "sadness": "sadness", "surprised": "surprise",
    }  # fmt: skip
    published: ClassVar[dict[str, int]] = {
        "anger": 749, "fear": 736, "happiness": 749, "neutral": 809, "sadness": 769, "surprised": 669,
    }  # fmt: skip
    published_speakers = 9
    published_rate = 24_000
    kind = "acted"
    language = "pl"
    levels = 1
    extra_features: ClassVar[dict[str, Any]] = {"age": datasets.Value("int32")}
    traps = ("The fields of data.tsv carry spaces.",)

    def annotation_files(self) -> list[Path]:
        """Return ``data.tsv``, beside the folder of the clips, or above it where the user named that folder."""
        near = [Path("data.tsv"), Path("..", "data.tsv")]
        for file in near[: 2 if self.root.name == "samples" else 1]:
            if (self.root / file).is_file():
                return [file]
        raise FileNotFoundError(
            f"{self.title}: there is no data.tsv in {self.root}, which holds the transcripts. "
            f"Pass as data_dir the folder that holds data.tsv and samples; both can be obtained from {self.homepage}"
        )

    def read_rows(self, files: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Join the names with ``data.tsv``."""
        for file in files:
            named, line = self.parse(self.root / file), self._lines.get(file.stem)
            if line is None:
                raise ValueError(f"{self.title}: data.tsv does not list {file}. Take both from one release")
            if (line["speaker_id"], line["emotion"]) != (named["speaker"], named["native_label"]):
                raise ValueError(
                    f"{self.title}: data.tsv says {line['speaker_id']}, {line['emotion']} of {file}, its name says "
                    f"{named['speaker']}, {named['native_label']}. Take both from one release"
                )
            person = {"sex": SEXES.get(line["gender"]), "age": int(line["age"])}
            yield file, named | person | {"transcript": line["raw_text"]}

    def expected_clips(self) -> dict[str, float | None]:
        """Return the ids of the clips that ``data.tsv`` lists; their lengths are not known here."""
        return dict.fromkeys(self._lines)

    @cached_property
    def _lines(self) -> dict[str, dict[str, str]]:
        """The lines of ``data.tsv`` by the clip's id."""
        path = self.root.joinpath(*self.annotation_files())
        # Quotation marks in it are the sentences' own.
        try:
            table = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, dtype=str, encoding="utf-8-sig").fillna("")
        except ValueError as error:
            raise ValueError(f"{path}: {error}. Fetch it anew") from error
        lines = table.rename(columns=str.strip).map(str.strip).to_dict("records")
        missing = set(COLUMNS) - set(lines[0] if lines else ())
        if missing:
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}. Fetch it anew")
        return {Path(line["file_id"]).stem: line for line in lines}
