"""Claim 5, of the attention heads: told from what `ser study heads` wrote, as it needs models and not only scores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .claims import Outcome
from .reading_order import condition_title

CLAIM = "Not all heads contribute equally, and the important ones are the same across clips."
CORPORA = ("ravdess", "emodb")
# Where the studies of a corpus's models are looked for, below the folder of the score files.
STUDY = "heads/{corpus}/heads.json"
# Below it a rank correlation says next to nothing of a single clip, however narrow its interval.
NEXT_TO_NONE = 0.1
# The two halves of the claim, by their figure in a study: value and ends of its 95% interval over speakers.
HALVES = {"lead": "nats", "correlation": ""}


def head_sentence(results: str | Path) -> str:
    """Say whether the claim holds."""
    found = {corpus: _read(Path(results) / STUDY.format(corpus=corpus)) for corpus in CORPORA}
    studies = {corpus: study for corpus, study in found.items() if study is not None}
    if not studies:
        return f"- **Claim 5: not run.** {CLAIM} (`make heads`)"
    missing = [condition_title(corpus) for corpus in CORPORA if corpus not in studies]
    outcome = "not run" if missing else judge_heads([study["pooled"] for study in studies.values()])
    lines = [
        f"- **Claim 5: {outcome}.** {CLAIM} Each head of a model is dropped in turn; its "
        "importance for a clip is the fall of the true emotion's log-probability. Unequal: the head that counts most "
        "for a model's other test speakers counts more than the mean of the rest, by so many nats (by chance 0). The "
        "same across clips: two clips of different speakers rank a model's heads alike, by so large a correlation (by "
        "chance 0, at most 1). Supported if on every corpus both intervals lie above 0, however little, else not "
        "decided. Heads of two trainings have no names in common, so that no rank is compared across folds. "
        "(`make heads`)"
    ]
    for corpus, study in studies.items():
        pooled = study["pooled"]
        lead, correlation = (_with_interval(pooled[name], unit) for name, unit in HALVES.items())
        lines.append(
            f"  - {condition_title(corpus)}: {lead}; correlation {correlation}; {pooled['models']} models, "
            f"{pooled['speakers']} speakers."
        )
    lines += [f"  - {corpus}: not studied." for corpus in missing]
    lines.append(f"  - {_in_plain_words(studies)}")
    return "\n".join(lines)


def judge_heads(studies: Sequence[dict[str, Any]]) -> Outcome:
    """Decide on the claim by the intervals of its two halves on each corpus.

    >>> judge_heads([{"lead": (0.2, 0.1, 0.3), "correlation": (0.05, -0.01, 0.11)}])
    'not decided'
    """
    lows = [study[name][1] for study in studies for name in HALVES]
    return "supported" if min(lows) > 0 else "not decided"


def _in_plain_words(studies: dict[str, dict[str, Any]]) -> str:
    """How small the effects are, and which way they go."""
    told = []
    for corpus, study in studies.items():
        heads = [head for model in study["models"] for head in model["heads"]]
        helped = sum(head["importance"]["value"] < 0 for head in heads)
        worse = sum(head["ua_change"]["value"] < 0 for head in heads)
        told.append(
            f"on {condition_title(corpus)} dropping a head lowers UA for {worse} of {len(heads)} heads, but raises "
            f"the true emotion's mean log-probability for {helped}"
        )
    text = (
        f"As `make heads` trains them, all of these are Model-1. Of its heads, {'; '.join(told)}: importances are of "
        "scores as they are, and an overconfident model gains when it loses a head."
    )
    highest = max(study["pooled"]["correlation"][2] for study in studies.values())
    if highest < NEXT_TO_NONE:
        text += f" Correlations of at most {highest:.2f}, by their intervals, are next to none."
    return text


def _with_interval(values: Sequence[float], unit: str) -> str:
    value, low, high = (f"{number:+.2f}".replace("-", "−") for number in values)
    return f"{value} {unit} [{low}, {high}]".replace("  ", " ")


def _read(path: Path) -> dict[str, Any] | None:
    """What a file says of its models, together and each; `None` if it is not there."""
    if not path.is_file():
        return None
    try:
        study: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        pooled = study["pooled"]
        judge_heads([pooled])
        _ = [f"{number:f}" for name in HALVES for number in pooled[name]], pooled["models"] + pooled["speakers"]
        _in_plain_words({"": study})
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{path} holds no study of heads over several speakers ({error!r}); `make heads` writes one."
        ) from error
    return study


__all__ = ["CLAIM", "head_sentence", "judge_heads"]
