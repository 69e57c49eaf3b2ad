"""Whether a run tells that it was resumed with other settings."""

import json
from pathlib import Path
from typing import Any

from speech_emotion.training.stages import STAGES_FILE, describe_stages, stages_so_far


def checkpoint(folder: Path, epoch: float, stages: list[dict[str, Any]]) -> Path:
    path = folder / f"checkpoint-{round(100 * epoch)}"
    path.mkdir()
    (path / "trainer_state.json").write_text(json.dumps({"epoch": epoch}))
    (path / STAGES_FILE).write_text(json.dumps(stages))
    return path


def test_the_same_settings_begin_no_new_stage(tmp_path: Path) -> None:
    settings = {"dropout": 0.1, "masks": (1, 2)}
    first = stages_so_far(None, settings)
    again = stages_so_far(checkpoint(tmp_path, 3.0, first), settings)
    assert first == again == [{"epoch": 0.0, "settings": {"dropout": 0.1, "masks": [1, 2]}}]
    assert describe_stages(again) == []


def test_other_settings_do_and_are_told(tmp_path: Path) -> None:
    stages = stages_so_far(None, {"dropout": 0.1, "tempo": 0.1})
    stages = stages_so_far(checkpoint(tmp_path, 3.5, stages), {"dropout": 0.3, "tempo": 0.2})
    stages = stages_so_far(checkpoint(tmp_path, 6.0, stages), {"dropout": 0.3, "tempo": 0.2, "seed": 1})
    assert [stage["epoch"] for stage in stages] == [0.0, 3.5, 6.0]
    assert describe_stages(stages) == [
        "After epoch 3.5 it was resumed with dropout 0.3 instead of 0.1, tempo 0.2 instead of 0.1.",
        "After epoch 6 it was resumed with seed 1 instead of None.",
    ]


def test_stages_are_those_that_a_checkpoint_came_through(tmp_path: Path) -> None:
    first = stages_so_far(None, {"dropout": 0.1})
    early = checkpoint(tmp_path, 2.0, first)
    later = checkpoint(tmp_path, 5.0, stages_so_far(early, {"dropout": 0.5}))
    assert stages_so_far(early, {"dropout": 0.1}) == first
    assert [stage["epoch"] for stage in stages_so_far(later, {"dropout": 0.1})] == [0.0, 2.0, 5.0]
