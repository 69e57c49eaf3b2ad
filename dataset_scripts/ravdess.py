"""RAVDESS: 24 North American actors, two sentences, eight emotions."""

import re
from typing import Any, ClassVar

from .corpus_base import SpeechCorpus

EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry", "06": "fearful",
    "07": "disgust", "08": "surprised",
}  # fmt: skip
TRANSCRIPTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}


class RAVDESS(SpeechCorpus):
    """Ryerson Audio-Visual Database of Emotional Speech and Song, its speech (Livingstone and Russo, 2018)."""

    title = "RAVDESS"
    homepage = "https://zenodo.org/records/1188976"
    license = "CC BY-NC-SA 4.0"
    license_id = "cc-by-nc-sa-4.0"
    may_be_shared = True
    citation = (
        "Livingstone, S. R., & Russo, F. A. (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS): A dynamic, multimodal set of facial and vocal expressions in North American English. "
        "PLoS ONE, 13(5), e0196391. https://doi.org/10.1371/journal.pone.0196391"
    )
    grammar = "Actor_AA/03-01-EE-II-SS-RR-AA (emotion, intensity, statement, repetition, actor 01-24)"
    pattern = r"03-01-(?P<emotion>0[1-8])-0[12]-(?P<statement>0[12])-0[12]-(?P<actor>0[1-9]|1\d|2[0-4])"
    labels: ClassVar[dict[str, str]] = {
        "neutral": "neutral", "calm": "calm", "happy": "happiness", "sad": "sadness", "angry": "anger",
        "fearful": "fear", "disgust": "disgust", "surprised": "surprise",
    }  # fmt: skip
    published: ClassVar[dict[str, int]] = {name: 96 if name == "neutral" else 192 for name in EMOTIONS.values()}
    published_speakers = 24
    published_rate = 48_000
    kind = "acted"
    language = "en"
    levels = 1
    traps = (
        "Loudness varies 200-fold: normalize per clip.",
        "Five published files are stereo; channels are averaged when decoded.",
        "One pair of files is identical, both of one actor.",
    )
    left_out: ClassVar[dict[str, str]] = {
        r"03-02(-\d\d){5}": "sung (vocal channel 02); this corpus is the speech",
        r"0[12]-0[12](-\d\d){5}": "sound of a video (modality 01 or 02); the same takes are there as audio (03)",
    }

    @classmethod
    def read_name(cls, name: re.Match[str]) -> dict[str, Any]:
        """Put words for the codes; women have even numbers, men odd ones."""
        return {
            "native_label": EMOTIONS[name["emotion"]],
            "speaker": f"Actor_{name['actor']}",
            "sex": "m" if int(name["actor"]) % 2 else "f",
            "sentence": name["statement"],
            "transcript": TRANSCRIPTS[name["statement"]],
        }
