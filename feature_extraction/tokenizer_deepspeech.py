"""The tokenizer of DeepSpeech: transformers' own for CTC, with the alphabet of the network's outputs."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Wav2Vec2CTCTokenizer

BLANK = "<blank>"
ENGLISH = (" ", *"abcdefghijklmnopqrstuvwxyz", "'")  # of the released models


def build_tokenizer(alphabet: Sequence[str]) -> "Wav2Vec2CTCTokenizer":
    """Build the tokenizer of an alphabet.

    >>> tokenizer = build_tokenizer([" ", "a", "b"])
    >>> tokenizer.decode([1, 1, 3, 1, 0, 2]), tokenizer("ab b").input_ids
    ('aa b', [1, 2, 0, 2])
    """
    from transformers import Wav2Vec2CTCTokenizer  # who reads an alphabet only need not wait for it

    vocabulary = {label: index for index, label in enumerate([*alphabet, BLANK])}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vocab.json")
        path.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
        return Wav2Vec2CTCTokenizer(
            str(path),
            pad_token=BLANK,
            word_delimiter_token=" ",
            replace_word_delimiter_char=" ",
            unk_token=None,
            bos_token=None,
            eos_token=None,
        )
