"""Named defaults of all arguments of a training."""

from collections.abc import Mapping
from typing import Any

# By field of `ModelArguments` or `SERTrainingArguments`; what a preset does not name has the field's own default.
PRESETS: dict[str, Mapping[str, Any]] = {
    # The paper's model, with our choice of what it leaves open: the fields' own defaults.
    "paper": {},
    "best": {
        "dynamic_range": 60.0,
    },
}

__all__ = ["PRESETS"]
