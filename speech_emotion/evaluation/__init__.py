"""How good is a system: metrics and tables. Takes arrays and knows no other room."""

from .error_rates import ErrorRates, edit_distance, error_rates
from .metrics import classification_metrics, confusion_counts
from .ser_metric import SERMetric
from .tables import confusion_table, markdown_table, text_table

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
