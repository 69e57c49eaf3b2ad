"""`ser predict … --output FOLDER/`: very many files, or a data set of the Hub, into a folder of Parquet parts."""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from feature_extraction.safe_text import printable
from speech_emotion.cli import timeline
from speech_emotion.inference.saved_model import check_emotions
from speech_emotion.terminal import whole_number

if TYPE_CHECKING:
    from modeling_ser import SERPipeline
    from speech_emotion.inference.score_archive import ScoreArchive, Share

REFUSED = ("adapt", "format", "picture", "save_adapted", "skip_bad", "strict")
OF_DATASETS = ("split", "config", "column")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what very many clips are scored with."""
    group = parser.add_argument_group(
        "very many files",
        "--output FOLDER/ writes Parquet files, each as soon as it is whole; the same command goes on where it was "
        "stopped. Under torchrun or srun each process takes a share",
    )
    group.add_argument(
        "--files-per-part", type=whole_number(1), metavar="N", help="files of a Parquet file (default: 1000)"
    )
    group.add_argument(
        "--dataset", metavar="NAME", help="in place of files, a data set of the Hub (owner/name, or owner/name@commit)"
    )
    group.add_argument("--split", help="which of its splits (default: train)")
    group.add_argument("--config", help="which of its configurations, if it has several")
    group.add_argument("--column", help="which of its columns, if several hold sounds")


def is_asked(args: argparse.Namespace) -> bool:
    """Tell whether the scores go into a folder; refuse what does not go together with that."""
    folder = args.output is not None and (args.output.endswith(("/", os.sep)) or Path(args.output).is_dir())
    if (args.dataset is None) != bool(args.files):
        raise ValueError("name audio files, or folders of them, or in their place a --dataset.")
    if args.dataset is not None and not folder:
        raise ValueError("the scores of a --dataset are written into a folder: --output scores/")
    for name in OF_DATASETS if args.dataset is None else ():
        if getattr(args, name) is not None:
            raise ValueError(f"--{name} is of a --dataset.")
    if args.files_per_part is not None and not (folder and args.files):
        raise ValueError("--files-per-part is of files whose scores are written into a folder: --output scores/")
    for name in REFUSED if folder else ():
        if getattr(args, name):
            raise ValueError(
                f"--{name.replace('_', '-')} is not of scores that are written into a folder. Leave it out; of a file "
                "that cannot be used its row says why, and the others go on."
            )
    return folder


def opened(args: argparse.Namespace, files: Callable[[], Sequence[str]]) -> "ScoreArchive":
    """Find the clips, and look at the folder."""
    from speech_emotion.inference.archive_clips import DatasetFiles, FileChunks
    from speech_emotion.inference.score_archive import ScoreArchive

    if args.dataset is None:
        return ScoreArchive(args.output, FileChunks(files(), args.files_per_part or 1000))
    return ScoreArchive(args.output, DatasetFiles(args.dataset, args.split or "train", args.config, args.column))


def device_of(share: "Share") -> str | None:
    """Name the GPU of a process, the processes of a machine taking turns; None where that is not to be chosen."""
    import torch

    if share.local_rank is None or not torch.cuda.is_available():
        return None
    return f"cuda:{share.local_rank % torch.cuda.device_count()}"


def run(args: argparse.Namespace, classifier: "SERPipeline", archive: "ScoreArchive", share: "Share") -> Iterator[str]:
    """Score this process's share of the units; yield a line for each part, and one at the end."""
    from speech_emotion.inference.score_archive import clip_rows, model_identity, schema_of, timeline_rows

    settings = {name: getattr(args, name) for name in ("channel", "max_seconds", "runtime", "timeline")}
    rows_of = partial(clip_rows, classifier, batch_size=args.batch_size)
    if args.timeline:
        check_emotions(classifier, "--timeline")
        settings |= {name: getattr(args, name) for name in (*timeline.DEFAULTS, "vad")}
        rows_of = partial(timeline_rows, timeline.timeline_maker(classifier, args))
    archive.begin(model_identity(args.model, classifier), settings)
    schema = schema_of(classifier, args.timeline)
    written = rows = bad = 0
    start = time.perf_counter()
    for number in archive.missing(share):
        table = archive.write(number, rows_of, schema)
        failed = len(table) - table["error"].null_count
        written, rows, bad = written + 1, rows + len(table), bad + failed
        example = next(filter(None, table["error"].to_pylist()), None)
        yield f"part {number + 1} of {len(archive.units)}: {len(table)} rows" + (
            f", of which {failed} say what is wrong, the first: {example}" if failed else ""
        )
    left = len(archive.missing())
    text = f"{rows} rows in {written} part(s), {time.perf_counter() - start:.1f} s; {bad} could not be used."
    yield f"{text} {printable(args.output)} holds {len(archive.units) - left} of {len(archive.units)} parts" + (
        "; the others are of other processes, or of the same command again." if left else ": all."
    )
