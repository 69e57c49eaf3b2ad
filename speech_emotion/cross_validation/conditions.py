"""What systems are compared on: a corpus or a part of it, its classes and how its speakers are divided."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dataset_scripts import list_corpora
from dataset_scripts.fold_checks import SCHEMES, Scheme
from dataset_scripts.registry import CORPORA

Part = Literal["common", "own", "imbalanced"]


@dataclass(frozen=True)
class Condition:
    """A corpus, or a part of one, with its folds."""

    name: str  # for the command line, folders and tables
    corpus: str  # as `load_corpus` takes it
    config: str | None = None  # configuration of the corpus; `None` for its default one
    labels: tuple[str, ...] | None = None  # emotions to keep; `None` for all that the corpus has
    scheme: Scheme = "leave-one-speaker-out"  # how speakers are divided into folds, as `speaker_folds` takes it
    num_folds: int | None = None  # number of folds of `k-fold`
    part: Part | None = None  # which clips, as `condition_parts` selects them; `None` for all

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise ValueError(f"{self.name}: there is no scheme {self.scheme!r}; choose one of {', '.join(SCHEMES)}.")
        if (self.scheme == "k-fold") != (self.num_folds is not None):
            raise ValueError(
                f"{self.name}: --num_folds, here {self.num_folds}, is needed by k-fold and by no other scheme; the "
                f"scheme is {self.scheme}."
            )


SCHEME_SUFFIX = re.compile(r"(?P<name>.+?)-((?P<folds>\d+)-fold|(?P<scheme>leave-one-(speaker|session)-out))")
FOUR_EMOTIONS = ("anger", "happiness", "neutral", "sadness")
CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition("emodb", "emodb"),
        Condition("ravdess", "ravdess", scheme="k-fold", num_folds=6),
        Condition("ased", "ased", scheme="k-fold", num_folds=5),
        Condition("ased-common", "ased", scheme="k-fold", num_folds=5, part="common"),
        Condition("ased-own", "ased", scheme="k-fold", num_folds=5, part="own"),
        Condition("ased-imbalanced", "ased", None, FOUR_EMOTIONS, "k-fold", 5, "imbalanced"),
        Condition("iemocap-improvised", "iemocap", "improvised", FOUR_EMOTIONS, "leave-one-session-out"),
        Condition("iemocap-scripted", "iemocap", "scripted", FOUR_EMOTIONS, "leave-one-session-out"),
        Condition("iemocap-both", "iemocap", "all", FOUR_EMOTIONS, "leave-one-session-out"),
    )
}


def list_conditions() -> list[str]:
    """Return the names of the built-in conditions."""
    return list(CONDITIONS)


def get_condition(name: str, scheme: Scheme | None = None, num_folds: int | None = None) -> Condition:
    """Find a condition by its name.

    >>> get_condition("iemocap-scripted").config
    'scripted'
    >>> get_condition("emodb-leave-one-speaker-out") == get_condition("emodb")
    True
    >>> get_condition("emodb", scheme="k-fold", num_folds=5).name
    'emodb-5-fold'
    >>> get_condition("emodb-anger+fear").labels
    ('anger', 'fear')
    """
    said = SCHEME_SUFFIX.fullmatch(name)
    if name in CONDITIONS:
        condition = CONDITIONS[name]
    elif name in list_corpora() or "/" in name:
        condition = Condition(_short(name), name)
    elif said is not None and scheme is None and num_folds is None:  # a name that this function gave
        folds = said["folds"]
        return get_condition(said["name"], "k-fold" if folds else said["scheme"], int(folds) if folds else None)
    elif (made := _made_condition(name)) is not None:
        condition = made
    else:
        known = ", ".join(dict.fromkeys([*CONDITIONS, *list_corpora()]))
        raise ValueError(f"There is no condition and no corpus {name!r}. Known ones: {known}.")
    return _with_scheme(condition, scheme, num_folds)


def make_condition(
    corpus: str,
    config: str | None = None,
    labels: tuple[str, ...] | None = None,
    scheme: Scheme | None = None,
    num_folds: int | None = None,
) -> Condition:
    """Make a condition of any corpus; what a built-in one means keeps its name.

    >>> make_condition("iemocap", "improvised").name, make_condition("polish", labels=("anger", "fear")).name
    ('iemocap-improvised', 'polish-anger+fear')
    """
    for condition in CONDITIONS.values():
        same_labels = labels is None or labels == condition.labels
        defaults = (None, "all") if corpus == "iemocap" else (None,)  # IEMOCAP's default configuration is "all"
        same_config = condition.config == config or {condition.config, config} <= set(defaults)
        if condition.part is None and condition.corpus == corpus and same_config and same_labels:
            return _with_scheme(condition, scheme, num_folds)
    name = "-".join([_short(corpus), *([config] if config else []), *(["+".join(labels)] if labels else [])])
    return _with_scheme(Condition(name, corpus, config, labels), scheme, num_folds)


def _short(corpus: str) -> str:
    """`you/emodb@revision` and `folder/emodb` → `emodb`."""
    return Path(corpus).name.partition("@")[0] if "/" in corpus else corpus


def _made_condition(name: str) -> Condition | None:
    """The condition to which `make_condition` gives this name, its scheme left aside; `None` if there is none."""
    corpus = name.partition("-")[0]
    if corpus not in CORPORA:
        return None
    configs = [config.name for config in CORPORA[corpus].BUILDER_CONFIGS]
    # The longest first: "all-ten" is a configuration, and not "all" with a label that begins with "ten".
    for config in (*sorted(configs, key=len, reverse=True), None):
        stem = f"{corpus}-{config}" if config else corpus
        labels = tuple(name.removeprefix(f"{stem}-").split("+"))
        made = make_condition(corpus, config, labels if len(labels) > 1 else None)
        if made.name == name:
            return made
    return None


def _with_scheme(condition: Condition, scheme: Scheme | None, num_folds: int | None) -> Condition:
    if scheme is None and num_folds is not None:
        scheme = "k-fold"
    if scheme is None or (scheme, num_folds) == (condition.scheme, condition.num_folds):
        return condition
    suffix = f"{num_folds}-fold" if scheme == "k-fold" else scheme
    return replace(condition, name=f"{condition.name}-{suffix}", scheme=scheme, num_folds=num_folds)


__all__ = ["CONDITIONS", "Condition", "get_condition", "list_conditions", "make_condition"]
