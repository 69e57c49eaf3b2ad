"""The words of a clip and when each is spoken, by Whisper base."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

from feature_extraction.speech_front import speech_part
from speech_emotion.pretrained import pretrained_path

SAMPLING_RATE = 16_000


class Word(NamedTuple):
    """A word, from `start` to `end` in seconds of the clip."""

    text: str
    start: float
    end: float


def spoken_words(clip: np.ndarray, sampling_rate: int, language: str | None = None) -> list[Word]:
    """Recognize the words of a clip, (samples,), of at most 30 s.

    Times come from the decoder's cross attention, aligned by dynamic time warping as in OpenAI's own code, and are
    good to about a tenth of a second. The first and the last word are cut where the clip's speech begins and ends:
    alone, the alignment gives them the silence beside them.
    """
    if sampling_rate != SAMPLING_RATE:
        import soxr

        clip = soxr.resample(clip, sampling_rate, SAMPLING_RATE)
    recognizer = _recognizer()
    settings: dict[str, Any] = {"task": "transcribe", "num_beams": 1}
    if language is not None:
        known = recognizer.model.generation_config.lang_to_id
        if f"<|{language}|>" not in known:
            codes = ", ".join(sorted(token.strip("<|>") for token in known))
            raise ValueError(f"Whisper knows no language {language!r}; it knows {codes}.")
        settings["language"] = language
    sound = {"raw": clip.copy(), "sampling_rate": SAMPLING_RATE}
    with _no_advice():
        answer = recognizer(sound, return_timestamps="word", generate_kwargs=settings)
    speech, first = speech_part(torch.from_numpy(clip))
    begin, end = first / SAMPLING_RATE, (first + len(speech)) / SAMPLING_RATE
    found = []
    for chunk in answer["chunks"]:
        start, stop = (end if time is None else min(max(time, begin), end) for time in chunk["timestamp"])
        if chunk["text"].strip() and stop - start >= 0.02:
            found.append(Word(chunk["text"].strip(), start, stop))
    return found


@contextmanager
def _no_advice() -> Iterator[None]:
    """Keep transformers from telling users how its own pipeline should call its own model."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@cache
def _recognizer() -> Any:
    from transformers import pipeline

    return pipeline("automatic-speech-recognition", model=str(pretrained_path("whisper-base")), dtype=torch.float32)
