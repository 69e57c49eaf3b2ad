"""`ser predict --timeline`: recordings in, emotions over time out."""

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_extraction.safe_text import printable
from speech_emotion.evaluation.figures_timeline import NO_SPEECH, clock
from speech_emotion.extras import check_extra
from speech_emotion.terminal import positive_number

if TYPE_CHECKING:
    from modeling_ser import SERPipeline
    from speech_emotion.inference.timeline import Timeline

DEFAULTS = {"window": 4.0, "hop": 2.0, "smooth": 0.0}
FIELDS = ("file", "part", "start", "end", "prediction")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a timeline is asked for with."""
    group = parser.add_argument_group("long recordings")
    group.add_argument(
        "--timeline",
        action="store_true",
        help="score windows of each recording, decoded as it is read: the table joins neighbors of one emotion, CSV "
        "and JSON lines have a row for the whole, the mean over time, and one for each window",
    )
    group.add_argument("--window", type=positive_number, metavar="SECONDS", help="length of a window (default: 4)")
    group.add_argument(
        "--hop",
        type=float,
        metavar="SECONDS",
        help="from the beginning of one window to that of the next (default: 2)",
    )
    group.add_argument(
        "--smooth",
        type=float,
        metavar="SECONDS",
        help="average scores with those less than so many seconds away; not those of the whole (default: 0, none)",
    )
    group.add_argument(
        "--vad",
        action="store_true",
        help="score stretches of speech only, each cut into windows by itself; what lies between them is no_speech "
        "(needs silero-vad, the extra vad)",
    )
    group.add_argument("--picture", metavar="FILE", help="draw the timeline of one recording, .png or .svg")
    group.add_argument(
        "--picture-width", type=float, default=10.0, metavar="INCHES", help="from 4 to 100 (default: 10)"
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse, before the work, what does not go together; fill in what was not said."""
    for name, default in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
        elif not args.timeline:
            raise ValueError(f"--{name} is of a timeline. Add --timeline.")
    if args.vad and not args.timeline:
        raise ValueError("--vad is of a timeline. Add --timeline.")
    if args.picture and not args.timeline:
        raise ValueError("--picture draws a timeline. Add --timeline.")
    if args.timeline and not 0.1 <= args.window < math.inf:
        raise ValueError(f"--window {args.window:g}: a window has a length, of 0.1 s at least.")
    if args.hop > args.window:
        raise ValueError(f"--hop {args.hop:g} is more than --window {args.window:g}: what lies between is not heard.")
    if not 0 <= args.smooth < math.inf:
        raise ValueError(f"--smooth {args.smooth:g}: must be a number of seconds, 0 for no smoothing.")
    if not 4 <= args.picture_width <= 100:
        raise ValueError(f"--picture-width {args.picture_width:g}: a picture is 4 to 100 inches wide.")
    if args.vad:
        check_extra("vad", "--vad", "silero_vad")
    if args.picture:
        from speech_emotion.evaluation.figures import figure_style

        with figure_style():  # which needs matplotlib
            pass


def clips_maker(classifier: "SERPipeline", args: argparse.Namespace) -> "Callable[[Path], Iterator[dict[str, Any]]]":
    """Return what gives the clips of a recording that a model is adapted to: what a timeline scores."""
    from speech_emotion.inference.timeline import windows_of

    def clips(file: Path) -> Iterator[dict[str, Any]]:
        for _, samples in windows_of(classifier, file, args.window, args.hop, args.vad):
            if samples is not None:
                yield {"array": samples, "sampling_rate": classifier.feature_extractor.sampling_rate}

    return clips


def timeline_maker(classifier: "SERPipeline", args: argparse.Namespace) -> "Callable[[Path], Timeline]":
    """Return what makes a file's timeline."""
    from speech_emotion.inference.timeline import timeline_of

    return lambda file: timeline_of(classifier, file, args.window, args.hop, args.smooth, args.batch_size, args.vad)


def drawn(results: "Iterable[tuple[Path, Timeline]]", args: argparse.Namespace) -> "Iterator[tuple[Path, Timeline]]":
    """Draw each timeline, if that is asked for, before it is given on."""
    from speech_emotion.evaluation.figures import save_figure
    from speech_emotion.inference.timeline import draw_timeline

    for file, found in results:
        if args.picture:
            save_figure(draw_timeline(found, printable(file.name), args.picture_width), args.picture)
        yield file, found


def records(results: "Iterable[tuple[Path, Timeline]]") -> Iterator[dict[str, Any]]:
    """Yield of each file a record of the whole, and one of each window."""
    for file, found in results:
        for part, (start, end), prediction, scores in found.rows():
            yield {
                "file": printable(file),
                "part": part,
                "start": round(start, 3),
                "end": round(end, 3),
                "prediction": prediction,
                "scores": {label: None if score is None else round(score, 6) for label, score in scores.items()},
            }


def table_lines(results: "Iterable[tuple[Path, Timeline]]") -> Iterator[str]:
    """Yield of each file a line for the whole, and under it one for each stretch of one emotion."""
    from speech_emotion.inference.timeline import best_label

    for file, found in results:
        longest = max(60.0, found.seconds)
        text = f"{printable(file)} ({clock(found.seconds, longest)})"
        if found.spoken:
            over = f" over {clock(found.spoken, longest)} of speech" if found.spoken < found.seconds else ""
            best = printable(best_label(found.labels, found.summary))
            yield f"{text}: {best} {found.summary.max():.3f}, on average{over}"
        else:
            yield f"{text}: nobody speaks"
        width = max(map(len, map(printable, [*found.labels, NO_SPEECH])))
        for start, end, label, score in found.runs():
            yield run_line(start, end, label, score, longest, width)


def run_line(start: float, end: float, label: str, score: float | None, longest: float, width: int) -> str:
    """Write a stretch of one label in a table; what was not scored has none."""
    times = [clock(time, longest) for time in (start, end)]
    value = "" if score is None or math.isnan(score) else f"  {score:.3f}"
    return f"  {times[0]:>9} – {times[1]:<9}  {printable(label):<{width}}{value}".rstrip()
