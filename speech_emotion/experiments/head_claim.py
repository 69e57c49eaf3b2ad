"""Claim 5, of the attention heads: told from what `ser study heads` wrote, as it needs models and not only scores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speech_emotion.evaluation.holm import holm

from .claims import Outcome
from .reading_order import condition_title

CLAIM = "Not all heads contribute equally, and the important ones are the same across clips."
CORPORA = ("ravdess", "emodb")
# Where the studies of a corpus's models are looked for, below the folder of the score files.
STUDY = "heads/{corpus}/heads.json"
LEVEL = 0.05


def head_sentence(results: str | Path) -> str:
    """Say whether the claim holds.

    Args:
        results: Folder of the results; the studies lie in `heads/<corpus>/heads.json` below it.

    Returns:
        Markdown: an item of a list, with an item for each corpus that was studied.

    Raises:
        ValueError: If a study's file is damaged.
    """
    studies = {corpus: _read(Path(results) / STUDY.format(corpus=corpus)) for corpus in CORPORA}
    models = [model for found in studies.values() for model in found]
    if not models:
        return f"- **Claim 5: not run.** {CLAIM} (`ser study heads`)"
    adjusted = iter(_adjusted(models))
    lines = [
        f"- **Claim 5: {judge_heads(models)}.** {CLAIM} Supported if in every model the clips agree on the order of "
        "the heads beyond chance (permutation of the heads within clips, Holm over the models), however weakly, else "
        "not decided: that chance would give as much does not contradict it. Clips are taken for independent."
    ]
    for corpus, found in studies.items():
        if found:
            w = sorted(model["agreement_of_clips"]["kendall_w"] for model in found)
            agree = sum(next(adjusted) <= LEVEL for _ in found)
            lines.append(
                f"  - {condition_title(corpus)}: {agree} of {len(found)} models; Kendall's W of the clips, 1 for full "
                f"agreement and near 0 by chance, from {w[0]:.2f} to {w[-1]:.2f}."
            )
    return "\n".join(lines)


def judge_heads(models: Sequence[dict[str, Any]]) -> Outcome:
    """Decide on the claim by the agreement of the clips in each model.

    It is never contradicted: that a test finds no agreement, of few clips perhaps, does not say that there is none.

    Args:
        models: The studies of models, as `heads.json` holds them; at least one.

    Returns:
        The outcome.

    Example:
        >>> judge_heads([{"agreement_of_clips": {"permutation_p": p}} for p in (0.001, 0.6)])
        'not decided'
    """
    return "supported" if all(p <= LEVEL for p in _adjusted(models)) else "not decided"


def _adjusted(models: Sequence[dict[str, Any]]) -> list[float]:
    """The p value of each model's agreement, after Holm's correction over the models."""
    return holm([model["agreement_of_clips"]["permutation_p"] for model in models])


def _read(path: Path) -> list[dict[str, Any]]:
    """The studies of a file; none if it is not there."""
    if not path.is_file():
        return []
    try:
        models = json.loads(path.read_text(encoding="utf-8"))
        judge_heads(models)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no study of heads ({error!r}); `ser study heads` writes one.") from error
    return models


__all__ = ["CLAIM", "head_sentence", "judge_heads"]
