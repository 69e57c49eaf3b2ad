"""Transcripts as the network's labels, and its outputs as text."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from transformers import PreTrainedTokenizerBase


def normalize_transcript(text: str) -> str:
    """Write a transcript as DeepSpeech's alphabet does: in lower case, single spaces between words.

    >>> normalize_transcript(" WE  CALL IT BEAR")
    'we call it bear'
    """
    return " ".join(text.lower().split())


def encode_transcript(text: str, vocabulary: dict[str, int], clip: str) -> list[int]:
    """Look up the letters of a transcript.

    >>> encode_transcript("a b", {" ": 0, "a": 1, "b": 2}, "clip 7")
    [1, 0, 2]
    """
    if not text:
        raise ValueError(f"The clip {clip!r} has no transcript; leave it out.")
    unknown = sorted(set(text) - vocabulary.keys())
    if unknown:
        raise ValueError(
            f"The transcript of the clip {clip!r}, {text!r}, has {', '.join(map(repr, unknown))}, which the alphabet "
            "has not. Spell it out, or leave the clip out."
        )
    return [vocabulary[letter] for letter in text]


def fewest_frames(labels: list[int]) -> int:
    """Count the frames that CTC needs for a transcript: one for each letter, and a blank within each double letter.

    >>> fewest_frames([3, 1, 12, 12])
    5
    """
    return len(labels) + sum(one == other for one, other in pairwise(labels))


def decode_greedily(labels: Iterable[np.ndarray], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Turn the best label of every frame into text: repetitions merged, blanks removed, as the pipeline does.

    >>> from feature_extraction.tokenizer_deepspeech import build_tokenizer
    >>> decode_greedily([np.array([1, 1, 3, 1, 0, 2, -100])], build_tokenizer([" ", "a", "b"]))
    ['aa b']
    """
    return [tokenizer.decode(row[row >= 0].tolist()) for row in labels]


__all__ = ["decode_greedily", "encode_transcript", "fewest_frames", "normalize_transcript"]
