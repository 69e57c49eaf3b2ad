"""How good is a system: metrics, intervals, tests, calibration, tables, figures. Takes arrays, knows no other room.

`SERMetric` is taken from its own file: `evaluate`, which it needs, takes a second to import.
"""

from .error_rates import ErrorRates, edit_distance, error_rates
from .metrics import classification_metrics, confusion_counts
from .tables import confusion_table, markdown_table, text_table

__all__ = [
    "ErrorRates",
    "classification_metrics",
    "confusion_counts",
    "confusion_table",
    "edit_distance",
    "error_rates",
    "markdown_table",
    "text_table",
]
