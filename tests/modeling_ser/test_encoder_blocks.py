"""What the Hub forces to be there twice, once for models and once for extractors, is the same."""

import ast
from pathlib import Path

import pytest

from tests.subprocess_tools import PROJECT_ROOT


def statements(path: Path) -> list[str]:
    """Everything in a file but what it says of itself."""
    return [ast.dump(one) for one in ast.parse(path.read_text(encoding="utf-8")).body[1:]]


@pytest.mark.parametrize(
    ("original", "copy"), [("encoder_layers.py", "encoder_blocks.py"), ("encoder_files.py", "checkpoint_files.py")]
)
def test_a_copy_is_one(original: str, copy: str) -> None:
    first = statements(PROJECT_ROOT / "feature_extraction" / original)
    assert statements(PROJECT_ROOT / "modeling_ser" / copy) == first
