"""A training that was resumed with other settings says so."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from speech_emotion.files import write_json

FILE_NAME = "stages.json"


def record_stage(folder: Path, checkpoint: Path | None, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write down what a run is trained with from here on.

    Args:
        folder: Folder of the run; the record is `stages.json` in it.
        checkpoint: The checkpoint that is resumed from; `None` at the beginning.
        settings: What the training is asked for now.

    Returns:
        The stages so far, each with the `epoch` that it began after and its `settings`; a resumption with the same
        settings begins none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record_stage(Path(folder), None, {"dropout": 0.1})
        [{'epoch': 0.0, 'settings': {'dropout': 0.1}}]
    """
    stages, epoch = [], 0.0
    if checkpoint is not None:
        epoch = float(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["epoch"])
        if (folder / FILE_NAME).is_file():
            earlier = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            stages = [stage for stage in earlier if stage["epoch"] < epoch]
    current = json.loads(json.dumps(dict(settings)))  # as it will be read back
    if not stages or stages[-1]["settings"] != current:
        stages.append({"epoch": epoch, "settings": current})
    write_json(folder / FILE_NAME, stages)  # without the later stages of a run that goes on from before them
    return stages


def describe_stages(stages: list[dict[str, Any]]) -> list[str]:
    """Say in words what changed from stage to stage.

    Args:
        stages: As `record_stage` returns them.

    Returns:
        A sentence for each stage but the first.

    Example:
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


__all__ = ["describe_stages", "record_stage"]
