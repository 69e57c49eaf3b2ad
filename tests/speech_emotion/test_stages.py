"""Whether a run tells that it was resumed with other settings."""

import json
from pathlib import Path

from speech_emotion.training.stages import FILE_NAME, describe_stages, record_stage


def checkpoint(folder: Path, epoch: float) -> Path:
    path = folder / f"checkpoint-{round(100 * epoch)}"
    path.mkdir()
    (path / "trainer_state.json").write_text(json.dumps({"epoch": epoch}))
    return path


def test_the_same_settings_begin_no_new_stage(tmp_path: Path) -> None:
    settings = {"dropout": 0.1, "masks": (1, 2)}
    first = record_stage(tmp_path, None, settings)
    again = record_stage(tmp_path, checkpoint(tmp_path, 3.0), settings)
    assert first == again == [{"epoch": 0.0, "settings": {"dropout": 0.1, "masks": [1, 2]}}]
    assert describe_stages(again) == []


def test_other_settings_do_and_are_told(tmp_path: Path) -> None:
    record_stage(tmp_path, None, {"dropout": 0.1, "tempo": 0.1})
    record_stage(tmp_path, checkpoint(tmp_path, 3.5), {"dropout": 0.3, "tempo": 0.2})
    stages = record_stage(tmp_path, checkpoint(tmp_path, 6.0), {"dropout": 0.3, "tempo": 0.2, "seed": 1})
    assert [stage["epoch"] for stage in stages] == [0.0, 3.5, 6.0]
    assert json.loads((tmp_path / FILE_NAME).read_text()) == stages
    assert describe_stages(stages) == [
        "After epoch 3.5 it was resumed with dropout 0.3 instead of 0.1, tempo 0.2 instead of 0.1.",
        "After epoch 6 it was resumed with seed 1 instead of None.",
    ]


def test_a_stage_that_is_gone_back_behind_is_forgotten(tmp_path: Path) -> None:
    early = checkpoint(tmp_path, 2.0)
    record_stage(tmp_path, None, {"dropout": 0.1})
    record_stage(tmp_path, checkpoint(tmp_path, 5.0), {"dropout": 0.5})
    first = [{"epoch": 0.0, "settings": {"dropout": 0.1}}]
    assert record_stage(tmp_path, early, {"dropout": 0.1}) == first
    assert record_stage(tmp_path, checkpoint(tmp_path, 7.0), {"dropout": 0.1}) == first  # the file forgot it too
    assert [stage["epoch"] for stage in record_stage(tmp_path, None, {"dropout": 0.2})] == [0.0]
