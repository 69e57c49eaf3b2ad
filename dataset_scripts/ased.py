"""ASED: 65 Amharic speakers, 27 sentences, five emotions."""

import re
from typing import Any, ClassVar

from .corpus_base import SpeechCorpus

EMOTIONS = {"n1": "neutral", "f2": "fearful", "h3": "happy", "s4": "sad", "a5": "angry"}
COMMON_SENTENCES = ("01", "02")
# They say male where all other clips of the same five speakers, 11 to 65 each, say female.
WRONG_SEX = ("s4-01-02-02-09", "f2-01-01-02-15", "f2-07-02-02-21", "s4-04-01-02-23", "f2-02-01-02-25")


class ASED(SpeechCorpus):
    """Amharic Speech Emotional Dataset (Retta et al., 2023)."""

    title = "ASED"
    homepage = "https://github.com/Ethio2021/ASED_V1"
    license = "none stated; cite the paper"
    citation = (
        "Retta, E. A., Almekhlafi, E., Sutcliffe, R., Mhamed, M., Ali, H., & Feng, J. (2023). A new Amharic speech "
        "emotion dataset and classification benchmark. ACM Transactions on Asian and Low-Resource Language "
        "Information Processing, 22(1), 1-22. https://doi.org/10.1145/3529759"
    )
    grammar = (
        "05Angry/a5-YY-RR-GG-BB (emotion n1 f2 h3 s4 a5, sentence 01-07, repetition, sex 01 f 02 m, speaker 01-65)"
    )
    pattern = (
        r"(?P<emotion>(?i:n1|f2|h3|s4|a5))-(?P<sentence>0[1-7])-0[12]-(?P<sex>0[12])"
        r"-(?P<speaker>0[1-9]|[1-5]\d|6[0-5])"
    )
    labels: ClassVar[dict[str, str]] = {
        "neutral": "neutral", "fearful": "fear", "happy": "happiness", "sad": "sadness", "angry": "anger",
    }  # fmt: skip
    published: ClassVar[dict[str, int]] = {"neutral": 522, "fearful": 510, "happy": 486, "sad": 470, "angry": 486}
    published_speakers = 65
    published_rate = 16_000
    kind = "acted"
    language = "am"
    levels = 1
    traps = (
        f"Five names carry the wrong sex ({', '.join(WRONG_SEX)}); the column `sex` is corrected.",
        "One name is in upper case (S4-04-02-01-29); ids are in lower case.",
        "Sentences 03 to 07 are numbered anew in each emotion, so a sentence beyond 01 and 02 tells the emotion.",
    )

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Number sentences anew where the corpus does, and correct what is wrong."""
        clip_id, emotion, sentence = name[0].lower(), name["emotion"].lower(), name["sentence"]
        return {
            "id": clip_id,
            "native_label": EMOTIONS[emotion],
            "speaker": name["speaker"],
            "sex": "f" if name["sex"] == "01" or clip_id in WRONG_SEX else "m",
            "sentence": sentence if sentence in COMMON_SENTENCES else emotion[0] + sentence,
        }
