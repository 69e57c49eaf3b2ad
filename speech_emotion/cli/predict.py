"""`ser predict`: files in, emotions out, as a table, CSV or JSON lines; of each file, or over its time."""

import argparse
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from feature_extraction.safe_text import printable
from speech_emotion.cli import archive, timeline
from speech_emotion.cli.command import add_model
from speech_emotion.files import check_writable, csv_lines, stream_lines
from speech_emotion.inference.saved_model import check_emotions, load_saved, named_model
from speech_emotion.pretrained.hub_models import check_hub
from speech_emotion.terminal import (
    CommandParser,
    is_terminal,
    positive_number,
    quiet_unless_terminal,
    say,
    whole_number,
)

if TYPE_CHECKING:
    import numpy as np

    from modeling_ser import SERPipeline

Scores = list[dict[str, Any]]
T = TypeVar("T")
FIELDS = ("file", "prediction")


def get_parser(prog: str = "ser predict") -> CommandParser:
    """Return the parser of `ser predict`."""
    parser = CommandParser(prog=prog, description="Print emotions and scores of audio files.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="audio file, or folder of audio files")
    add_model(parser)
    parser.add_argument(
        "--runtime",
        choices=("torch", "onnx"),
        help="what computes; with onnx --model is what `ser export onnx` wrote, and recordings above 30 s have the "
        "mean of windows of 30 s (default: torch, or onnx where --model ends in .onnx)",
    )
    parser.add_argument("--batch-size", type=whole_number(1), default=8, help="clips at a time (default: 8)")
    parser.add_argument(
        "--channel", type=whole_number(0), help="take this channel, from 0 (default: the average of all)"
    )
    parser.add_argument(
        "--max-seconds",
        type=positive_number,
        default=3600.0,
        help="refuse files that hold more sound (default: an hour)",
    )
    parser.add_argument("--format", choices=("table", "csv", "jsonl"), help="what is printed (default: a table)")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write all scores, row by row, as CSV (.csv) or JSON lines (.jsonl), instead; or into a folder (scores/)",
    )
    timeline.add_arguments(parser)
    archive.add_arguments(parser)
    parser.add_argument(
        "--adapt",
        choices=("all", "speaker"),
        help="normalize by statistics of the files themselves (of a timeline, of what it scores): of all together, or "
        "then of each speaker, who is the folder that a file lies in; several emotions are needed of each, no labels",
    )
    parser.add_argument(
        "--adapt-unchecked", action="store_true", help="adapt even to files that seem to be of one emotion only"
    )
    parser.add_argument("--save-adapted", metavar="FOLDER", help="save the model that --adapt all gives")
    bad = parser.add_mutually_exclusive_group()
    bad.add_argument(
        "--skip-bad", action="store_true", help="files that cannot be used are no error: exit code 0 in spite of them"
    )
    bad.add_argument("--strict", action="store_true", help="stop at the first file that cannot be used")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Score the files; yield the table, or write it as CSV, row by row."""
    if args.save_adapted and args.adapt != "all":
        raise ValueError("--save-adapted saves what --adapt all gives: one model for all files. Add --adapt all.")
    if args.save_adapted and Path(args.save_adapted).exists():
        raise FileExistsError(f"--save-adapted {args.save_adapted}: something is there already; name another folder.")
    if args.adapt_unchecked and not args.adapt:
        raise ValueError("--adapt-unchecked says how to adapt. Add --adapt all or --adapt speaker.")
    args.runtime = args.runtime or ("onnx" if args.model.lower().endswith(".onnx") else "torch")
    if args.runtime == "onnx" and (args.adapt or args.revision or args.device not in (None, "cpu")):
        word = "--adapt" if args.adapt else "--revision" if args.revision else f"--device {args.device}"
        raise ValueError(f"{word} is of torch: an ONNX graph is computed as it is, on the CPU. Leave one of them out.")
    timeline.check_arguments(args)
    if archive.is_asked(args):
        yield from write_parts(args)
        return
    if args.output and args.format:
        raise ValueError("--format is of what is printed; of --output it is the name's ending, .csv or .jsonl.")
    for place in filter(None, (args.output, args.picture)):  # before the work, not after it
        check_writable(place)
    if args.runtime == "torch":
        args.model = named_model(args.model)
    files = find_files(args.files)
    for place, endings in ((args.output, (".csv", ".jsonl", "/")), (args.picture, (".png", ".svg"))):
        if place:
            check_output(place, endings, files)
    if args.picture and len(files) > 1:
        raise ValueError(f"--picture draws one recording, and these are {len(files)}.")
    classifier = load_classifier(
        args.model, args.revision, args.device, args.batch_size, args.channel, args.max_seconds, args.runtime
    )
    # At a terminal, rows that come are enough to look at.
    bad = BadFiles(args.strict, bar=is_terminal() and bool(args.output or not sys.stdout.isatty()))
    if args.adapt:  # they are read several times
        from speech_emotion.inference.timeline import blocks_of

        files = [file for file, _ in bad.usable(files, lambda file: deque(blocks_of(classifier, file), maxlen=0))]
        if not files or bad.error:
            bad.tell(args.skip_bad)
    check = not args.adapt_unchecked
    names = [label for _, label in sorted(classifier.model.config.id2label.items())]
    fields, records = FIELDS, file_records
    table = partial(table_lines, files=[*map(printable, files)], labels=[*map(printable, names)])
    if classifier.model.config.problem_type == "regression":  # values, such as valence, of which none is the best
        fields, records, table = FIELDS[:1], value_records, partial(value_lines, files=[*map(printable, files)])
        if args.timeline:
            check_emotions(classifier, "--timeline")
    clips_of = timeline.clips_maker(classifier, args) if args.timeline else lambda file: [file]
    if args.adapt == "all":
        classifier = classifier.adapt(chain.from_iterable(map(clips_of, files)), check)
    groups: Iterable[tuple[SERPipeline, list[Path]]] = [(classifier, files)]
    if args.adapt == "speaker":
        groups = adapted_to_speakers(classifier, files, check, clips_of)
    if args.timeline:
        each = (bad.counted(own, timeline.timeline_maker(adapted, args)) for adapted, own in groups)
        results = timeline.drawn(chain.from_iterable(each), args)
        fields, records, table = timeline.FIELDS, timeline.records, timeline.table_lines
    else:
        results = chain.from_iterable(classify(adapted, own, args.batch_size, bad) for adapted, own in groups)
    if args.save_adapted:
        from speech_emotion.inference.adaptation import save_adapted

        save_adapted(classifier, args.save_adapted, args.model, args.revision)
    if (first := next(results, None)) is not None:  # else a table that was there before stays
        results = chain([first], results)
        kind = Path(args.output).suffix.lower() if args.output else f".{args.format}"
        if kind == ".csv":
            lines = csv_lines([*fields, *names], csv_rows(records(results), names))
        elif kind == ".jsonl":
            lines = (json.dumps(record, ensure_ascii=False) for record in records(results))
        else:
            lines = table(results)
        if args.output:
            stream_lines(args.output, lines)
        else:
            yield from lines
    bad.tell(args.skip_bad)


def write_parts(args: argparse.Namespace) -> Iterator[str]:
    """Write the scores of very many clips into a folder."""
    from speech_emotion.inference.score_archive import Share

    share = Share.of(os.environ)
    if args.runtime == "torch":
        args.model = named_model(args.model)
    scores = archive.opened(args, partial(find_names, args.files))
    device = args.device or archive.device_of(share)
    classifier = load_classifier(
        args.model, args.revision, device, args.batch_size, args.channel, args.max_seconds, args.runtime
    )
    yield from archive.run(args, classifier, scores, share)


def find_files(names: Iterable[str]) -> list[Path]:
    """Replace folders by the audio files below them; unreadable formats are told on the standard error."""
    return [*map(Path, find_names(names))]


def find_names(names: Iterable[str]) -> list[str]:
    """Find files likewise, as text."""
    from dataset_scripts.audio_files import RECORDED_SUFFIXES, UNREAD_SUFFIXES, audio_names

    files: list[str] = []
    for name in names:
        if not name:  # as of a variable that is not set; to Path, the current folder
            raise ValueError("the name of a file is empty; give one, or . for the current folder.")
        if "://" in name:
            raise ValueError(f"{printable(name)}: addresses are read in Python, by the pipeline; download the file.")
        path = Path(name)
        if os.path.isdir(name):
            # As corpora are read: no hidden files.
            every = audio_names(path, RECORDED_SUFFIXES + UNREAD_SUFFIXES)
            unread = [file for file in every if file.lower().endswith(UNREAD_SUFFIXES)]
            if len(unread) == len(every):
                raise FileNotFoundError(
                    f"The folder {printable(name)} holds no audio file ({', '.join(RECORDED_SUFFIXES)})."
                )
            above = "" if path == Path() else os.path.join(path, "")
            files += (above + file for file in every if not file.lower().endswith(UNREAD_SUFFIXES))
            if unread:
                text = f"left out: {len(unread)} file(s) of {printable(name)} in formats that are not read here"
                say(f"{text}, such as {printable(unread[0])}; convert them, to .flac perhaps.", error=True)
        else:  # one that is not there is a bad file among others
            files.append(str(path))
    if files and not any(map(os.path.exists, files)):  # then there is no need to load a model first
        raise FileNotFoundError(f"There is no file {printable(files[0])}.")
    return files


def load_classifier(
    model: str,
    revision: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    channel: int | None = None,
    max_seconds: float | None = 3600.0,
    runtime: str = "torch",
) -> "SERPipeline":
    """Load a saved model with this library's own code, so that no remote code runs; or what was exported of one."""
    quiet_unless_terminal()
    reading = {"batch_size": batch_size, "channel": channel, "max_seconds": max_seconds}
    if runtime == "onnx":
        from speech_emotion.inference.onnx_model import onnx_pipeline

        return onnx_pipeline(model, **reading)
    model = named_model(model)
    check_hub(model)
    import torch

    try:
        kind = "cpu" if device is None else torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"There is no device {device!r}; take cpu or cuda:0, or leave it out.") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"There is no device {device}: torch sees no GPU here. Leave it out, or take cpu.")
    network, extractor = load_saved(model, revision)
    return network.as_pipeline(extractor, device=device, **reading)


@dataclass
class BadFiles:
    """Reads files, tells which cannot be used and counts them; strictly, the first of them is an error, at the end."""

    strict: bool = False
    bar: bool = False
    good: int = 0
    count: int = 0
    error: Exception | None = None

    def usable(self, files: Iterable[Path], work: Callable[[Path], T]) -> Iterator[tuple[Path, T]]:
        """Yield the files of which something can be made, and that; strictly, up to the first of which it cannot."""
        from tqdm import tqdm

        for file in tqdm(files, unit="clip", disable=not self.bar):
            try:
                done = work(file)
            except (ValueError, OSError) as error:
                self.count += 1
                if self.strict:
                    self.error = error
                    return
                say(f"skipped: {error}", error=True)
            else:
                yield file, done

    def counted(self, files: Iterable[Path], work: Callable[[Path], T]) -> Iterator[tuple[Path, T]]:
        """Yield the usable files likewise, where nothing else can fail, and count them as good."""
        for file, done in self.usable(files, work):
            self.good += 1
            yield file, done

    def tell(self, skip_bad: bool) -> None:
        """Tell how many files could not be used, as an error unless that is none."""
        if self.error:
            raise self.error
        if not self.good:
            raise ValueError("none of the files can be used.")
        if self.count:
            text = f"{self.count} file(s) could not be used, as told above; the table has the other {self.good}"
            if not skip_bad:
                raise ValueError(f"{text}. Mend or remove them, or pass --skip-bad where they are no error.")
            say(f"{text}.", error=True)


def classify(
    classifier: "SERPipeline", files: Sequence[Path], batch_size: int, bad: BadFiles
) -> Iterator[tuple[Path, Scores]]:
    """Yield each usable file with its scores, the highest first, as soon as it and those before it have theirs."""
    from speech_emotion.inference.clip_scores import scores_in_order, waveform_of

    usable: deque[Path] = deque()

    def decoded() -> "Iterator[np.ndarray]":
        for file, waveform in bad.usable(files, partial(waveform_of, classifier)):
            usable.append(file)
            yield waveform

    for scores in scores_in_order(classifier, decoded(), batch_size):
        bad.good += 1
        yield usable.popleft(), scores


def adapted_to_speakers(
    classifier: "SERPipeline", files: Iterable[Path], check: bool, clips_of: Callable[[Path], Iterable[Any]]
) -> "Iterator[tuple[SERPipeline, list[Path]]]":
    """Yield a classifier that is adapted to a speaker and the speaker's files; whom that was not done for is told."""
    from speech_emotion.inference.adaptation import adapt_to_speakers, by_speaker

    speakers = by_speaker(files)
    for speaker, adapted, refused in adapt_to_speakers(classifier, speakers, check, clips_of):
        if refused is not None:
            say(f"not adapted to {printable(speaker)}: {refused}", error=True)
        yield adapted, speakers[speaker]


def table_lines(results: Iterable[tuple[Path, Scores]], files: Sequence[str], labels: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table, each as soon as its file has been scored."""
    widths = [max(map(len, ["file", *files])), max(map(len, ["prediction", *labels]))]
    line = "{:<{}}  {:<{}}  {:>5}".format
    yield line("file", widths[0], "prediction", widths[1], "score")
    yield line("-" * widths[0], widths[0], "-" * widths[1], widths[1], "-" * 5)
    for file, scores in results:
        yield line(printable(file), widths[0], printable(scores[0]["label"]), widths[1], f"{scores[0]['score']:.3f}")


def value_lines(results: Iterable[tuple[Path, Scores]], files: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table of values, each as soon as its file has been read."""
    width = max(map(len, ["file", *files]))
    for number, (file, values) in enumerate(results):
        if not number:
            names = [f"{printable(one['label']):>9}" for one in values]
            yield "  ".join([f"{'file':<{width}}", *names])
            yield "  ".join(["-" * width, *("-" * len(name) for name in names)])
        yield "  ".join([f"{printable(file):<{width}}", *(f"{one['score']:>9.3f}" for one in values)])


def value_records(results: Iterable[tuple[Path, Scores]]) -> Iterator[dict[str, Any]]:
    """Yield a record per file: its name, and the value of every attribute."""
    for record in file_records(results):
        del record["prediction"]
        yield record


def file_records(results: Iterable[tuple[Path, Scores]]) -> Iterator[dict[str, Any]]:
    """Yield a record per file: its name, the prediction, and the score of every label."""
    for file, scores in results:
        by_label = {entry["label"]: round(entry["score"], 6) for entry in scores}
        yield {"file": printable(file), "prediction": scores[0]["label"], "scores": by_label}


def csv_rows(records: Iterable[dict[str, Any]], labels: Sequence[str]) -> Iterator[list[object]]:
    """Yield each record as the cells of a row."""
    for record in records:
        file, scores = record.pop("file"), record.pop("scores")
        if file.startswith(("=", "+", "-", "@")):  # which spreadsheets take for a formula
            file = f"./{file}"
        yield [file, *record.values(), *("" if scores[label] is None else f"{scores[label]:.6f}" for label in labels)]


def check_output(path: str, endings: Sequence[str], files: Iterable[Path]) -> None:
    """Check that what is written would not replace something else, a recording for example."""
    if Path(path).suffix.lower() not in endings:
        raise ValueError(f"{path}: no such file is written here; give it a name that ends in {' or '.join(endings)}.")
    if any(Path(path).resolve() == file.resolve() for file in files):
        raise ValueError(f"{path} is one of the files to be read; give what is written another name.")
