"""The metrics as an `evaluate` metric, which works offline: the class itself, or `evaluate.load` of this file."""

from collections.abc import Sequence

import datasets
import evaluate

from speech_emotion.evaluation.metrics import classification_metrics

CITATION = """\
@inproceedings{schuller2009interspeech,
  title={The {INTERSPEECH} 2009 Emotion Challenge},
  author={Schuller, Bj{\\"o}rn and Steidl, Stefan and Batliner, Anton},
  booktitle={Interspeech},
  year={2009}
}
"""


class SERMetric(evaluate.Metric):
    """Weighted accuracy (WA), unweighted accuracy (UA), macro and weighted F1 of emotion labels."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="WA, UA, macro and weighted F1 for speech emotion recognition.",
            citation=CITATION,
            inputs_description="predictions, references: class indices; num_labels: the number of classes.",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(
        self, predictions: Sequence[int], references: Sequence[int], num_labels: int | None = None
    ) -> dict[str, float]:
        if num_labels is None:
            num_labels = max(max(predictions), max(references)) + 1
        return classification_metrics(references, predictions, num_labels)
