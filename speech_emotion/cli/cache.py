"""`ser cache`: what the library keeps on this disk; shown, removed, and fetched beforehand."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from feature_extraction.safe_text import printable
from speech_emotion.terminal import CommandParser, quiet_unless_terminal, say

if TYPE_CHECKING:
    from speech_emotion.user_cache import Entry

FETCHED_CORPORA = ("polish",)
USUAL = ("whisper-base", "polish")  # what the recommended recipe and the demo fetch


def get_parser(prog: str = "ser cache") -> CommandParser:
    """Return the parser of `ser cache`."""
    parser = CommandParser(
        prog=prog,
        description="What the library keeps on this disk: fetched weights and corpora, tables of corpora and the "
        "features that were computed of them.",
        epilog="Where it is: HF_HOME, and HF_DATASETS_CACHE for corpora, move it. What comes from the Hub is the "
        "Hub's own: `hf cache ls` lists it.",
    )
    parts = parser.add_subparsers(dest="action", required=True, metavar="{list,clear,prefetch}")
    which = "kind or name, as `ser cache list` tells them (default: everything)"
    for name, does, what in (
        ("list", "show what is kept, where, and how large it is", which),
        ("clear", "remove it: what is needed again is fetched or computed again", which),
        (
            "prefetch",
            "fetch what is needed, for work without a network",
            f"weights, corpus, or model on the Hub as user/name (default: {' and '.join(USUAL)})",
        ),
    ):
        part = parts.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")
        part.add_argument("names", nargs="*", metavar="NAME", help=what)
        part.add_argument("--cache_dir", help="folder of corpora, where a training was given one")
        if name == "clear":
            part.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Do what was asked for, and yield what is to be told."""
    if args.action == "prefetch":
        yield from prefetch(args.names or USUAL, args.cache_dir)
        return
    from speech_emotion.user_cache import cache_folders, choose_entries, find_entries, remove

    entries = choose_entries(find_entries(args.cache_dir), args.names)
    if not entries:
        weights, corpora = cache_folders(args.cache_dir)
        yield f"Nothing is kept in {printable(weights)}, nothing of corpora in {printable(corpora)}."
        return
    yield from table(entries)
    if args.action == "list":
        return
    if not args.yes and not agreed(f"Remove {'this' if len(entries) == 1 else f'these {len(entries)}'}?"):
        yield "Nothing was removed."
        return
    size = 0
    for entry in entries:
        size += entry.size
        for folder in remove(entry):
            say(f"left: {printable(folder)}, in which something else is.", error=True)
    yield f"Removed: {readable(size)}."


def agreed(question: str) -> bool:
    """Ask at a terminal; elsewhere nobody can answer."""
    if not sys.stdin.isatty():
        raise ValueError("nobody can be asked whether to remove this; add --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def table(entries: "Sequence[Entry]") -> Iterator[str]:
    """Yield a line for each entry, and one for all."""
    sizes = [entry.size for entry in entries]
    width = max(len("name"), *(len(printable(entry.name)) for entry in entries))
    line = f"{{:<8}}  {{:<{width}}}  {{:>9}}  {{:<10}}  {{}}".format
    yield line("kind", "name", "size", "written", "folder")
    for entry, size in zip(entries, sizes, strict=True):
        written = time.strftime("%Y-%m-%d", time.localtime(entry.last_written))
        yield line(entry.kind, printable(entry.name), readable(size), written, printable(entry.path))
    yield line("all", "", readable(sum(sizes)), "", "")


def readable(size: int) -> str:
    """Tell a number of bytes.

    >>> readable(0), readable(1500), readable(148_213_555)
    ('0.0 MB', '0.0 MB', '148.2 MB')
    """
    return f"{size / 1e6:.1f} MB"


def prefetch(names: Sequence[str], cache_dir: str | None = None) -> Iterator[str]:
    """Fetch weights, corpora and models of the Hub; yield where each of them is."""
    from speech_emotion.pretrained import SHORT_NAMES, pretrained_path

    known = (*SHORT_NAMES, *FETCHED_CORPORA)
    for name in names:  # before anything is fetched
        if name not in known and "/" not in name:
            raise ValueError(
                f"{name} is nothing that is fetched; there are {', '.join(known)}, and models on the Hub as user/name."
            )
    quiet_unless_terminal()
    for name in names:
        if name in SHORT_NAMES:
            place: object = pretrained_path(name)
        elif name in FETCHED_CORPORA:
            from dataset_scripts.registry import CORPORA

            place = CORPORA[name].default_data_dir(cache_dir)
        else:
            from speech_emotion.inference.saved_model import load_saved

            load_saved(name)  # with the encoders that it refers to
            place = "the cache of the Hub" if not Path(name).is_dir() else name
        yield f"{printable(name)}: {printable(place)}"
    yield "With HF_HUB_OFFLINE=1 nothing else is asked for."
