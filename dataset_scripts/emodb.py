"""EmoDB: ten German actors, ten sentences, seven emotions."""

import re
from typing import Any, ClassVar

from .corpus_base import SpeechCorpus

SEXES = {speaker: "f" if speaker in ("08", "09", "13", "14", "16") else "m" for speaker in
         ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")}  # fmt: skip
TRANSCRIPTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


class EmoDB(SpeechCorpus):
    """Berlin Database of Emotional Speech (Burkhardt et al., 2005)."""

    title = "EmoDB"
    homepage = "http://emodb.bilderbar.info"
    license = "free to use with citation"
    may_be_shared = True
    citation = (
        "Burkhardt, F., Paeschke, A., Rolfes, M., Sendlmeier, W. F., & Weiss, B. (2005). A database of German "
        "emotional speech. Interspeech 2005, 1517-1520. https://doi.org/10.21437/Interspeech.2005-446"
    )
    grammar = "wav/SSTTTEv (speaker 03-16, text such as a01, emotion W L E A F T N, version letter)"
    pattern = rf"(?P<speaker>{'|'.join(SEXES)})(?P<sentence>{'|'.join(TRANSCRIPTS)})(?P<native_label>[WLEAFTN])[a-z]?"
    labels: ClassVar[dict[str, str]] = {
        "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "N": "neutral",
        "T": "sadness",
    }  # fmt: skip
    published: ClassVar[dict[str, int]] = {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "N": 79, "T": 62}
    published_speakers = 10
    published_rate = 16_000
    kind = "acted"
    language = "de"
    levels = 1
    traps = ("A copy whose clips are cut to 2 s circulates.",)

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Add the speaker's sex and the words."""
        return name.groupdict() | {"sex": SEXES[name["speaker"]], "transcript": TRANSCRIPTS[name["sentence"]]}
