"""`ser predict`: files in, emotions out, as a table or as CSV."""

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dataset_scripts.corpus_scan import RECORDED_SUFFIXES, UNREAD_SUFFIXES, audio_files
from modeling_ser import SERPipeline
from speech_emotion.evaluation import text_table
from speech_emotion.files import write_text
from speech_emotion.inference.saved_model import load_saved
from speech_emotion.progress import plain_warnings, quiet_unless_terminal


def load_classifier(model: str, revision: str | None = None, device: str | None = None) -> SERPipeline:
    """Load a saved model with this library's own code, so that no remote code runs."""
    if device is not None and torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"There is no device {device}: torch sees no GPU here. Leave it out, or take cpu.")
    network, extractor = load_saved(model, revision)
    return network.as_pipeline(extractor, device=device)


def find_files(names: Iterable[str]) -> list[Path]:
    """Replace folders by the audio files below them; unreadable formats are told on the standard error."""
    files: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            # As corpora are read: no hidden files.
            found = [path / file for file in audio_files(path, RECORDED_SUFFIXES)]
            if not found:
                raise FileNotFoundError(f"The folder {name} holds no audio file ({', '.join(RECORDED_SUFFIXES)}).")
            files += found
            unread = audio_files(path, UNREAD_SUFFIXES)
            if unread:
                text = f"left out: {len(unread)} file(s) of {name} in formats that are not read here"
                print(f"{text}, such as {_printable(unread[0])}; convert them, to .flac perhaps.", file=sys.stderr)
        elif path.exists():
            files.append(path)
        else:
            raise FileNotFoundError(f"There is no file {name}.")
    return files


def classify(
    classifier: SERPipeline, files: list[Path], batch_size: int, skip_bad: bool
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Score files."""
    rate = classifier.feature_extractor.sampling_rate
    usable: list[Path] = []

    def decode() -> Iterator[dict[str, Any]]:
        for file in files:
            try:
                waveform = classifier.feature_extractor.load_audio(file)
            except (ValueError, OSError) as error:
                if not skip_bad:
                    raise
                print(f"skipped: {error}", file=sys.stderr)
                continue
            usable.append(file)
            yield {"array": waveform, "sampling_rate": rate}

    scores = classifier(decode(), batch_size=batch_size)
    for index, result in enumerate(tqdm(scores, total=len(files), unit="clip", disable=not sys.stderr.isatty())):
        yield usable[index], result


def as_csv(results: list[tuple[Path, list[dict[str, Any]]]], labels: list[str]) -> str:
    """Write results as CSV: file, prediction, and the score of every label."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "prediction", *labels])
    for file, scores in results:
        by_label = {entry["label"]: entry["score"] for entry in scores}
        writer.writerow([_cell(file), scores[0]["label"], *(f"{by_label[label]:.6f}" for label in labels)])
    return text.getvalue()


def _printable(file: Path) -> str:
    """A file's name that can be written whatever its bytes are."""
    return str(file).encode("utf-8", "backslashreplace").decode("utf-8")


def _cell(file: Path) -> str:
    """A file's name that no spreadsheet takes for a formula."""
    name = _printable(file)
    return f"./{name}" if name.startswith(("=", "+", "-", "@")) else name


def check_folder_of(path: str) -> None:
    """Check that a file can be written where it shall be."""
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; name a file in it.")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {file.parent} to write {file.name} into; make it first.")


def check_output(path: str, files: Iterable[Path]) -> None:
    """Check that a table would not replace something else, a recording for example.

    >>> check_output("clips/1.flac", [])
    Traceback (most recent call last):
    ...
    ValueError: --output clips/1.flac: the scores are written as CSV; give it a name that ends in .csv.
    """
    if Path(path).suffix.lower() != ".csv":
        raise ValueError(f"--output {path}: the scores are written as CSV; give it a name that ends in .csv.")
    if any(Path(path).resolve() == file.resolve() for file in files):
        raise ValueError(f"--output {path} is one of the files to be read; give it another name.")


def run(args: argparse.Namespace) -> int:
    """Run `ser predict`."""
    plain_warnings()
    quiet_unless_terminal()
    try:
        if args.output:  # before the work, not after it
            check_folder_of(args.output)
        files = find_files(args.files)
        if args.output:
            check_output(args.output, files)
        classifier = load_classifier(args.model, args.revision, args.device)
        results = list(classify(classifier, files, args.batch_size, args.skip_bad))
        if args.output and results:
            labels = classifier.model.config.id2label
            write_text(args.output, as_csv(results, [labels[index] for index in sorted(labels)]))
        elif results:
            rows = [[_printable(file), scores[0]["label"], f"{scores[0]['score']:.3f}"] for file, scores in results]
            print(text_table(["file", "prediction", "score"], rows), flush=True)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not results:
        print("error: none of the files can be used.", file=sys.stderr)
        return 1
    return 0


__all__ = ["classify", "find_files", "load_classifier", "run"]
