"""What parts of the command `ser` with choices of their own share: parse, run, print, and say why when it fails."""

import argparse
import sys
from collections.abc import Sequence

from speech_emotion.option_spelling import spelled_as_known
from speech_emotion.progress import plain_warnings, quiet_unless_terminal


def run_part(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run what the words choose, and print what it returns.

    >>> parser = argparse.ArgumentParser()
    >>> parser.set_defaults(run=lambda args: ["done"])
    >>> run_part(parser, [])
    done
    0
    """
    args = parser.parse_args(spelled_as_known(parser, sys.argv[1:] if argv is None else argv))
    plain_warnings()
    quiet_unless_terminal()
    try:
        for result in args.run(args):
            print(result)
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


__all__ = ["run_part"]
