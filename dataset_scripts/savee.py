"""SAVEE: four English men, 120 sentences each, seven emotions."""

import itertools
import re
from typing import Any, ClassVar

from .corpus_base import SpeechCorpus


class SAVEE(SpeechCorpus):
    """Surrey Audio-Visual Expressed Emotion (Haq and Jackson, 2009), its audio."""

    title = "SAVEE"
    homepage = "http://kahlan.eps.surrey.ac.uk/savee/"
    license = "for research, after registration; copies may not be passed on"
    citation = (
        "Haq, S., & Jackson, P. J. B. (2009). Speaker-dependent audio-visual emotion recognition. "
        "Proceedings of the International Conference on Auditory-Visual Speech Processing (AVSP 2009), 53-58."
    )
    grammar = "DC_a01 or DC/a01 (speaker DC JE JK KL; emotion a d f h n sa su; number)"
    pattern = r"(?P<speaker>DC|JE|JK|KL)[_/](?P<sentence>(?P<native_label>sa|su|[adfhn])(?:[0-2]\d|30))"
    labels: ClassVar[dict[str, str]] = {
        "a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral", "sa": "sadness",
        "su": "surprise",
    }  # fmt: skip
    published: ClassVar[dict[str, int]] = {label: 120 if label == "n" else 60 for label in labels}
    published_speakers = 4
    published_rate = 44_100
    kind = "acted"
    language = "en-GB"

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Make one id of both ways in which clips are named."""
        return name.groupdict() | {"id": f"{name['speaker']}_{name['sentence']}", "sex": "m"}

    def expected_clips(self) -> dict[str, float | None]:
        """Return the ids of all published clips; their lengths are not known here."""
        return {
            f"{speaker}_{label}{number:02}": None
            for speaker, (label, count) in itertools.product(("DC", "JE", "JK", "KL"), self.published.items())
            for number in range(1, count // 4 + 1)
        }
