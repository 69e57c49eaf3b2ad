"""`ser checkpoint`: train the model that comes along anew, from the corpora that one has, and measure it."""

import argparse
from collections.abc import Iterator

from speech_emotion.terminal import CommandParser, whole_number

CORPORA = ("emodb", "ravdess", "nemo")
STRANGERS = ("ased", "polish")


def get_parser(prog: str = "ser checkpoint") -> CommandParser:
    """Return the parser of `ser checkpoint`."""
    parser = CommandParser(
        prog=prog,
        description="Train one model on several corpora and on sounds without speech, for a fixed number of steps; "
        "measure others like it on the speakers and corpora that each was not given; write model and card. What is "
        "computed already is found again. Hours on 2 cores; the corpora's terms bind the model.",
    )
    parser.add_argument("--corpora", nargs="+", default=CORPORA, help=f"to learn from (default: {' '.join(CORPORA)})")
    parser.add_argument(
        "--strangers",
        nargs="*",
        default=STRANGERS,
        help=f"that no training hears, to measure with (default: {' '.join(STRANGERS)})",
    )
    parser.add_argument("--seeds", nargs="+", type=whole_number(0), default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--num_folds", type=whole_number(2), default=3, help="folds of speakers (default: 3)")
    parser.add_argument("--data_dir", help="folder of folders of corpora (default: their usual places)")
    parser.add_argument("--cache_dir", help="folder for what is built (default: that of datasets)")
    parser.add_argument("--output_dir", default="outputs/checkpoint", help="default: outputs/checkpoint")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Train, measure, and tell where the model lies."""
    both = sorted(set(args.corpora) & set(args.strangers))
    if both:
        raise ValueError(f"{both[0]} cannot be learned from and be a stranger; leave it out of one of them.")
    from speech_emotion.checkpoint.assembly import assemble, percent
    from speech_emotion.checkpoint.workshop import Workshop
    from speech_emotion.evaluation.tables import text_table
    from speech_emotion.terminal import quiet_unless_terminal, say

    quiet_unless_terminal()
    workshop = Workshop(
        args.output_dir,
        args.corpora,
        args.strangers,
        args.seeds,
        args.num_folds,
        args.data_dir,
        args.cache_dir,
        tell=say,
    )
    folder = f"{args.output_dir}/emotions"
    measures = assemble(workshop, folder)
    rows = [
        [row["corpus"], heard, percent(row["ua_four"]), percent(row["wa_four"]), percent(row["no_speech"])]
        for heard, part in (("left out", "left_out"), ("never heard", "strangers"))
        for row in measures[part]
    ]
    yield text_table(["corpus", "is", "UA % of four emotions", "WA %", "speech called none %"], rows)
    yield f"The model: {folder}; its card: {folder}/README.md"
