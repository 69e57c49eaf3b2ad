"""SAVEE: four English men, 120 sentences each, seven emotions."""

import itertools
import re
from pathlib import Path
from typing import Any, ClassVar

from .corpus_base import SpeechCorpus

CLIP = re.compile(r"(?P<speaker>DC|JE|JK|KL)_(?P<emotion>sa|su|[adfhn])(?P<number>[0-2]\d|30)")


class SAVEE(SpeechCorpus):
    """Surrey Audio-Visual Expressed Emotion (Haq and Jackson, 2009), its audio.

    >>> for name in ("DC_sa01.wav", "AudioData/DC/sa01.wav"):
    ...     clip = SAVEE.parse(Path(name))
    ...     print(clip["id"], clip["native_label"], clip["speaker"])
    DC_sa01 sa DC
    DC_sa01 sa DC
    """

    title = "SAVEE"
    homepage = "http://kahlan.eps.surrey.ac.uk/savee/"
    license = "for research, after registration; copies may not be passed on"
    citation = (
        "Haq, S., & Jackson, P. J. B. (2009). Speaker-dependent audio-visual emotion recognition. "
        "Proceedings of the International Conference on Auditory-Visual Speech Processing (AVSP 2009), 53-58."
    )
    grammar = "DC_a01 or DC/a01 (speaker DC JE JK KL; emotion a d f h n sa su; number)"
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
    def parse(cls, path: Path) -> dict[str, Any] | None:
        """Read ``DC_a01``, or ``a01`` in a folder ``DC``: speaker, emotion, number."""
        name = CLIP.fullmatch(path.stem) or CLIP.fullmatch(f"{path.parent.name}_{path.stem}")
        if name is None:
            return None
        return {
            "id": name[0],
            "native_label": name["emotion"],
            "speaker": name["speaker"],
            "sex": "m",
            "sentence": name["emotion"] + name["number"],
        }

    def expected_clips(self) -> dict[str, float | None]:
        """Return the ids of all published clips; their lengths are not known here."""
        return {
            f"{speaker}_{label}{number:02}": None
            for speaker, (label, count) in itertools.product(("DC", "JE", "JK", "KL"), self.published.items())
            for number in range(1, count // 4 + 1)
        }
