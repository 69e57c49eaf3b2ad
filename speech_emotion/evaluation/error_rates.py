"""CER and WER: how many letters and words of a transcript are wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ErrorRates:
    """Errors of a set of transcripts, pooled: all errors over all letters, or words, of the references."""

    clips: int  # number of transcripts
    characters: int  # letters of the references, spaces between words included
    character_errors: int  # letters to insert, delete or replace
    words: int  # words of the references
    word_errors: int  # words to insert, delete or replace

    @property
    def cer(self) -> float:
        """Character error rate; above 1 where the hypotheses are much too long."""
        return self.character_errors / self.characters

    @property
    def wer(self) -> float:
        """Word error rate; above 1 where the hypotheses have many words too many."""
        return self.word_errors / self.words


def error_rates(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRates:
    """Compare transcripts."""
    if not references or len(references) != len(hypotheses):
        raise ValueError(
            f"References and hypotheses must be two lists of one length, at least 1; they have {len(references)} and "
            f"{len(hypotheses)} transcripts."
        )
    pairs = [(reference.split(), guess.split()) for reference, guess in zip(references, hypotheses, strict=True)]
    empty = next((index for index, (reference, _) in enumerate(pairs) if not reference), None)
    if empty is not None:
        raise ValueError(f"Reference {empty} has no word, so its errors have no rate; leave the clip out.")
    spelled = [(" ".join(reference), " ".join(guess)) for reference, guess in pairs]
    return ErrorRates(
        clips=len(pairs),
        characters=sum(len(reference) for reference, _ in spelled),
        character_errors=sum(edit_distance(reference, guess) for reference, guess in spelled),
        words=sum(len(reference) for reference, _ in pairs),
        word_errors=sum(edit_distance(reference, guess) for reference, guess in pairs),
    )


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the insertions, deletions and replacements that make one sequence the other.

    Source: Levenshtein, 1966; by rows of Wagner and Fischer's table, 1974. In a row, insertions from the left are a
        running minimum of (entry - column), so that no loop goes over columns.
    """
    symbols: dict[str, int] = {}
    codes = [np.array([symbols.setdefault(item, len(symbols)) for item in items], int) for items in (one, other)]
    columns = np.arange(len(other) + 1)
    row = columns.copy()
    for number, code in enumerate(codes[0], start=1):
        replaced = row[:-1] + (codes[1] != code)
        row[0], row[1:] = number, np.minimum(replaced, row[1:] + 1)
        row = np.minimum.accumulate(row - columns) + columns
    return int(row[-1])
