"""`ser robustness`: what gain, silence, coding, bands, echoes and noise do to what a saved model says."""

import argparse
from collections.abc import Iterator
from pathlib import Path

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
    parser.add_argument("--model", required=True, help="folder of a saved model; with FILEs, also its id on the Hub")
    parser.add_argument("--data_dir", help="folder of the run's corpus (default: its usual place)")
    parser.add_argument("--cache_dir", help="folder for what is built of the corpus")
    parser.add_argument("--device", help="for example cuda:0 (default: a GPU where there is one)")
    parser.add_argument("--batch-size", type=whole_number(1), default=8, help="clips at a time (default: 8)")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Yield how many clips there are, and the table."""
    files = find_files(args.files)
    classifier = load_classifier(args.model, device=args.device)
    load = classifier.feature_extractor.load_audio
    from speech_emotion.inference.robustness import measure_robustness, own_test_clips, robustness_table

    if files:
        waveforms, labels = [load(file) for file in files], None
    else:
        waveforms, labels = own_test_clips(Path(args.model), load, args.data_dir, args.cache_dir)
    yield f"{len(waveforms)} clips"
    yield robustness_table(measure_robustness(classifier, waveforms, labels, args.batch_size))
