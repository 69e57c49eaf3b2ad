"""How good is a system: metrics, intervals, tests, calibration, tables, figures. Takes arrays, knows no other room."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .error_rates import ErrorRates, edit_distance, error_rates
    from .metrics import classification_metrics, confusion_counts
    from .ser_metric import SERMetric
    from .tables import confusion_table, markdown_table, text_table

MODULES = {
    "error_rates": ("ErrorRates", "edit_distance", "error_rates"),
    "metrics": ("classification_metrics", "confusion_counts"),
    "ser_metric": ("SERMetric",),
    "tables": ("confusion_table", "markdown_table", "text_table"),
}
MODULE_OF = {name: module for module, names in MODULES.items() for name in names}

__all__ = [
    "ErrorRates",
    "SERMetric",
    "classification_metrics",
    "confusion_counts",
    "confusion_table",
    "edit_distance",
    "error_rates",
    "markdown_table",
    "text_table",
]


def __getattr__(name: str) -> Any:
    """Load a module when a name of it is first asked for: `SERMetric` needs evaluate, which takes a second."""
    if name not in MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{MODULE_OF[name]}", __name__), name)
