"""`ser explain`: a recording in; what in it made the model give it its label, as a picture and as JSON."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from feature_extraction.safe_text import printable
from speech_emotion.cli.command import add_model
from speech_emotion.cli.predict import check_output, find_files, load_classifier
from speech_emotion.files import check_writable, write_json
from speech_emotion.terminal import CommandParser, is_terminal, positive_number, whole_number

if TYPE_CHECKING:
    from speech_emotion.inference.explanation import Explanation

TOLD = 3  # stretches, or words, that are told in words


def get_parser(prog: str = "ser explain") -> CommandParser:
    """Return the parser of `ser explain`."""
    parser = CommandParser(
        prog=prog,
        description="Show why a recording gets its label: its spectrogram, by how much the score falls when a short "
        "stretch of it, or a word, is muted, and where each attention head looks.",
    )
    parser.add_argument("file", metavar="FILE", help="audio file")
    add_model(parser)
    parser.add_argument("--batch-size", type=whole_number(1), default=8, help="clips at a time (default: 8)")
    parser.add_argument(
        "--channel", type=whole_number(0), help="take this channel, from 0 (default: the average of all)"
    )
    parser.add_argument("--label", help="explain the score of this label (default: the highest)")
    parser.add_argument("--start", type=float, default=0.0, metavar="SECONDS", help="begin there (default: 0)")
    parser.add_argument("--end", type=float, metavar="SECONDS", help="end there; at most 30 s are explained")
    parser.add_argument(
        "--stretch",
        type=positive_number,
        metavar="SECONDS",
        help="length of what is muted at a time (default: 0.2, of clips above 10 s a fiftieth)",
    )
    parser.add_argument(
        "--words",
        action="store_true",
        help="let Whisper base (fetched once, 133 MB) find the words, each to about 0.1 s, and mute them, too",
    )
    parser.add_argument("--language", help="of the words, such as en or de (default: Whisper judges by the sound)")
    parser.add_argument(
        "--output",
        default="explanation.png",
        metavar="FILE",
        help="picture, .png or .svg, with its numbers beside it in a .json; or .json for these alone (default: "
        "explanation.png)",
    )
    parser.add_argument("--width", type=float, default=8.0, metavar="INCHES", help="of the picture (default: 8)")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Explain a recording; write the picture and the numbers, and tell what mattered most."""
    if args.language and not args.words:
        raise ValueError("--language is of the words. Add --words.")
    if not 4 <= args.width <= 100:
        raise ValueError(f"--width {args.width:g}: a picture is 4 to 100 inches wide.")
    if Path(args.file).is_dir():
        raise IsADirectoryError(f"{printable(args.file)} is a folder; one recording is explained at a time.")
    (file,) = find_files([args.file])
    check_output(args.output, (".png", ".svg", ".json"), [file])
    output = Path(args.output)
    numbers = output.with_suffix(".json")
    for place in {output, numbers}:
        check_writable(place)
    if numbers.is_file() and "attention_received" not in numbers.read_text("utf-8", errors="replace"):
        raise FileExistsError(f"{numbers} holds no explanation's numbers; give --output another name.")
    picture = output if output.suffix.lower() != ".json" else None
    if picture:
        from speech_emotion.evaluation.figures import figure_style

        with figure_style():  # before the work, not after it: figures need matplotlib
            pass
    classifier = load_classifier(args.model, args.revision, args.device, args.batch_size, args.channel)
    from speech_emotion.inference.explanation import draw_explanation, explain

    found = explain(
        classifier,
        file,
        label=args.label,
        start=args.start,
        end=args.end,
        stretch_s=args.stretch,
        words=args.words,
        language=args.language,
        batch_size=args.batch_size,
        progress=is_terminal(),
    )
    yield from told(found, printable(file.name))
    if picture:
        from speech_emotion.evaluation.figures import save_figure

        yield str(save_figure(draw_explanation(found, title(found, printable(file.name)), args.width), picture))
    yield str(write_json(numbers, {"file": printable(file), "model": args.model, **found.to_dict()}))


def title(found: "Explanation", name: str) -> str:
    """Say what the clip is heard as, in short."""
    best = [f"{printable(label)} {score:.2f}" for label, score in list(found.scores.items())[:3]]
    return f"{name}: {', '.join(best)}"


def told(found: "Explanation", name: str) -> Iterator[str]:
    """Say what mattered most: words where there are any, else stretches that do not overlap."""
    yield title(found, name)
    if found.words == []:
        yield "  no words were heard in it"
    score = found.scores[found.label]
    chosen = []
    for one in sorted(found.words or found.stretches, key=lambda one: -one.fall):
        if one.fall > 0 and all(one.end <= other.start or one.start >= other.end for other in chosen):
            chosen.append(one)
    for one in chosen[:TOLD]:
        what = f" “{printable(one.text)}”" if one.text else ""
        yield f"  without {one.start:.2f} – {one.end:.2f} s{what}: {found.label} {score:.2f} → {score - one.fall:.2f}"
