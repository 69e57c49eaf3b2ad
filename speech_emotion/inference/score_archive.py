"""Scores of very many clips: Parquet parts that any number of processes write, and that a killed run goes on with."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from feature_extraction.safe_text import printable
from speech_emotion.files import write_bytes, write_json
from speech_emotion.training.run_record import as_stored, differences, public_name

from .archive_clips import Clip, DatasetFiles, FileChunks

if TYPE_CHECKING:
    import numpy as np

    from modeling_ser import SERPipeline

    from .timeline import Timeline

RECORD = ".run.json"  # hidden, as whoever reads a folder of Parquet takes every other file for a part
PART = re.compile(r"part-(\d+)\.parquet")
# What is wrong with one file. Any other error of the system, as of a disk that is gone, is none of the file.
BAD_CLIP = (ValueError, FileNotFoundError, IsADirectoryError, PermissionError)
SCORE = "score_"
Row = dict[str, Any]
# Columns of every part, before the scores; of a timeline, which has several rows of a clip, and of a clip.
ABOUT = {"part": pa.int32(), "row": pa.int32(), "file": pa.string(), "error": pa.string()}
OF_TIMELINE = {"span": pa.string(), "start": pa.float64(), "end": pa.float64(), "prediction": pa.string()}
OF_CLIP = {"seconds": pa.float64(), "prediction": pa.string()}


@dataclass(frozen=True)
class Share:
    """What of the work is this process's: each unit whose number leaves `rank` when divided by `processes`."""

    rank: int = 0
    processes: int = 1
    local_rank: int | None = None  # among the processes of this machine

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read what torchrun tells its processes, or srun."""
        for names in (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")):
            rank, processes, local = map(environment.get, names)
            if rank is None or processes is None:
                continue
            if not (rank.isdecimal() and processes.isdecimal() and int(rank) < int(processes)):
                raise ValueError(
                    f"{names[0]}={rank} and {names[1]}={processes}: which process is this, and of how many?"
                )
            return cls(int(rank), int(processes), int(local) if local is not None else None)
        return cls()


class ScoreArchive:
    """A folder with one Parquet file for each unit of clips, and a record of what they are scores of.

    A part is there whole or not at all, so whatever ended a run, the parts that are missing are what is left to do.
    Two processes that score the same unit write the same part.

    Args:
        folder: It may be missing, or be one of such a run.
        units: The clips.

    Raises:
        NotADirectoryError: It is a file.
        ValueError: It holds other things.
    """

    def __init__(self, folder: str | Path, units: FileChunks | DatasetFiles) -> None:
        self.folder, self.units = Path(folder), units
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is a file; give the scores a folder.")
        seen = os.listdir(self.folder) if self.folder.is_dir() else []
        if RECORD not in seen and (others := [name for name in seen if not name.startswith(".")]):
            raise ValueError(
                f"{self.folder} is a folder that holds other things, such as {printable(others[0])}; give the scores "
                "one of their own."
            )

    def begin(self, model: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Write down what the scores are of, or compare it with what was begun there.

        Args:
            model: What tells the model from others, as `model_identity` gives it.
            settings: Whatever else the scores depend on.

        Raises:
            ValueError: The folder holds scores by another model, of other clips or with other settings.
        """
        asked = as_stored({"clips": self.units.about, "model": model, "settings": settings})
        record = self.folder / RECORD
        self.folder.mkdir(parents=True, exist_ok=True)
        if not record.exists():
            write_json(record, asked)
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{record} is damaged ({error}). Give the scores another folder.") from error
        if several := list(differences(found, asked)):
            raise ValueError(
                f"{self.folder} holds scores of another run: {'; '.join(several)}. Give these scores another folder, "
                "or ask for the same again."
            )

    def missing(self, share: Share = Share()) -> list[int]:
        """List the units of a share that have no part yet."""
        done = {int(found[1]) for found in map(PART.fullmatch, os.listdir(self.folder)) if found}
        return [number for number in range(share.rank, len(self.units), share.processes) if number not in done]

    def write(self, number: int, rows_of: Callable[[Iterator[Clip]], Iterable[Row]], schema: pa.Schema) -> pa.Table:
        """Score a unit, and write its part."""
        rows = [{"part": number, **row} for row in rows_of(self.units[number])]
        table = pa.Table.from_pylist(rows, schema)
        content = pa.BufferOutputStream()
        pq.write_table(table, content, compression="zstd")
        write_bytes(self.folder / f"part-{number:06}.parquet", content.getvalue())
        return table


def clip_rows(classifier: "SERPipeline", clips: Iterable[Clip], batch_size: int) -> list[Row]:
    """Score each clip as a whole; of one that cannot be used its row says why."""
    from .clip_scores import scores_in_order, waveform_of  # with torch; the folder is looked at without

    rows: list[Row] = []
    usable: list[Row] = []

    def decoded() -> "Iterator[np.ndarray]":
        for number, (name, source) in enumerate(clips):
            rows.append({"row": number, "file": name})
            try:
                waveform = waveform_of(classifier, source)
            except BAD_CLIP as error:
                rows[-1]["error"] = printable(error)
                continue
            rows[-1]["seconds"] = len(waveform) / classifier.feature_extractor.sampling_rate
            usable.append(rows[-1])
            yield waveform

    for place, scores in enumerate(scores_in_order(classifier, decoded(), batch_size)):
        usable[place] |= scored(scores[0]["label"], {entry["label"]: entry["score"] for entry in scores})
    return rows


def timeline_rows(timeline: Callable[[Any], "Timeline"], clips: Iterable[Clip]) -> Iterator[Row]:
    """Score each recording over its time: a row of the whole, the mean, and one of each window."""
    for number, (name, source) in enumerate(clips):
        about = {"row": number, "file": name}
        try:
            found = timeline(source)
        except BAD_CLIP as error:
            yield {**about, "error": printable(error)}
            continue
        for span, (start, end), prediction, scores in found.rows():
            yield {**about, "span": span, "start": start, "end": end, **scored(prediction, scores)}


def scored(prediction: str, scores: Mapping[str, float | None]) -> Row:
    """Name a row's prediction and scores by the columns of the parts."""
    return {"prediction": printable(prediction)} | {SCORE + printable(label): score for label, score in scores.items()}


def schema_of(classifier: "SERPipeline", timeline: bool = False) -> pa.Schema:
    """Return the columns of the parts; of a model of values, of which none is the best, none is a prediction."""
    config = classifier.model.config
    columns = ABOUT | (OF_TIMELINE if timeline else OF_CLIP)
    if config.problem_type == "regression":
        del columns["prediction"]
    names = [SCORE + printable(label) for _, label in sorted(config.id2label.items())]
    return pa.schema({**columns, **dict.fromkeys(names, pa.float32())})


def model_identity(model: str, classifier: "SERPipeline") -> dict[str, Any]:
    """Tell a model by its commit on the Hub, or by the content of its files."""
    path = Path(model)
    if not path.exists():
        return {"name": model, "commit": classifier.model.config._commit_hash}
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    digest = hashlib.sha256()
    for file in files:
        inside = file.relative_to(path)
        if file.suffix in (".json", ".onnx", ".safetensors") and not inside.as_posix().startswith("checkpoint-"):
            with file.open("rb") as content:
                digest.update(f"{inside.as_posix()} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return {"name": public_name(model) if path.is_dir() else path.name, "sha256": digest.hexdigest()}
