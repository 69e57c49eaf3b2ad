"""The words of a clip and when each is spoken, by Whisper base."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

from feature_extraction.speech_front import speech_part
from speech_emotion.pretrained import pretrained_path

SAMPLING_RATE = 16_000
# As in OpenAI's own code: the probability above which Whisper itself doubts that there is speech, and how far a text
# that is no mere repetition can be compressed.
NO_SPEECH, MOST_COMPRESSED = 0.6, 2.4


class Word(NamedTuple):
    """A word, from `start` to `end` in seconds of the clip."""

    text: str
    start: float
    end: float


def spoken_words(clip: np.ndarray, sampling_rate: int, language: str | None = None) -> list[Word]:
    """Recognize the words of a clip, (samples,), of at most 30 s.

    There are none where Whisper takes it for no speech, or only repeats itself, as of languages it does not know.

    Times come from the decoder's cross attention, aligned by dynamic time warping as in OpenAI's own code, and are
    good to about a tenth of a second. The first and the last word are cut where the clip's speech begins and ends:
    alone, the alignment gives them the silence beside them.
    """
    if sampling_rate != SAMPLING_RATE:
        import soxr

        clip = soxr.resample(clip, sampling_rate, SAMPLING_RATE)
    recognizer = _recognizer()
    known = recognizer.model.generation_config.lang_to_id
    if language is not None and f"<|{language}|>" not in known:
        codes = ", ".join(sorted(token.strip("<|>") for token in known))
        raise ValueError(f"Whisper knows no language {language!r}; it knows {codes}.")
    doubt, detected = _first_judgment(recognizer, clip)
    if doubt > NO_SPEECH:  # of noise it would make words
        return []
    settings = {"task": "transcribe", "language": language or detected, "num_beams": 1}
    sound = {"raw": clip.copy(), "sampling_rate": SAMPLING_RATE}
    with _no_advice():
        answer = recognizer(sound, return_timestamps="word", generate_kwargs=settings)
    text = answer["text"].encode()
    if len(text) > MOST_COMPRESSED * len(zlib.compress(text)):
        return []
    speech, first = speech_part(torch.from_numpy(clip))
    begin, end = first / SAMPLING_RATE, (first + len(speech)) / SAMPLING_RATE
    found = []
    for chunk in answer["chunks"]:
        start, stop = (end if time is None else min(max(time, begin), end) for time in chunk["timestamp"])
        if chunk["text"].strip() and stop - start >= 0.02:
            found.append(Word(chunk["text"].strip(), start, stop))
    return found


@torch.inference_mode()
def _first_judgment(recognizer: Any, clip: np.ndarray) -> tuple[float, str]:
    """Ask for the probability that there is no speech, and for the language."""
    settings = recognizer.model.generation_config
    features = recognizer.feature_extractor(clip, sampling_rate=SAMPLING_RATE, return_tensors="pt").input_features
    start = torch.tensor([[settings.decoder_start_token_id]])
    chances = recognizer.model(features, decoder_input_ids=start).logits[0, 0].softmax(dim=-1)  # (tokens,)
    language = max(settings.lang_to_id, key=lambda token: float(chances[settings.lang_to_id[token]]))
    # The token that stands for no speech is the one before that for no times.
    return float(chances[settings.no_timestamps_token_id - 1]), language.strip("<|>")


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
