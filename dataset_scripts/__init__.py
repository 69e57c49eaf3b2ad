"""Corpora of emotional speech as rows, and speaker-disjoint folds of them."""

from .audio_leaks import check_audio_disjoint
from .corpus_audit import Finding, audit_corpus
from .corpus_export import export_corpus
from .corpus_push import push_corpus
from .corpus_report import CorpusReport, describe_corpus
from .fold_files import load_fold, save_fold
from .folds import Fold, check_classes, check_disjoint, speaker_folds
from .labels import FOUR_LABELS, LABELS
from .registry import list_corpora, load_corpus, make_builder

__all__ = [
    "FOUR_LABELS",
    "LABELS",
    "CorpusReport",
    "Finding",
    "Fold",
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
