"""Named defaults of all arguments of a training."""

from collections.abc import Mapping
from typing import Any

# By field of `ModelArguments` or `SERTrainingArguments`; what a preset does not name has the field's own default.
PRESETS: dict[str, Mapping[str, Any]] = {
    # The paper's model, with our choice of what it leaves open: the fields' own defaults.
    "paper": {},
    # What helped so far on validation speakers of EmoDB and RAVDESS; the search for it is not finished.
    "best": {
        "dynamic_range": 60.0,
        "encoder_dropout": 0.2,
        "tempo": 0.1,
        "band_warp": 0.1,
        "time_masks": 2,
        "band_masks": 2,
    },
}

__all__ = ["PRESETS"]
