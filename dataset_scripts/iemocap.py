"""IEMOCAP: ten actors in five dyadic sessions, improvised and scripted; the corpus of the paper."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import datasets

from .corpus_base import CorpusConfig, SpeechCorpus
from .names import first_few

CONDITIONS = {"impro": "improvised", "script": "scripted"}
FOUR = {"ang": "anger", "hap": "happiness", "neu": "neutral", "sad": "sadness"}
TEN = FOUR | {
    "exc": "excitement",
    "fru": "frustration",
    "fea": "fear",
    "sur": "surprise",
    "dis": "disgust",
    "oth": "other",
}
LABEL_SETS = {"": FOUR, "-merge_excited": FOUR | {"exc": "happiness"}, "-ten": TEN}
NO_AGREEMENT = "xxx"
# Of the six rarer labels only the sums over both conditions are published.
PUBLISHED = {
    "improvised": {"ang": 289, "hap": 284, "neu": 1099, "sad": 608, "exc": 663},
    "scripted": {"ang": 814, "hap": 311, "neu": 609, "sad": 476, "exc": 378},
    "all": {"ang": 1103, "hap": 595, "neu": 1708, "sad": 1084, "exc": 1041, "fru": 1849, "fea": 40, "sur": 107,
            "dis": 2, "oth": 3},
}  # fmt: skip
NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
# [6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000]
RATED = re.compile(rf"\[{NUMBER}-{NUMBER}\]\s+(\S+)\s+(\w+)\s+\[{NUMBER},{NUMBER},{NUMBER}\]")
# C-E2:<TAB>Neutral; Anger;<TAB>(curious)
CATEGORIES = re.compile(r"C-(\w+):\s*([^()]*?);?\s*(?:\(.*)?")
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
WORDS = re.compile(r"(Ses\S+)\s+\[[^\]]*\]:?\s*(.*)")


class Evaluation(NamedTuple):
    """What the raters heard in an utterance."""

    label: str  # that most raters agree on, "xxx" where there is none
    start: float  # s, in the dialogue
    end: float  # s
    valence: float  # means over the raters, 1 to 5
    arousal: float
    dominance: float
    ratings: list[dict[str, Any]]  # rater, and the labels that this rater gave


@dataclass
class IEMOCAPConfig(CorpusConfig):
    """Configuration of IEMOCAP."""

    condition: str = "all"  # ``"improvised"``, ``"scripted"`` or ``"all"``
    label_set: str = ""


class IEMOCAP(SpeechCorpus):
    """Interactive Emotional Dyadic Motion Capture database (Busso et al., 2008), its audio, cut into utterances."""

    BUILDER_CONFIG_CLASS = IEMOCAPConfig
    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = [
        IEMOCAPConfig(name=f"{condition}{label_set}", version="1.0.0", condition=condition, label_set=label_set)
        for label_set in LABEL_SETS
        for condition in ("all", *CONDITIONS.values())
    ]

    title = "IEMOCAP"
    homepage = "https://sail.usc.edu/iemocap/"
    license = "signed agreement with the University of Southern California; no copy may be passed on"
    citation = (
        "Busso, C., Bulut, M., Lee, C.-C., Kazemzadeh, A., Mower, E., Kim, S., Chang, J. N., Lee, S., & "
        "Narayanan, S. S. (2008). IEMOCAP: Interactive emotional dyadic motion capture database. "
        "Language Resources and Evaluation, 42(4), 335-359. https://doi.org/10.1007/s10579-008-9076-6"
    )
    grammar = "SessionN/sentences/wav/DIALOGUE/DIALOGUE_XNNN, with SessionN/dialog/EmoEvaluation/DIALOGUE.txt"
    # The speaker is the F or M of the last field: that of the first says who wore the markers.
    pattern = r"(?P<dialogue>(?P<session>Ses0[1-5])[FM]_(?P<kind>impro|script)\w+)_(?P<sex>[FM])[A-Z]*\d+[a-z]?"
    labels: ClassVar[dict[str, str]] = TEN
    published: ClassVar[dict[str, int]] = PUBLISHED["all"]
    published_speakers = 10
    published_rate = 16_000
    kind = None
    language = "en"
    levels = 4
    # Recordings of whole dialogues.
    passed_over = r".*/dialog/.*|.*/Ses0[1-5][FM]_(impro|script)\d\d[a-z]?(_\d[a-z]?)?\.\w+"
    extra_features: ClassVar[dict[str, Any]] = {
        **dict.fromkeys(("session", "dialogue"), datasets.Value("string")),
        **dict.fromkeys(("start", "end", "valence", "arousal", "dominance"), datasets.Value("float64")),
        "ratings": datasets.List(
            {"rater": datasets.Value("string"), "labels": datasets.List(datasets.Value("string"))}
        ),
    }
    traps = (
        "The letter in the session's part of a name (Ses01F) is not the speaker; that of the last field is.",
        "2507 of the 10039 utterances have no majority label (xxx) and are in no configuration.",
        "The two speakers of a session share its dialogues: neither may train where the other is tested.",
    )

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Name the speaker, who is one of two in a session; the label is not in the name."""
        session, sex = name["session"], name["sex"]
        return name.groupdict() | {"speaker": f"{session}_{sex}", "sex": sex.lower(), "kind": CONDITIONS[name["kind"]]}

    def label_map(self) -> Mapping[str, str]:
        """Return the labels of the configuration and what they are in ``LABELS``."""
        return LABEL_SETS[self.config.label_set]

    def published_counts(self) -> Mapping[str, int]:
        """Return the published number of utterances of each label of the configuration, where known."""
        published = PUBLISHED[self.config.condition]
        return {label: published[label] for label in self.label_map() if label in published}

    def annotation_files(self) -> list[Path]:
        """Return the files of evaluations and transcripts, except the hidden ones that macOS adds."""
        files = [
            file.relative_to(self.root)
            for folder in ("EmoEvaluation", "transcriptions")
            for file in sorted(self.root.glob(f"Session[1-5]/dialog/{folder}/Ses*.txt"))
        ]
        if not any(file.parent.name == "EmoEvaluation" for file in files):
            raise FileNotFoundError(
                f"{self.title}: there is no Session*/dialog/EmoEvaluation/*.txt in {self.root}, which holds the "
                "labels. Pass as data_dir the folder that holds Session1 to Session5"
            )
        return files

    def read_rows(self, files: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Join the utterances with their evaluations and words."""
        transcripts = self._read_all("transcriptions", read_transcripts)
        unlabelled = []
        for file in files:
            row = self.parse(self.root / file)
            evaluation = self._evaluations.get(file.stem)
            if evaluation is None:
                unlabelled.append(file)
            elif self._holds(file.stem, evaluation):
                details = {name: value for name, value in evaluation._asdict().items() if name != "label"}
                words = {"native_label": evaluation.label, "transcript": transcripts.get(file.stem)}
                yield file, row | details | words
        if unlabelled:
            warnings.warn(
                f"{self.title}: {len(unlabelled)} utterance(s) left out: EmoEvaluation has no line for "
                f"{first_few(unlabelled)}",
                stacklevel=6,
            )

    def expected_clips(self) -> dict[str, float | None]:
        """Return the evaluated utterances of the configuration, and their lengths in s by the evaluation."""
        return {
            utterance: evaluation.end - evaluation.start
            for utterance, evaluation in self._evaluations.items()
            if self._holds(utterance, evaluation)
        }

    def _holds(self, utterance: str, evaluation: Evaluation) -> bool:
        if evaluation.label not in TEN and evaluation.label != NO_AGREEMENT:
            raise ValueError(
                f"{self.title}: {utterance} has the label {evaluation.label!r}, which is none of "
                f"{', '.join(TEN)} and {NO_AGREEMENT}. Fetch its dialogue's file in EmoEvaluation anew"
            )
        named = self.parse(Path(utterance))
        in_condition = named is not None and self.config.condition in ("all", named["kind"])
        return in_condition and evaluation.label in self.label_map()

    @cached_property
    def _evaluations(self) -> dict[str, Evaluation]:
        return self._read_all("EmoEvaluation", read_evaluations)

    def _read_all(self, folder: str, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        files = [file for file in self.annotation_files() if file.parent.name == folder]
        return {utterance: value for file in files for utterance, value in read(self.root / file).items()}


def read_evaluations(path: Path) -> dict[str, Evaluation]:
    """Read a dialogue's file in ``EmoEvaluation``."""
    found: dict[str, Evaluation] = {}
    current = None
    for number, line in enumerate(_read_lines(path), start=1):
        line = line.strip()
        if line.startswith("["):
            match = RATED.fullmatch(line)
            if match is None:
                raise ValueError(
                    f"{path}, line {number}: cannot read the utterance {line[:120]!r}. Fetch the file anew"
                )
            start, end, utterance, label, *means = match.groups()
            current = Evaluation(label.lower(), float(start), float(end), *map(float, means), [])
            if utterance in found and found[utterance][:-1] != current[:-1]:
                raise ValueError(f"{path}, line {number}: {utterance} occurs twice and differs. Fetch the file anew")
            found[utterance] = current
        elif current is not None and (match := CATEGORIES.fullmatch(line)):
            labels = [label.strip() for label in match[2].split(";")]
            current.ratings.append({"rater": match[1], "labels": [label for label in labels if label]})
    return found


def read_transcripts(path: Path) -> dict[str, str]:
    """Read a dialogue's file in ``transcriptions``."""
    matches = (WORDS.fullmatch(line.strip()) for line in _read_lines(path))
    return {match[1]: match[2].strip() for match in matches if match}


def _read_lines(path: Path) -> list[str]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")  # an apostrophe or two, written on Windows
    return text.splitlines()
