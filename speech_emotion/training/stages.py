"""A training that was resumed with other settings says so."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

STAGES_FILE = "stages.json"


def stages_so_far(checkpoint: Path | None, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List what a run was, and from here on is, trained with.

    >>> stages_so_far(None, {"dropout": 0.1})
    [{'epoch': 0.0, 'settings': {'dropout': 0.1}}]
    """
    stages, epoch = [], 0.0
    if checkpoint is not None:
        epoch = float(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["epoch"])
        if (checkpoint / STAGES_FILE).is_file():
            stages = json.loads((checkpoint / STAGES_FILE).read_text(encoding="utf-8"))
    current = json.loads(json.dumps(dict(settings)))  # as it will be read back
    if not stages or stages[-1]["settings"] != current:
        stages.append({"epoch": epoch, "settings": current})
    return stages


def describe_stages(stages: list[dict[str, Any]]) -> list[str]:
    """Say in words what changed from stage to stage.

    >>> stages = [{"epoch": 0.0, "settings": {"dropout": 0.1}}, {"epoch": 24.0, "settings": {"dropout": 0.3}}]
    >>> describe_stages(stages)
    ['After epoch 24 it was resumed with dropout 0.3 instead of 0.1.']
    """
    sentences = []
    for before, after in pairwise(stages):
        changes = [
            f"{name} {value} instead of {before['settings'].get(name)}"
            for name, value in after["settings"].items()
            if before["settings"].get(name) != value
        ]
        sentences.append(f"After epoch {after['epoch']:g} it was resumed with {', '.join(changes)}.")
    return sentences


__all__ = ["STAGES_FILE", "describe_stages", "stages_so_far"]
