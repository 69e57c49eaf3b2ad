"""How commands meet people: options in either spelling, bars at a terminal only, plain words without escapes."""

import argparse
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from feature_extraction.safe_text import printable_lines


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

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong with the words, some of which may be names of files that a shell put there."""
        super().error(printable_lines(message))


def whole_number(least: int) -> Callable[[str], int]:
    """Return what reads the value of an option that is a whole number."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text}")
        return int(text)

    return read


def positive_number(text: str) -> float:
    """Read the value of an option that is a positive number."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text}")
    return number


def is_terminal() -> bool:
    """Tell whether somebody watches: progress bars go to the standard error."""
    return sys.stderr.isatty()


def quiet_unless_terminal() -> None:
    """Switch off the bars of datasets, transformers and huggingface_hub where no terminal shows them."""
    if not is_terminal():
        # Imported late: commands ask for help, or find a mistake, before they need any of these.
        import huggingface_hub.utils
        import transformers

        # datasets takes a second to import, and who scores a file needs none of it.
        if "datasets" in sys.modules:
            sys.modules["datasets"].disable_progress_bars()
        else:
            os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        transformers.utils.logging.disable_progress_bar()
        huggingface_hub.utils.disable_progress_bars()


def say(text: object, error: bool = False) -> None:
    """Print for people; what would command their terminal is written as escapes."""
    print(printable_lines(text), file=sys.stderr if error else sys.stdout, flush=True)


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def plain_messages() -> None:
    """Print what is logged, and warnings as people read them: without the line of code that found the matter."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: not record.name.startswith("huggingface_hub"))  # which prints for itself
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    warnings.showwarning = lambda message, *args, **kwargs: say(f"warning: {message}", error=True)
