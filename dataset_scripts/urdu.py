"""URDU: clips from Urdu talk shows in four emotions, in which speaker and emotion are confounded."""

import re
from typing import Any, ClassVar

from .corpus_base import SpeechCorpus


class URDU(SpeechCorpus):
    """URDU-Dataset (Latif et al., 2018)."""

    title = "URDU"
    homepage = "https://github.com/siddiquelatif/URDU-Dataset"
    license = "for research purposes only; taken from television"
    citation = (
        "Latif, S., Qayyum, A., Usman, M., & Qadir, J. (2018). Cross lingual speech emotion recognition: Urdu vs. "
        "Western languages. 2018 International Conference on Frontiers of Information Technology (FIT), 88-93. "
        "https://doi.org/10.1109/FIT.2018.00023"
    )
    grammar = "Angry/SM1_F1_A01 (S, sex, speaker; number of the file; emotion A H N S and number)"
    pattern = r"(?P<speaker>S(?P<sex>[MF])\d{1,2})_F\d+_(?P<native_label>[AHNS])\d+"
    labels: ClassVar[dict[str, str]] = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}
    published: ClassVar[dict[str, int]] = dict.fromkeys(labels, 100)
    published_speakers = 29
    kind = "spontaneous"
    language = "ur"
    levels = 1
    traps = (
        "26 of the 29 speakers named occur in one emotion only: speaker and emotion cannot be told apart.",
        "The authors count 38 speakers; the names hold 29.",
    )

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Write the sex as all corpora do."""
        return name.groupdict() | {"sex": name["sex"].lower()}
