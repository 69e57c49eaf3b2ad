"""`ser robustness`: what gain, silence, coding, bands, echoes and noise do to what a saved model says."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from feature_extraction.safe_text import printable
from speech_emotion.inference.saved_model import named_model
from speech_emotion.pretrained.shipped_model import EMOTIONS
from speech_emotion.terminal import CommandParser, whole_number

from .predict import find_files, load_classifier


def get_parser(prog: str = "ser robustness") -> CommandParser:
    """Return the parser of `ser robustness`."""
    parser = CommandParser(
        prog=prog,
        description="Change clips as devices, lines and rooms do, and count how many are then called something else.",
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="audio file, or folder of some (default: the run's own test clips)"
    )
    parser.add_argument(
        "--model",
        default=EMOTIONS,
        help="folder of a saved model; with FILEs, also its id on the Hub (default: the one that comes along, for "
        "FILEs only, as it has no clips)",
    )
    parser.add_argument("--data_dir", help="folder of the run's corpus (default: its usual place)")
    parser.add_argument("--cache_dir", help="folder for what is built of the corpus")
    parser.add_argument("--device", help="for example cuda:0 (default: a GPU where there is one)")
    parser.add_argument("--batch-size", type=whole_number(1), default=8, help="clips at a time (default: 8)")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Yield how many clips there are, of files also whom the model has heard before, and the table."""
    files = find_files(args.files)
    if not files and args.model == EMOTIONS:
        raise ValueError(
            f"The model {EMOTIONS!r} comes without clips. Name files to measure it with, or another model."
        )
    model = named_model(args.model)
    classifier = load_classifier(model, device=args.device)
    load = classifier.feature_extractor.load_audio
    from speech_emotion.inference.robustness import measure_robustness, own_test_clips, robustness_table

    if files:
        waveforms, labels = [load(file) for file in files], None
    else:
        waveforms, labels = own_test_clips(Path(model), load, args.data_dir, args.cache_dir)
    yield f"{len(waveforms)} clips"
    if files:
        yield _heard_before(model)
    yield robustness_table(measure_robustness(classifier, waveforms, labels, args.batch_size))


def _heard_before(model: str) -> str:
    """Say whose clips would make a model look too good."""
    from speech_emotion.training.run_record import heard_speakers

    heard = heard_speakers(model)
    if heard is None:
        return "whom the model has heard in training is not known: of those speakers' clips the figures are too good"
    titles = (f"{title} ({len({*who['train'], *who['validation']})})" for title, who in heard.items())
    return (
        f"heard in training: speakers of {', '.join(map(printable, titles))}; of their clips the figures are too good"
    )
