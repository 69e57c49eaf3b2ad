"""Clips in, scores out, in the order in which they come; computed together where their lengths are alike."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modeling_ser.pipeline_ser import batches_of_like_length

if TYPE_CHECKING:
    from modeling_ser import SERPipeline


def waveform_of(classifier: "SERPipeline", source: Any) -> np.ndarray:
    """Decode a clip to (samples,) at the extractor's rate, as the pipeline's own settings say."""
    return classifier.preprocess(source, **classifier._preprocess_params)["input_values"][0].numpy()


def logits_of(classifier: "SERPipeline", clips: Sequence[np.ndarray]) -> torch.Tensor:
    """Give the logits, (clips, num_labels), of clips, each (samples,) at the extractor's rate, in one batch."""
    with torch.inference_mode():
        features = classifier.feature_extractor.extract(clips, classifier.device)
        return classifier.model(**features, return_dict=True).logits.cpu()


def scores_in_order(
    classifier: "SERPipeline", waveforms: Iterable[np.ndarray], batch_size: int
) -> Iterator[list[dict[str, Any]]]:
    """Yield the scores of each waveform, the highest first, as soon as it and those before it have theirs."""
    scored: dict[int, list[dict[str, Any]]] = {}
    given = 0
    for batch in batches_of_like_length(waveforms, batch_size):
        logits = logits_of(classifier, [clip for _, clip in batch])  # (batch, num_labels)
        for (place, _), row in zip(batch, logits, strict=True):
            scored[place] = classifier.postprocess({"logits": row[None]})
        while given in scored:
            yield scored.pop(given)
            given += 1
