"""How good is a system: metrics, intervals, tests, calibration, tables, figures. Takes arrays, knows no other room."""

from typing import TYPE_CHECKING, Any

from .error_rates import ErrorRates, edit_distance, error_rates
from .metrics import classification_metrics, confusion_counts
from .tables import confusion_table, markdown_table, text_table

if TYPE_CHECKING:
    from .ser_metric import SERMetric


def __getattr__(name: str) -> Any:
    if name != "SERMetric":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .ser_metric import SERMetric  # only now: evaluate, which it needs, takes a second to import

    return SERMetric


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
