"""Features of a whole corpus, computed once and kept on disk."""

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.fingerprint import Hasher
from huggingface_hub import HfApi
from tqdm import tqdm
from transformers import SequenceFeatureExtractor

from dataset_scripts.audio_leaks import samples_digest
from dataset_scripts.names import first_few
from feature_extraction.audio_decoding import MAX_SECONDS

from .run_record import extractor_state
from .waveform_variants import VARIANTS_VERSION, make_variant

logger = logging.getLogger(__name__)

# Part of the fingerprint: raise it when the layout of the cached rows changes. The extractor has a version of its own.
CACHE_VERSION = 3
FEATURE_COLUMNS = ("input_features", "num_frames", "recording")
WAITING_BYTES = 64 * 2**20  # features held in memory before they are written
CLIPS_PER_BATCH = 16
LONGEST_SECONDS = 60.0  # taken for clips of a stream, whose longest is not known beforehand


def cache_features(
    rows: datasets.Dataset,
    extractor: SequenceFeatureExtractor,
    skip_bad: bool = False,
    device: str | None = None,
    variant: int = 0,
    max_seconds: float = MAX_SECONDS,
) -> datasets.Dataset:
    """Compute the features of every clip, or of a variant of every clip, or find them computed."""
    if not len(rows):
        raise ValueError("There are no clips to take features of.")
    fingerprint = Hasher.hash(
        [rows._fingerprint, CACHE_VERSION, *extractor_state(extractor), skip_bad, *_variant_state(variant)]
    )
    waiting = _clips_that_may_wait(max(rows["duration"]), extractor)

    def extract(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        clips = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        results = list(_extract(clips, extractor, skip_bad, device, variant, max_seconds))
        return {
            "id": [clip["id"] for clip, _ in results],
            **{name: [cached[name] for _, cached in results] for name in FEATURE_COLUMNS},
        }

    cached = rows.map(
        extract,
        batched=True,
        batch_size=min(CLIPS_PER_BATCH, waiting),
        writer_batch_size=min(rows.num_rows, waiting),
        remove_columns=rows.column_names,
        features=datasets.Features({"id": datasets.Value("string"), **_feature_columns(extractor)}),
        new_fingerprint=fingerprint,
        desc="Extracting features",
    )
    if not len(cached):
        raise ValueError(f"None of the {rows.num_rows} clips can be used; the messages above say why.")
    if len(cached) < rows.num_rows:  # each time, though the reasons are told only when the features are made
        missing = sorted(set(rows["id"][:]) - set(cached["id"][:]))
        logger.warning(
            "%d of %d clips cannot be used and are left out: %s", len(missing), rows.num_rows, first_few(missing)
        )
    return cached.with_format("numpy")


def cache_streamed(
    rows: datasets.IterableDataset,
    state: str,
    extractor: SequenceFeatureExtractor,
    skip_bad: bool = False,
    device: str | None = None,
    cache_dir: str | None = None,
    variant: int = 0,
    max_seconds: float = MAX_SECONDS,
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Compute the features of clips as they stream in, or find them computed."""
    columns = [name for name in rows.column_names if name != "audio"]

    def generate() -> Iterator[dict[str, Any]]:
        with tqdm(desc="Extracting features of the stream", unit=" clips", disable=not sys.stderr.isatty()) as bar:
            for batch in rows.iter(batch_size=CLIPS_PER_BATCH):
                clips = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
                for clip, cached in _extract(clips, extractor, skip_bad, device, variant, max_seconds):
                    yield {name: clip[name] for name in columns} | cached
                bar.update(len(clips))

    features = {**{name: rows.features[name] for name in columns}, **_feature_columns(extractor)}
    try:
        table = datasets.Dataset.from_generator(
            generate,
            features=datasets.Features(features),
            cache_dir=cache_dir,
            fingerprint=Hasher.hash(
                [state, CACHE_VERSION, *extractor_state(extractor), skip_bad, *_variant_state(variant)]
            ),
            writer_batch_size=_clips_that_may_wait(LONGEST_SECONDS, extractor),
        )
    except datasets.exceptions.DatasetGenerationError as error:
        raise error.__cause__ or error from None  # which says of which clip it is
    if not len(table):
        raise ValueError("None of the streamed clips can be used; the messages above say why.")
    clips = table.select_columns(columns)
    for field in ("description", "homepage", "license", "citation"):
        setattr(clips.info, field, getattr(rows.info, field))
    return clips, table.select_columns(["id", *FEATURE_COLUMNS]).with_format("numpy")


def stream_state(name: str) -> str:
    """Identify the content of a copy that will be streamed, so that features computed from it can be found again.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     before = stream_state(folder)
    ...     _ = Path(folder, "clips.parquet").write_bytes(b"")
    ...     before == stream_state(folder)
    False
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
    repo_id, _, revision = name.partition("@")
    return f"{repo_id}@{HfApi().dataset_info(repo_id, revision=revision or None).sha}"


def _variant_state(variant: int) -> list[int]:
    return [VARIANTS_VERSION, variant] if variant else []


def _feature_columns(extractor: SequenceFeatureExtractor) -> dict[str, object]:
    return {
        "input_features": datasets.LargeList(datasets.Value(_dtype(extractor))),
        "num_frames": datasets.Value("int64"),
        "recording": datasets.Value("string"),
    }


def _dtype(extractor: SequenceFeatureExtractor) -> str:
    return getattr(extractor, "feature_dtype", "float32")  # DeepSpeech's has no such setting


def _clips_that_may_wait(longest: float, extractor: SequenceFeatureExtractor) -> int:
    """How many clips of the longest duration, in seconds, have features of at most `WAITING_BYTES`."""
    # What an encoder that learns reads has more frames than `hop_length` says: a waveform one for each sample.
    known = hasattr(extractor, "frame_times")
    step = np.diff(extractor.frame_times(2)).item() if known else extractor.hop_length / extractor.sampling_rate
    frames = 1 + int(longest / step)
    return max(1, WAITING_BYTES // (frames * extractor.feature_size * np.dtype(_dtype(extractor)).itemsize))


def _extract(
    clips: Sequence[Mapping[str, Any]],
    extractor: SequenceFeatureExtractor,
    skip_bad: bool,
    device: str | None,
    variant: int,
    max_seconds: float,
) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Yield each usable clip with what is cached of it."""
    usable, waveforms, recordings = [], [], []
    for clip in clips:
        try:
            # Extractors of other systems know no limit but the usual one.
            options = {} if max_seconds == MAX_SECONDS else {"max_seconds": max_seconds}
            waveform = extractor.load_audio(clip["audio"], **options)
            with warnings.catch_warnings(action="ignore"):  # it has just been decoded, and warned of
                recording = samples_digest(clip["audio"], max_seconds)
        except (ValueError, OSError) as error:
            message = f"Clip {clip['id']!r} ({clip['file']}): {error}"
            if not skip_bad:
                raise type(error)(message) from error
            logger.warning("Skipped: %s", message)
            continue
        usable.append(clip)
        waveforms.append(make_variant(waveform, clip["id"], variant))
        # Of the samples as they were recorded: what resampling rounds differs from one machine to another.
        recordings.append(recording)
    if not usable:
        return
    features = extractor.extract(waveforms, device=device)
    lengths = features["attention_mask"].sum(dim=1).tolist()
    arrays = features["input_features"].cpu().numpy()  # (clips, frames, feature_size)
    for clip, recording, array, length in zip(usable, recordings, arrays, lengths, strict=True):
        yield clip, {"input_features": array[:length].reshape(-1), "num_frames": length, "recording": recording}
