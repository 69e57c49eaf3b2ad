"""The encoder of a model computes what the extractor's does: the two files are the same."""

import ast
from pathlib import Path

from tests.subprocess_tools import PROJECT_ROOT


def statements(path: Path) -> list[str]:
    """Everything in a file but what it says of itself."""
    return [ast.dump(one) for one in ast.parse(path.read_text(encoding="utf-8")).body[1:]]


def test_the_copy_of_the_encoders_arithmetic_is_one() -> None:
    original = statements(PROJECT_ROOT / "feature_extraction" / "encoder_layers.py")
    assert statements(PROJECT_ROOT / "modeling_ser" / "encoder_blocks.py") == original
