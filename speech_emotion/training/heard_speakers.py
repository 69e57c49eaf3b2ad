"""Whom a saved model has heard: fine-tuned on the same corpus, it must not be tested on them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from transformers.utils import cached_file

from dataset_scripts.names import name_key

# By title of a corpus, who taught the model (`train`) and who chose its epoch (`validation`).
Heard = Mapping[str, Mapping[str, Sequence[str]]]


def heard_speakers(model: str | None, revision: str | None = None) -> Heard | None:
    """Read whom a model, and what it was itself fine-tuned from, was trained and validated on.

    >>> heard_speakers(None)
    {}
    """
    if model is None:
        return {}
    path = cached_file(model, "results.json", revision=revision, _raise_exceptions_for_missing_entries=False)
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        before = report.get("heard_before", {})
        if "heard_before" not in report and report["arguments"].get("model_name_or_path"):
            before = None  # fine-tuned before this was noted
        return None if before is None else heard_after(before, report)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{model}: its results.json is damaged ({error!r}); fetch it anew or remove it.") from error


def heard_after(before: Heard, report: Mapping[str, Any]) -> Heard:
    """Add the speakers of a training to those heard before it.

    >>> heard_after({}, {"title": "EmoDB", "train": {"speakers": ["03"]}, "validation": {"speakers": ["08"]}})
    {'EmoDB': {'train': ['03'], 'validation': ['08']}}
    """
    known = before.get(report["title"], {})
    added = {part: sorted({*report[part]["speakers"], *known.get(part, ())}) for part in ("train", "validation")}
    return {**before, report["title"]: added}


def check_unheard(heard: Heard | None, title: str, validation: Sequence[str], test: Sequence[str], model: str) -> None:
    """Refuse to validate a model on speakers who taught it, and to test it on those or on who chose its epoch.

    >>> heard = {"EmoDB": {"train": ["03", "09"], "validation": ["08"]}}
    >>> check_unheard(heard, "EmoDB", validation=["08"], test=["03"], model="you/emotions")
    Traceback (most recent call last):
    ...
    ValueError: you/emotions was trained with speaker(s) 03 of EmoDB, who are to test it here: ...
    """
    of_corpus = (heard or {}).get(title, {})
    taught, chose = (set(map(name_key, of_corpus.get(part, ()))) for part in ("train", "validation"))
    for what, speakers, heard_ones in (("validate", validation, taught), ("test", test, taught | chose)):
        known = sorted(speaker for speaker in set(speakers) if name_key(speaker) in heard_ones)
        if known:
            raise ValueError(
                f"{model} was trained with speaker(s) {', '.join(known)} of {title}, who are to {what} it here: the "
                "figures would be worthless. Take the fold that it was trained with (its --fold, or its fold.jsonl by "
                "--folds_file), another corpus, or another model to start from; if others have the same name, change "
                "it."
            )


__all__ = ["Heard", "check_unheard", "heard_after", "heard_speakers"]
