"""What the training commands share: parse, train, print, and say why when it cannot be done."""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx  # its errors are those of a lost connection
from transformers import HfArgumentParser, TrainingArguments

from speech_emotion.progress import plain_warnings

from .stop_signal import EXIT_CODE

logger = logging.getLogger(__name__)


class Result(Protocol):
    """What a training gave."""

    @property
    def output_dir(self) -> Path:
        """Where everything lies."""

    @property
    def stopped(self) -> bool:
        """Whether SIGTERM stopped it."""

    @property
    def report(self) -> Any:
        """What was measured; `None` when stopped."""


def parse_words(parser: HfArgumentParser, words: Sequence[str] | None) -> tuple[Any, ...]:
    """Parse a command line as argparse does, unknown words included."""
    *groups, unknown = parser.parse_args_into_dataclasses(
        words, return_remaining_strings=True, look_for_args_file=False
    )
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return tuple(groups)


def run_entry(
    parse: Callable[[Sequence[str] | None], tuple[*tuple[Any, ...], TrainingArguments]],
    train: Callable[..., Result],
    summary: Callable[[Any], str],
    argv: Sequence[str] | None,
) -> int:
    """Run a training command."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    plain_warnings()
    try:
        *asked, training = parse(argv)
        result = train(*asked, training)
    except (ValueError, OSError, RuntimeError, FloatingPointError, httpx.HTTPError) as error:
        logger.debug("Where it happened:", exc_info=error)
        print(f"error: {error}{_way_out(error)}", file=sys.stderr)
        return 1
    if result.stopped:
        if training.process_index == 0:
            print(f"Stopped by SIGTERM. Go on with --resume_from_checkpoint true --output_dir {result.output_dir}")
        return EXIT_CODE
    if training.process_index == 0:
        print(f"\n{summary(result.report)}\n\nSaved in {result.output_dir}")
    return 0


def _way_out(error: Exception) -> str:
    """What to do about a refusal by the Hub, which tells only that it refuses."""
    if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code in (401, 403):
        return (
            "\nLog in with `hf auth login` as somebody who may read or write there; for pushing, --hub_token does too."
        )
    return ""


__all__ = ["parse_words", "run_entry"]
