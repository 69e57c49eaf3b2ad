"""What systems are compared on: a corpus or a part of it, its classes and how its speakers are divided."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_scripts import list_corpora
from dataset_scripts.folds import SCHEMES, Scheme

if TYPE_CHECKING:
    import datasets

    from dataset_scripts import Fold

# How the speakers of a corpus are divided where nothing is said: leave-one-speaker-out but for these.
USUAL_SCHEMES: dict[str, tuple[Scheme, int | None]] = {
    "ased": ("k-fold", 5),
    "iemocap": ("leave-one-session-out", None),
    "ravdess": ("k-fold", 6),
}
SCHEME_SUFFIX = re.compile(r"(?P<name>.+?)-((?P<folds>\d+)-fold|(?P<scheme>leave-one-(speaker|session)-out))")


@dataclass(frozen=True)
class CorpusCondition:
    """A corpus, or a part of one, with its folds."""

    name: str  # for the command line, folders and tables
    corpus: str  # as `load_corpus` takes it
    config: str | None = None  # configuration of the corpus; `None` for its default one
    labels: tuple[str, ...] | None = None  # emotions to keep; `None` for all that the corpus has
    scheme: Scheme | None = "leave-one-speaker-out"  # of `speaker_folds`; `None` where the folds are given
    num_folds: int | None = None  # number of folds of `k-fold`
    part: str | None = None  # what a part of the corpus is called; `None` for all of it
    # From the corpus and its folds to the ids of the part's clips. Workers are sent it: no lambda.
    select: Callable[[datasets.Dataset, Sequence[Fold]], set[str]] | None = None
    given: str | None = None  # what folds that are given are called, such as "EmoBox"; `None` where we divide speakers
    # From the condition's clips to the folds that are given. Workers are sent it: no lambda.
    divide: Callable[[datasets.Dataset], list[Fold]] | None = None
    shares_speakers: bool = False  # whether given folds train and test the same speakers: told wherever it is so

    def __post_init__(self) -> None:
        if self.given is not None:
            if self.divide is None or self.scheme is not None or self.num_folds is not None or self.part is not None:
                raise ValueError(f"{self.name}: its folds are given by {self.given}; it takes no other division.")
            return
        if self.divide is not None or self.shares_speakers:
            raise ValueError(f"{self.name}: only folds that somebody gave may share speakers; say who, in `given`.")
        if self.scheme not in SCHEMES:
            raise ValueError(f"{self.name}: there is no scheme {self.scheme!r}; choose one of {', '.join(SCHEMES)}.")
        if (self.scheme == "k-fold") != (self.num_folds is not None):
            raise ValueError(f"{self.name}: the scheme k-fold needs --num_folds, and no other scheme takes it.")
        if (self.part is None) != (self.select is None):
            raise ValueError(f"{self.name}: a part of a corpus has a name and a way to select its clips.")


def get_condition(
    name: str,
    scheme: Scheme | None = None,
    num_folds: int | None = None,
    known: Mapping[str, CorpusCondition] | None = None,
) -> CorpusCondition:
    """Find a condition by its name: a corpus, one of `known`, or what `make_condition` called one."""
    said = SCHEME_SUFFIX.fullmatch(name)
    if known and name in known:
        return _with_scheme(known[name], scheme, num_folds)
    if name in list_corpora() or "/" in name:
        return make_condition(name, scheme=scheme, num_folds=num_folds)
    if said is not None and scheme is None and num_folds is None:
        folds = said["folds"]
        return get_condition(said["name"], "k-fold" if folds else said["scheme"], int(folds) if folds else None, known)
    if (made := _made_condition(name)) is not None:
        return _with_scheme(made, scheme, num_folds)
    names = ", ".join(dict.fromkeys([*(known or ()), *list_corpora()]))
    raise ValueError(f"There is no condition and no corpus {name!r}. Known ones: {names}.")


def make_condition(
    corpus: str,
    config: str | None = None,
    labels: tuple[str, ...] | None = None,
    scheme: Scheme | None = None,
    num_folds: int | None = None,
) -> CorpusCondition:
    """Make a condition of any corpus."""
    # `you/emodb@revision` and `folder/emodb` are called emodb.
    short = Path(corpus).name.partition("@")[0] if "/" in corpus else corpus
    name = "-".join([short, *([config] if config else []), *(["+".join(labels)] if labels else [])])
    usual = USUAL_SCHEMES.get(short, ("leave-one-speaker-out", None))
    return _with_scheme(CorpusCondition(name, corpus, config, labels, *usual), scheme, num_folds)


def _made_condition(name: str) -> CorpusCondition | None:
    """The condition to which `make_condition` gives this name, its scheme left aside; `None` if there is none."""
    corpus = name.partition("-")[0]
    if corpus not in list_corpora():
        return None
    from dataset_scripts.registry import CORPORA

    configs = [config.name for config in CORPORA[corpus].BUILDER_CONFIGS]
    # The longest first: "all-ten" is a configuration, and not "all" with a label that begins with "ten".
    for config in (*sorted(configs, key=len, reverse=True), None):
        stem = f"{corpus}-{config}" if config else corpus
        labels = tuple(name.removeprefix(f"{stem}-").split("+"))
        made = make_condition(corpus, config, labels if len(labels) > 1 else None)
        if made.name == name:
            return made
    return None


def _with_scheme(condition: CorpusCondition, scheme: Scheme | None, num_folds: int | None) -> CorpusCondition:
    if scheme is None and num_folds is not None:
        scheme = "k-fold"
    if scheme is None or (scheme, num_folds) == (condition.scheme, condition.num_folds):
        return condition
    suffix = f"{num_folds}-fold" if scheme == "k-fold" else scheme
    return replace(condition, name=f"{condition.name}-{suffix}", scheme=scheme, num_folds=num_folds)
