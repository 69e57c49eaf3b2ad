"""Mutated model files: each loads or gives our error."""

from collections import Counter
from pathlib import Path

from tests.feature_extraction.deepspeech_fuzz import TARGETS, fuzz


def test_mutated_files_load_or_give_our_error(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    # Anything but our errors is raised out of here.
    fuzz(tmp_path, rounds=30 * len(TARGETS), seed=1, report=lambda name, outcome, seconds: outcomes.update([outcome]))
    assert outcomes["loaded"] > 0
    assert outcomes["ModelFileError"] > outcomes["loaded"]
