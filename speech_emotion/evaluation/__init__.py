"""How good is a system: metrics and tables. Takes arrays and knows no other room."""

from .metrics import classification_metrics, confusion_counts
from .ser_metric import SERMetric
from .tables import confusion_table, markdown_table, text_table

__all__ = [
    "SERMetric",
    "classification_metrics",
    "confusion_counts",
    "confusion_table",
    "markdown_table",
    "text_table",
]
