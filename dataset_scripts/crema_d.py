"""CREMA-D: 91 American actors, twelve sentences, six emotions."""

import re
from typing import Any, ClassVar

import datasets

from .corpus_base import SpeechCorpus

TRANSCRIPTS = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
# Age and sex of the actors 1001 to 1091 as VideoDemographics.csv gives them, which many copies of the audio lack.
DEMOGRAPHICS = (
    "51m 21f 21f 42f 29m 58f 38f 46f 24f 27f 32m 23f 22f 24m 32m 61m 42m 25f 29m 61f 30f 22m 22m 59f 48f 33m 44m 57f "
    "33f 42f 31m 30m 31m 74m 48m 49m 45f 21m 51m 42m 42m 37m 25f 40m 22m 22f 22f 38m 25f 62m 56m 33f 35f 36f 57f 52f "
    "25m 36f 21m 28f 51f 56m 33f 53m 38m 25m 66m 34m 27m 25m 41m 33f 24f 31f 40f 25f 20m 21f 21f 21m 30m 20f 45m 46f "
    "34m 33m 62m 23m 24f 50m 29f"
)
ACTORS = {
    str(actor): (int(age), sex)
    for actor, (age, sex) in enumerate(re.findall(r"(\d+)([fm])", DEMOGRAPHICS), start=1001)
}


class CremaD(SpeechCorpus):
    """Crowd-sourced Emotional Multimodal Actors Dataset (Cao et al., 2014), its audio."""

    title = "CREMA-D"
    homepage = "https://github.com/CheyneyComputerScience/CREMA-D"
    license = "Open Database License 1.0 (ODbL)"
    license_id = "odbl"
    may_be_shared = True
    citation = (
        "Cao, H., Cooper, D. G., Keutmann, M. K., Gur, R. C., Nenkova, A., & Verma, R. (2014). CREMA-D: Crowd-sourced "
        "emotional multimodal actors dataset. IEEE Transactions on Affective Computing, 5(4), 377-390. "
        "https://doi.org/10.1109/TAFFC.2014.2336244"
    )
    grammar = "AudioWAV/SSSS_TTT_EEE_II (speaker 1001-1091, sentence, ANG DIS FEA HAP NEU SAD, LO MD HI XX)"
    pattern = (
        rf"(?P<speaker>10(?:0[1-9]|[1-8]\d|9[01]))_(?P<sentence>{'|'.join(TRANSCRIPTS)})"
        r"_(?P<native_label>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<intensity>LO|MD|HI|XX?)"
    )
    labels: ClassVar[dict[str, str]] = {
        "ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral",
        "SAD": "sadness",
    }  # fmt: skip
    published: ClassVar[dict[str, int]] = {label: 1087 if label == "NEU" else 1271 for label in labels}
    published_speakers = 91
    published_rate = 16_000
    kind = "acted"
    language = "en"
    levels = 1
    extra_features: ClassVar[dict[str, Any]] = {"age": datasets.Value("int32"), "intensity": datasets.Value("string")}
    traps = ("One name ends in X instead of XX (1040_ITH_SAD_X).", "1076_MTI_SAD_XX is published without sound.")
    known_silent = ("1076_MTI_SAD_XX",)

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Add who speaks, and what; an intensity of XX is none."""
        age, sex = ACTORS[name["speaker"]]
        return name.groupdict() | {
            "sex": sex,
            "transcript": TRANSCRIPTS[name["sentence"]],
            "age": age,
            "intensity": None if name["intensity"].startswith("X") else name["intensity"],
        }
