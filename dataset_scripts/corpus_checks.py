"""Checks of a corpus's clips before they become a table."""

import warnings
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from .corpus_search import first_few

if TYPE_CHECKING:
    from .corpus_base import SpeechCorpus


def check_ids(corpus: "SpeechCorpus") -> None:
    """Refuse clips that share an id: the same clip in two encodings, or two copies of a corpus in one folder."""
    files = defaultdict(list)
    for clip in corpus.clips:
        files[clip["id"]].append(clip["file"])
    doubles = {clip_id: names for clip_id, names in files.items() if len(names) > 1}
    if doubles:
        clip_id, names = next(iter(doubles.items()))
        raise ValueError(
            f"{corpus.title}: {len(doubles)} clip id(s) occur more than once, for example {clip_id!r} in "
            f"{first_few(names)}. Keep one file of each, or pass as data_dir the folder of one copy of the corpus"
        )


class CountWarning(UserWarning):
    """A corpus is not as large as published."""


class SpeakerWarning(UserWarning):
    """The speakers of some clips are unknown."""


def check_counts(corpus: "SpeechCorpus") -> None:
    """Warn where a corpus is not as large as published."""
    differences = count_differences(corpus)
    if not differences:
        return
    published = sum(corpus.published_counts().values())
    warnings.warn(
        f"{corpus.title}: there are {len(corpus.clips)} clips of {len(speakers_of(corpus))} speakers; published are "
        f"{published} clips of {corpus.published_speakers} speakers ({'; '.join(differences)}). "
        "Figures from it cannot be compared with published ones",
        CountWarning,
        stacklevel=5,
    )


def count_differences(corpus: "SpeechCorpus") -> list[str]:
    """Compare a corpus with what is published of it."""
    published = corpus.published_counts()
    if not published:
        return []
    found = Counter(clip[corpus.count_column] for clip in corpus.clips)
    phrases = [f"{name} {found[name]} instead of {count}" for name, count in published.items() if found[name] != count]
    speakers = len(speakers_of(corpus))
    if speakers != corpus.published_speakers:
        phrases.append(f"{speakers} speakers instead of {corpus.published_speakers}")
    if expected := corpus.expected_clips():
        ids = {clip["id"] for clip in corpus.clips}
        if missing := sorted(expected.keys() - ids):
            phrases.append(f"{len(missing)} missing: {first_few(missing)}")
        if surplus := sorted(ids - expected.keys()):
            phrases.append(f"{len(surplus)} not published: {first_few(surplus)}")
    return phrases


def speakers_of(corpus: "SpeechCorpus") -> set[str]:
    """Return the known speakers of a corpus."""
    return {clip["speaker"] for clip in corpus.clips} - {None}
