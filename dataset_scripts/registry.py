"""All corpora by name, and how one is loaded.

A corpus's module imports ``datasets``, which takes a second: here that happens when a corpus is used, not when it is
named.
"""

import difflib
import importlib
import os
from collections import UserDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets

    from .corpus_base import SpeechCorpus

CLASSES = {
    "ased": "ASED",
    "crema_d": "CremaD",
    "emodb": "EmoDB",
    "iemocap": "IEMOCAP",
    "nemo": "NEMO",
    "polish": "Polish",
    "ravdess": "RAVDESS",
    "recordings": "Recordings",
    "savee": "SAVEE",
    "speechocean762": "Speechocean762",
    "tess": "TESS",
    "urdu": "URDU",
}
"""Names of corpora, which are those of their modules, and of their classes."""


class _Corpora(UserDict[str, "type[SpeechCorpus]"]):
    def __getitem__(self, name: str) -> "type[SpeechCorpus]":
        kind = self.data[name]  # which is a KeyError where there is none
        return getattr(importlib.import_module(f".{name}", __package__), kind)


CORPORA = _Corpora(CLASSES)
"""Classes of corpora by name, each imported when it is asked for."""


def list_corpora() -> list[str]:
    """List the names that ``load_corpus`` takes.

    Returns:
        Names, sorted.

    Example:
        >>> "iemocap" in list_corpora()
        True
    """
    return sorted(CLASSES)


def make_builder(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> "SpeechCorpus":
    """Find a corpus on disk and read what its names and annotations say; no audio is opened."""
    if name not in CORPORA:
        near = difflib.get_close_matches(str(name).lower(), CLASSES, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        hint = f"Of a copy in the folder of that name write ./{name}. " if Path(str(name)).is_dir() else hint
        raise ValueError(f"There is no corpus {name!r}. {hint}Known corpora: {', '.join(list_corpora())}")
    if data_dir is not None and not Path(data_dir).expanduser().exists():
        raise FileNotFoundError(f"{name}: {data_dir} does not exist. Pass as data_dir what holds the corpus")
    return CORPORA[name](cache_dir=cache_dir, config_name=config, data_dir=data_dir, **options)


def load_corpus(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    **options: Any,
) -> "datasets.Dataset | datasets.IterableDataset":
    """Load a corpus as one table of clips.

    The table of a corpus on disk holds paths, not audio, so it is small; it is kept in the cache and built anew when a
    file changes. Only clips that a list of own recordings cuts out of longer files have their audio in it. A copy made
    by ``export_corpus`` or ``push_corpus`` holds the audio itself, all of it. The ``audio`` column is
    ``Audio(decode=False)`` without a rate, because clips keep the rate they are stored at.

    Args:
        name: One of ``list_corpora()``; or, with a slash in it, a copy: a folder (``./emodb``) or a data set on the
            Hub (``alice/emodb``, or ``alice/emodb@revision``).
        data_dir: The corpus's folder or one above it; by default ``$SER_DATA_DIR/<name>``, and for "polish" the
            cache, into which it is fetched.
        config: One of the corpus's configurations; the first by default.
        cache_dir: Folder for what is built and fetched; by default that of ``datasets``.
        streaming: Return an iterable that yields the same clips and builds or downloads no table; its ``audio`` has
            the same ``path`` and ``bytes``, but not always the feature type ``Audio``.
        num_proc: Processes that build the table.
        **options: Further fields of the corpus's configuration: ``skip_bad``, to leave out files that cannot be read
            with a warning, ``max_seconds``, the longest file that is no mistake (3600; ``None`` for any), or
            ``speaker_pattern`` of "recordings". With ``label_column``, a name with a slash is any
            data set of sounds, all of its splits together: ``audio_column`` (by default the only one of sounds),
            ``speaker_column``, and ``split_columns``: clips alike in all of these never are in different splits.

    Returns:
        All clips, in the order of their files' names, with the columns ``id``, ``audio``, ``label``, ``label4``,
        ``native_label``, ``speaker``, ``sex``, ``sentence``, ``transcript``, ``kind``, ``language``, ``duration`` (s)
        and ``file``, and further ones in some corpora.

    Raises:
        ValueError: If the name or the configuration is unknown, or the corpus is not as it should be.
        FileNotFoundError: If the corpus is not there.
        ConnectionError: If it cannot be fetched.

    Example:
        >>> rows = load_corpus("iemocap", "IEMOCAP_full_release", config="improvised")  # doctest: +SKIP
        >>> len(rows)  # doctest: +SKIP
        2280
    """
    if "/" in str(name):
        from .shared_copy import load_shared_copy

        if "label_column" in options:
            from .plain_dataset import load_plain_dataset

            if data_dir is not None:
                raise ValueError(f"{name} is a data set by itself: it takes no data_dir")
            return load_plain_dataset(str(name), config=config, cache_dir=cache_dir, streaming=streaming, **options)
        if data_dir is not None or config is not None or options:
            raise ValueError(f"{name} is a copy of a corpus: it takes neither data_dir nor config nor other options")
        return load_shared_copy(str(name), cache_dir=cache_dir, streaming=streaming)
    return make_builder(name, data_dir, config, cache_dir, **options).as_table(streaming, num_proc)
