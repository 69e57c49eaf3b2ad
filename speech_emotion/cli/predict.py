"""`ser predict`: files in, emotions out, as a table or as CSV."""

import argparse
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech_emotion.files import check_writable, write_csv
from speech_emotion.inference.saved_model import check_place, load_saved
from speech_emotion.terminal import CommandParser, is_terminal, quiet_unless_terminal, whole_number

if TYPE_CHECKING:
    from modeling_ser import SERPipeline


def get_parser(prog: str = "ser predict") -> CommandParser:
    """Return the parser of `ser predict`."""
    parser = CommandParser(prog=prog, description="Print emotions and scores of audio files.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio file, or folder of audio files")
    parser.add_argument("--model", required=True, help="folder of a saved model, or its id on the Hub")
    parser.add_argument("--revision", help="commit of the model on the Hub")
    parser.add_argument("--device", help="for example cuda:0 (default: a GPU where there is one)")
    parser.add_argument("--batch-size", type=whole_number(1), default=8, help="clips at a time (default: 8)")
    parser.add_argument("--output", metavar="FILE.csv", help="write all scores as CSV instead of a table")
    parser.add_argument(
        "--adapt",
        choices=("all", "speaker"),
        help="normalize by statistics of the files themselves: of all together, or then of each speaker, who is the "
        "folder that a file lies in; several emotions are needed of each, no labels",
    )
    parser.add_argument(
        "--adapt-unchecked", action="store_true", help="adapt even to files that seem to be of one emotion only"
    )
    parser.add_argument("--save-adapted", metavar="FOLDER", help="save the model that --adapt all gives")
    parser.add_argument("--skip-bad", action="store_true", help="report files that cannot be used, and go on")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Score the files; yield the table, or write it as CSV."""
    if args.save_adapted and args.adapt != "all":
        raise ValueError("--save-adapted saves what --adapt all gives: one model for all files. Add --adapt all.")
    if args.save_adapted and Path(args.save_adapted).exists():
        raise FileExistsError(f"--save-adapted {args.save_adapted}: something is there already; name another folder.")
    if args.adapt_unchecked and not args.adapt:
        raise ValueError("--adapt-unchecked says how to adapt. Add --adapt all or --adapt speaker.")
    if args.output:  # before the work, not after it
        check_writable(args.output)
    files = find_files(args.files)
    if args.output:
        check_output(args.output, files)
    classifier = load_classifier(args.model, args.revision, args.device, args.batch_size)
    if args.adapt and args.skip_bad:  # they are read several times
        files = usable_files(classifier, files)
    if args.adapt == "speaker":
        results = classify_by_speaker(classifier, files, args.batch_size, check=not args.adapt_unchecked)
    else:
        if args.adapt:
            classifier = classifier.adapt(files, check=not args.adapt_unchecked)
        results = list(classify(classifier, files, args.batch_size, args.skip_bad))
    if args.save_adapted:
        from speech_emotion.inference.adaptation import save_adapted

        save_adapted(classifier, args.save_adapted, args.model, args.revision)
    if not results:
        raise ValueError("none of the files can be used.")
    if args.output:
        labels = classifier.model.config.id2label
        names = [labels[index] for index in sorted(labels)]
        write_csv(args.output, ["file", "prediction", *names], csv_rows(results, names))
        return
    from speech_emotion.evaluation import text_table

    rows = [[_printable(file), scores[0]["label"], f"{scores[0]['score']:.3f}"] for file, scores in results]
    yield text_table(["file", "prediction", "score"], rows)


def find_files(names: Iterable[str]) -> list[Path]:
    """Replace folders by the audio files below them; unreadable formats are told on the standard error."""
    from dataset_scripts.audio_files import RECORDED_SUFFIXES, UNREAD_SUFFIXES, audio_files

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


def load_classifier(
    model: str, revision: str | None = None, device: str | None = None, batch_size: int | None = None
) -> "SERPipeline":
    """Load a saved model with this library's own code, so that no remote code runs."""
    check_place(model)
    quiet_unless_terminal()
    import torch

    try:
        kind = "cpu" if device is None else torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"There is no device {device!r}; take cpu or cuda:0, or leave it out.") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"There is no device {device}: torch sees no GPU here. Leave it out, or take cpu.")
    network, extractor = load_saved(model, revision)
    return network.as_pipeline(extractor, device=device, batch_size=batch_size)


def classify(
    classifier: "SERPipeline", files: list[Path], batch_size: int, skip_bad: bool
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Yield each usable file with its scores, the highest first."""
    from tqdm import tqdm

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

    with warnings.catch_warnings():
        # Of what is the matter with a file its decoding has warned, by name; the pipeline knows arrays only.
        warnings.filterwarnings("ignore", message="array: ")
        scores = classifier(decode(), batch_size=batch_size)
        for index, result in enumerate(tqdm(scores, total=len(files), unit="clip", disable=not is_terminal())):
            yield usable[index], result


def usable_files(classifier: "SERPipeline", files: Iterable[Path]) -> list[Path]:
    """Return the files that can be decoded; the others are told on the standard error."""
    usable = []
    for file in files:
        try:
            classifier.feature_extractor.load_audio(file)
            usable.append(file)
        except (ValueError, OSError) as error:
            print(f"skipped: {error}", file=sys.stderr)
    return usable


def classify_by_speaker(
    classifier: "SERPipeline", files: list[Path], batch_size: int, check: bool = True
) -> list[tuple[Path, list[dict[str, Any]]]]:
    """Give each file with its scores after adapting to its speaker; whom that was not done for is told."""
    from speech_emotion.inference.adaptation import adapt_to_speakers, by_speaker

    speakers, found = by_speaker(files), {}
    for speaker, adapted, refused in adapt_to_speakers(classifier, speakers, check):
        if refused is not None:
            print(f"not adapted to {_printable(Path(speaker))}: {refused}", file=sys.stderr)
        found |= dict(classify(adapted, speakers[speaker], batch_size, skip_bad=False))
    return [(file, found[file]) for file in files]


def csv_rows(results: Iterable[tuple[Path, list[dict[str, Any]]]], labels: list[str]) -> Iterator[list[str]]:
    """Yield a row per file: its name, the prediction, and the score of every label."""
    for file, scores in results:
        by_label = {entry["label"]: entry["score"] for entry in scores}
        name = _printable(file)
        if name.startswith(("=", "+", "-", "@")):  # which spreadsheets take for a formula
            name = f"./{name}"
        yield [name, scores[0]["label"], *(f"{by_label[label]:.6f}" for label in labels)]


def check_output(path: str, files: Iterable[Path]) -> None:
    """Check that a table would not replace something else, a recording for example."""
    if Path(path).suffix.lower() != ".csv":
        raise ValueError(f"--output {path}: the scores are written as CSV; give it a name that ends in .csv.")
    if any(Path(path).resolve() == file.resolve() for file in files):
        raise ValueError(f"--output {path} is one of the files to be read; give it another name.")


def _printable(file: Path) -> str:
    """A file's name that can be written whatever its bytes are."""
    return str(file).encode("utf-8", "backslashreplace").decode("utf-8")
