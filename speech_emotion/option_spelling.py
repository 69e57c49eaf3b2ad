"""One spelling of options is as good as the other."""

import argparse
from collections.abc import Sequence


def spelled_as_known(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Spell options as a parser does: `--data-dir` and `--data_dir` are one, as in the training commands.

    >>> parser = argparse.ArgumentParser()
    >>> _ = parser.add_argument("--data_dir")
    >>> spelled_as_known(parser, ["--data-dir", "a-b", "--other-one"])
    ['--data_dir', 'a-b', '--other-one']
    """
    parsers = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    known = {option.replace("_", "-"): option for one in parsers for option in one._option_string_actions}
    spelled = []
    for word in words:
        name, equals, value = word.partition("=")
        option = known.get(name.replace("_", "-"), name) if name.startswith("--") else name
        spelled.append(option + equals + value)
    return spelled


__all__ = ["spelled_as_known"]
