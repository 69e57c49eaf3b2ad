"""TESS: two Canadian actresses, 200 words, seven emotions."""

import re
from pathlib import Path
from typing import Any, ClassVar

from .corpus_base import SpeechCorpus

# OA is the published misspelling of OAF in OA_bite_neutral.
CLIP = re.compile(r"(?P<speaker>oaf?|yaf)_(?P<word>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)")


class TESS(SpeechCorpus):
    """Toronto Emotional Speech Set (Pichora-Fuller and Dupuis, 2020).

    >>> clip = TESS.parse(Path("OAF_neutral/OA_bite_neutral.wav"))
    >>> clip["id"], clip["speaker"], clip["transcript"]
    ('OAF_bite_neutral', 'OAF', 'Say the word bite')
    """

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
    def parse(cls, path: Path) -> dict[str, Any] | None:
        """Read a name such as ``OAF_back_angry``: speaker, word, emotion."""
        name = CLIP.fullmatch(path.stem.lower())
        if name is None:
            return None
        speaker = "YAF" if name["speaker"] == "yaf" else "OAF"
        return {
            "id": f"{speaker}_{name['word']}_{name['emotion']}",
            "native_label": name["emotion"],
            "speaker": speaker,
            "sex": "f",
            "sentence": name["word"],
            "transcript": f"Say the word {name['word']}",
        }
