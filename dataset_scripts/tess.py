"""TESS: two Canadian actresses, 200 words, seven emotions."""

import re
from typing import Any, ClassVar

from .corpus_base import SpeechCorpus


class TESS(SpeechCorpus):
    """Toronto Emotional Speech Set (Pichora-Fuller and Dupuis, 2020)."""

    title = "TESS"
    homepage = "https://doi.org/10.5683/SP2/E8H2MF"
    license = "CC BY-NC-ND 4.0"
    license_id = "cc-by-nc-nd-4.0"
    may_be_shared = True
    citation = (
        "Pichora-Fuller, M. K., & Dupuis, K. (2020). Toronto emotional speech set (TESS) [Dataset]. Borealis. "
        "https://doi.org/10.5683/SP2/E8H2MF"
    )
    grammar = "XAF_word_emotion (speaker OAF or YAF; angry, disgust, fear, happy, neutral, ps or sad)"
    # OA is the published misspelling of OAF in OA_bite_neutral.
    pattern = r"(?i:(?P<speaker>oaf?|yaf)_(?P<word>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad))"
    labels: ClassVar[dict[str, str]] = {
        "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral",
        "ps": "surprise", "sad": "sadness",
    }  # fmt: skip
    published: ClassVar[dict[str, int]] = dict.fromkeys(labels, 400)
    published_speakers = 2
    published_rate = 24_414
    kind = "acted"
    language = "en"
    traps = (
        "One name misspells its speaker (OA_bite_neutral); its id here is OAF_bite_neutral.",
        "One file is at 96 kHz, all others are at 24.4 kHz.",
        "A widely shared archive holds every clip twice, in a folder within the folder.",
    )

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Spell in one way what copies spell in several; all say the same words before the one that differs."""
        speaker = "YAF" if name["speaker"].lower() == "yaf" else "OAF"
        word, emotion = name["word"].lower(), name["emotion"].lower()
        return {
            "id": f"{speaker}_{word}_{emotion}",
            "native_label": emotion,
            "speaker": speaker,
            "sex": "f",
            "sentence": word,
            "transcript": f"Say the word {word}",
        }
