"""Corpora of emotional speech as rows, and speaker-disjoint folds of them.

Names are imported when they are first used: listing corpora and making folds of ready rows need no ``datasets``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio_leaks import check_audio_disjoint
    from .corpus_audit import Finding, audit_corpus
    from .corpus_base import SpeechCorpus
    from .corpus_export import export_corpus, push_corpus
    from .corpus_report import CorpusReport, describe_corpus
    from .fold_checks import Fold, check_classes, check_disjoint
    from .fold_files import load_fold, save_fold
    from .folds import speaker_folds
    from .names import FOUR_LABELS, LABELS
    from .registry import list_corpora, load_corpus, make_builder

_MODULES = {
    "audio_leaks": ("check_audio_disjoint",),
    "corpus_audit": ("Finding", "audit_corpus"),
    "corpus_base": ("SpeechCorpus",),
    "corpus_export": ("export_corpus", "push_corpus"),
    "corpus_report": ("CorpusReport", "describe_corpus"),
    "fold_checks": ("Fold", "check_classes", "check_disjoint"),
    "fold_files": ("load_fold", "save_fold"),
    "folds": ("speaker_folds",),
    "names": ("FOUR_LABELS", "LABELS"),
    "registry": ("list_corpora", "load_corpus", "make_builder"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


__all__ = [
    "FOUR_LABELS",
    "LABELS",
    "CorpusReport",
    "Finding",
    "Fold",
    "SpeechCorpus",
    "audit_corpus",
    "check_audio_disjoint",
    "check_classes",
    "check_disjoint",
    "describe_corpus",
    "export_corpus",
    "list_corpora",
    "load_corpus",
    "load_fold",
    "make_builder",
    "push_corpus",
    "save_fold",
    "speaker_folds",
]
