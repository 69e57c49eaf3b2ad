"""Whether a run is told from another, and tells that it was resumed with other settings."""

import json
from pathlib import Path
from typing import Any

import pytest

from speech_emotion.training.run_record import (
    RESTORED_SETTINGS,
    STAGES_FILE,
    check_same_run,
    clips_identity,
    stage_changes,
    stages_so_far,
)


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
    assert stage_changes(again) == []


def test_other_settings_do_and_are_told(tmp_path: Path) -> None:
    stages = stages_so_far(None, {"dropout": 0.1, "tempo": 0.1})
    stages = stages_so_far(checkpoint(tmp_path, 3.5, stages), {"dropout": 0.3, "tempo": 0.2})
    stages = stages_so_far(checkpoint(tmp_path, 6.0, stages), {"dropout": 0.3, "tempo": 0.2, "seed": 1})
    assert [stage["epoch"] for stage in stages] == [0.0, 3.5, 6.0]
    assert stage_changes(stages) == [
        {"epoch": 3.5, "changes": [("dropout", 0.1, 0.3), ("tempo", 0.1, 0.2)]},
        {"epoch": 6.0, "changes": [("seed", None, 1)]},
    ]


def test_stages_are_those_that_a_checkpoint_came_through(tmp_path: Path) -> None:
    first = stages_so_far(None, {"dropout": 0.1})
    early = checkpoint(tmp_path, 2.0, first)
    later = checkpoint(tmp_path, 5.0, stages_so_far(early, {"dropout": 0.5}))
    assert stages_so_far(early, {"dropout": 0.1}) == first
    assert [stage["epoch"] for stage in stages_so_far(later, {"dropout": 0.1})] == [0.0, 2.0, 5.0]


SPLIT = clips_identity([("a", 0), ("b", 1)], ["m1", "m2"], ["1f", "2e"])
RUN = {"labels": ["anger", "fear"], "features": "0" * 64, "train": SPLIT, "learning_rate": 0.001}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({}, None),
        ({"labels": ["fear", "anger"]}, "labels is"),
        ({"features": "1" * 64}, 'features is "00000000" there and "11111111" here'),
        ({"train": SPLIT | {"speakers": ["m1"]}}, "train.speakers is"),
        ({"train": SPLIT | {"recordings": "f" * 64}}, r"train.recordings is .*MP3"),
        ({"learning_rate": 0.5}, "learning_rate is 0.001 there and 0.5 here"),
        ({"speakers heard before": {"EmoDB": {}}}, "speakers heard before is null there"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("old", [False, True], ids=["", "before recordings were noted"])
def test_another_run_is_not_resumed(other: dict[str, Any], told: str | None, old: bool, tmp_path: Path) -> None:
    assert "learning_rate" in RESTORED_SETTINGS
    for name in ("optimizer.pt", "scheduler.pt"):
        (tmp_path / name).touch()
    split = {name: value for name, value in SPLIT.items() if not (old and name == "recordings")}
    (tmp_path / "run.json").write_text(json.dumps(RUN | {"train": split}))
    if told is None or (old and "recordings" in told):
        check_same_run(tmp_path, RUN | other)
    else:
        with pytest.raises(ValueError, match=told):
            check_same_run(tmp_path, RUN | other)
