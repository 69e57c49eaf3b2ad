"""How commands meet people: options in either spelling, bars at a terminal only, warnings in plain words."""

import argparse
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose options may be spelled with `-` or `_`."""

    def parse_known_args(  # called for each part of a command with parts, too
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse words, their options spelled as the help spells them."""
        known = {option.replace("_", "-"): option for option in re.findall(r"--[a-z][\w-]*", self.format_help())}
        words = []
        for word in sys.argv[1:] if args is None else args:
            name, equals, value = word.partition("=")
            option = known.get(name.replace("_", "-"), name) if name.startswith("--") else name
            words.append(option + equals + value)
        return super().parse_known_args(words, namespace)


def whole_number(least: int) -> Callable[[str], int]:
    """Return what reads the value of an option that is a whole number."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text}")
        return int(text)

    return read


def is_terminal() -> bool:
    """Tell whether somebody watches: progress bars go to the standard error."""
    return sys.stderr.isatty()


def quiet_unless_terminal() -> None:
    """Switch off the bars of datasets, transformers and huggingface_hub where no terminal shows them."""
    if not is_terminal():
        # Imported late: commands ask for help, or find a mistake, before they need any of these.
        import datasets
        import huggingface_hub.utils
        import transformers

        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
        huggingface_hub.utils.disable_progress_bars()


def plain_warnings() -> None:
    """Print warnings as people read them: what is the matter, without the line of code that found it."""

    def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        print(f"warning: {message}", file=sys.stderr, flush=True)

    warnings.showwarning = show
