"""Features of a whole corpus, computed once and kept on disk."""

import logging
from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np
from datasets.fingerprint import Hasher

from feature_extraction import SERFeatureExtractor

logger = logging.getLogger(__name__)

# Part of the fingerprint: raise it when the layout of the cached rows changes. The extractor has a version of its own.
CACHE_VERSION = 1
WAITING_BYTES = 64 * 2**20  # features held in memory before they are written
CLIPS_PER_BATCH = 16


def cache_features(
    rows: datasets.Dataset, extractor: SERFeatureExtractor, skip_bad: bool = False, device: str | None = None
) -> datasets.Dataset:
    """Compute the features of every clip, or find them computed.

    The cache lies beside the corpus's own, in the cache of `datasets`; its name is a hash of the rows, the extractor's
    settings and version and `CACHE_VERSION`, so it serves all folds, seeds and models. Labels do not enter.

    Args:
        rows: Clips of a corpus, with `id`, `audio`, `file` and `duration` (seconds).
        extractor: Makes the features.
        skip_bad: Whether to report clips that cannot be used and go on without them.
        device: Where to compute; `None` for the CPU.

    Returns:
        A row per clip, in the order of `rows`: `id`, `input_features`, the frames one after another, (frames ×
        feature_size,) float32 or float16, and `num_frames`. Rows come as numpy arrays.

    Raises:
        ValueError: If a clip cannot be used and `skip_bad` is off, or none can be used; it names the clip.
        FileNotFoundError: If a clip's file is missing and `skip_bad` is off.
    """
    fingerprint = Hasher.hash(
        [CACHE_VERSION, rows._fingerprint, extractor.feature_extraction_version, extractor.to_dict(), skip_bad]
    )

    def extract(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        ids, waveforms = [], []
        for clip, audio, file in zip(batch["id"], batch["audio"], batch["file"], strict=True):
            try:
                waveforms.append(extractor.load_audio(audio))
            except (ValueError, OSError) as error:
                if not skip_bad:
                    raise type(error)(f"Clip {clip!r} ({file}): {error}") from error
                logger.warning("Skipped clip %r (%s): %s", clip, file, error)
                continue
            ids.append(clip)
        if not ids:
            return {"id": [], "input_features": [], "num_frames": []}
        features = extractor.extract(waveforms, device=device)
        lengths = features["attention_mask"].sum(dim=1).tolist()
        arrays = features["input_features"].cpu().numpy()
        return {
            "id": ids,
            "input_features": [array[:length].reshape(-1) for array, length in zip(arrays, lengths, strict=True)],
            "num_frames": lengths,
        }

    longest = 1 + int(max(rows["duration"]) * extractor.sampling_rate) // extractor.hop_length
    bytes_per_clip = longest * extractor.feature_size * np.dtype(extractor.feature_dtype).itemsize
    waiting = max(1, WAITING_BYTES // bytes_per_clip)
    cached = rows.map(
        extract,
        batched=True,
        batch_size=min(CLIPS_PER_BATCH, waiting),
        writer_batch_size=min(rows.num_rows, waiting),
        remove_columns=rows.column_names,
        features=datasets.Features(
            {
                "id": datasets.Value("string"),
                "input_features": datasets.LargeList(datasets.Value(extractor.feature_dtype)),
                "num_frames": datasets.Value("int64"),
            }
        ),
        new_fingerprint=fingerprint,
        desc="Extracting features",
    )
    if not len(cached):
        raise ValueError(f"None of the {rows.num_rows} clips can be used; the messages above say why.")
    return cached.with_format("numpy")


__all__ = ["CACHE_VERSION", "cache_features"]
