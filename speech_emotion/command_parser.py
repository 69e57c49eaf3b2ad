"""The parser of every command: `--data-dir` and `--data_dir` are one option."""

import argparse
import re
import sys
from collections.abc import Sequence


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose options may be spelled with `-` or `_`.

    >>> parser = CommandParser()
    >>> _ = parser.add_argument("--data_dir")
    >>> parser.parse_args(["--data-dir", "a-b"]).data_dir
    'a-b'
    """

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
