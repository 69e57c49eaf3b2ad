"""`ser listen`: sound of a microphone or of a pipe in, emotions out while it is heard."""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from feature_extraction.safe_text import printable
from speech_emotion.cli.command import add_model
from speech_emotion.cli.timeline import run_line
from speech_emotion.evaluation.figures_timeline import NO_SPEECH
from speech_emotion.extras import check_extra
from speech_emotion.files import csv_lines
from speech_emotion.terminal import CommandParser, positive_number, say, whole_number

if TYPE_CHECKING:
    import numpy as np

    from modeling_ser import SERPipeline

MICROPHONE, STANDARD_INPUT = "microphone", "-"
FIELDS = ("start", "end", "prediction")


def get_parser(prog: str = "ser listen") -> CommandParser:
    """Return the parser of `ser listen`."""
    parser = CommandParser(
        prog=prog,
        description="Print emotions and scores of speech while it is spoken, until Ctrl-C or the end of the input.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        default=MICROPHONE,
        help="microphone (the default; needs sounddevice, the extra listen), or - for the standard input, as WAV",
    )
    add_model(parser)
    parser.add_argument(
        "--input", metavar="NAME", help="a microphone's number, name or part of it; `python -m sounddevice` lists them"
    )
    parser.add_argument(
        "--raw", type=whole_number(1), metavar="RATE", help="the standard input is raw 16-bit samples of this rate"
    )
    parser.add_argument(
        "--channels", type=whole_number(1), default=1, help="channels of raw samples, in turn (default: 1)"
    )
    parser.add_argument("--channel", type=whole_number(0), help="take this channel, from 0 (default: the average)")
    parser.add_argument(
        "--window", type=positive_number, default=4.0, metavar="SECONDS", help="length of a window (default: 4)"
    )
    parser.add_argument(
        "--hop",
        type=positive_number,
        default=1.0,
        metavar="SECONDS",
        help="from the beginning of one window to that of the next (default: 1)",
    )
    parser.add_argument(
        "--vad",
        action="store_true",
        help="score speech only, stretch by stretch, and say where there is none (needs silero-vad, the extra vad)",
    )
    parser.add_argument("--seconds", type=positive_number, default=math.inf, help="of sound to listen to")
    parser.add_argument("--format", choices=("table", "csv", "jsonl"), help="what is printed (default: a table)")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Score windows as they are heard and yield a line for each."""
    check_arguments(args)
    from speech_emotion.cli.predict import load_classifier
    from speech_emotion.inference.live_sound import import_sounddevice, microphone, read_raw, read_wav
    from speech_emotion.inference.saved_model import check_emotions

    if args.source == MICROPHONE:
        import_sounddevice()  # before the work, not after it
    classifier = load_classifier(args.model, args.revision, args.device, batch_size=8)
    check_emotions(classifier, "ser listen")
    if args.source == MICROPHONE:
        device = int(args.input) if args.input and args.input.isdecimal() else args.input
        source = microphone(device)
    elif args.raw:
        blocks = read_raw(sys.stdin.buffer, args.raw, args.channels, args.channel)
        source = nullcontext(("the standard input", args.raw, blocks))
    else:
        source = nullcontext(("the standard input", *read_wav(sys.stdin.buffer, args.channel)))
    names = [label for _, label in sorted(classifier.model.config.id2label.items())]
    needed = seconds_of_a_window(classifier, args.window)
    with source as (name, rate, blocks):
        if args.source == MICROPHONE and needed > args.hop:
            raise ValueError(f"--hop {args.hop:g} is less than a window takes to compute here, {needed:.2f} s.")
        say(
            f"Listening to {printable(name)} at {rate} Hz, until Ctrl-C or its end. Windows of {args.window:g} s "
            f"are scored every {args.hop:g} s, each {1000 * needed:.0f} ms after its end.",
            error=True,
        )
        windows = heard(classifier, limited(blocks, args.seconds * rate), rate, args)
        yield from lines_of(records(windows, names), names, args.format)


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse, before the work, what does not go together."""
    if args.source not in (MICROPHONE, STANDARD_INPUT):
        raise ValueError(
            f"{printable(args.source)}: what is heard is microphone, or - for the standard input; of files "
            "`ser predict --timeline` tells the same."
        )
    if args.source == MICROPHONE and (args.raw or args.channel is not None or args.channels > 1):
        raise ValueError("--raw, --channels and --channel are of the standard input: ser listen -")
    if args.source == STANDARD_INPUT and args.input:
        raise ValueError("--input names a microphone, and - is the standard input. Leave one out.")
    if args.channels > 1 and not args.raw:
        raise ValueError("--channels is of raw samples; a WAV file says how many it has. Add --raw RATE.")
    if not 0.1 <= args.window < math.inf:
        raise ValueError(f"--window {args.window:g}: a window has a length, of 0.1 s at least.")
    if args.hop > args.window:
        raise ValueError(f"--hop {args.hop:g} is more than --window {args.window:g}: what lies between is not heard.")
    if args.vad:
        check_extra("vad", "--vad", "silero_vad")
    if args.source == STANDARD_INPUT and sys.stdin.isatty():
        raise ValueError("nothing is piped in: arecord -f S16_LE -r 16000 | ser listen - --raw 16000, for example.")


def heard(
    classifier: "SERPipeline", blocks: "Iterable[np.ndarray]", rate: int, args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield the windows of an `EmotionStream`; Ctrl-C is an end like any other."""
    from speech_emotion.inference import EmotionStream

    stream = EmotionStream(classifier, args.window, args.hop, rate, vad=args.vad)
    try:
        for block in blocks:
            yield from stream.push(block)
    except KeyboardInterrupt as stop:
        if type(stop) is not KeyboardInterrupt:
            raise
    yield from stream.finish()


def limited(blocks: "Iterable[np.ndarray]", most: float) -> "Iterator[np.ndarray]":
    """Give blocks up to so many samples."""
    for block in blocks:
        yield block if len(block) <= most else block[: round(most)]
        most -= len(block)
        if most <= 0:
            return


def seconds_of_a_window(classifier: "SERPipeline", window_s: float) -> float:
    """Measure how long a window takes, once everything is in memory."""
    import numpy as np

    from speech_emotion.inference.emotion_stream import logits_of_windows

    samples = round(window_s * classifier.feature_extractor.sampling_rate)
    noise = 0.1 * np.random.default_rng(0).standard_normal(samples, dtype=np.float32)
    for _ in range(2):
        start = time.perf_counter()
        list(logits_of_windows(classifier, iter([(None, noise)]), 1))
    return time.perf_counter() - start


def records(windows: Iterable[dict[str, Any]], names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield a record for each window; where nobody speaks it has no scores."""
    for window in windows:
        start, end = (round(time, 3) for time in window["timestamp"])
        found = {entry["label"]: round(entry["score"], 6) for entry in window["scores"]}
        prediction = window["scores"][0]["label"] if found else NO_SPEECH
        scores = {name: found.get(name) for name in names}
        yield {"start": start, "end": end, "prediction": prediction, "scores": scores}


def lines_of(found: Iterable[dict[str, Any]], names: list[str], kind: str | None) -> Iterator[str]:
    """Write records as JSON lines, as CSV, or as the lines of a table."""
    if kind == "jsonl":
        return (json.dumps(record, ensure_ascii=False) for record in found)
    if kind == "csv":
        cells = ([*(record[name] for name in FIELDS), *record["scores"].values()] for record in found)
        return csv_lines([*FIELDS, *names], cells)
    width = max(map(len, map(printable, [*names, NO_SPEECH])))
    return (
        run_line(*(record[name] for name in FIELDS), record["scores"].get(record["prediction"]), 3600.0, width)
        for record in found
    )
