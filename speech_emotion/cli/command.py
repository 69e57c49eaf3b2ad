"""How every command runs: parse, work, print, and one sentence where it cannot be done."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from feature_extraction.safe_text import printable
from speech_emotion.pretrained.shipped_model import EMOTIONS
from speech_emotion.terminal import plain_messages, say

# What a user can mend: a command answers it by its message. Anything else is a mistake of ours and shows its trace.
MENDABLE = (ValueError, OSError, RuntimeError, ImportError, FloatingPointError)
# Packages whose errors are mendable too: a lost connection, a refusal by the Hub, damaged weights.
MENDABLE_PACKAGES = ("httpx", "httpx2", "huggingface_hub", "safetensors", "safetensors_rust")


class Terminated(KeyboardInterrupt):
    """SIGTERM asked the command to stop."""

    exit_code = 128 + signal.SIGTERM


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add what a saved model is named with, and what computes it."""
    parser.add_argument(
        "--model",
        default=EMOTIONS,
        help="folder of a saved model, or its id on the Hub (default: the one that comes along)",
    )
    parser.add_argument("--revision", help="commit of the model on the Hub")
    parser.add_argument("--device", help="that computes, for example cuda:0 (default: a GPU where there is one)")


Run = Callable[[argparse.Namespace], Iterable[object] | int]


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None, run: Run | None = None) -> int:
    """Parse words, run what they ask for, print what it yields, and return the exit code.

    `run` (or the parser's default `run`) yields what is printed, or returns an exit code of its own.
    """
    args = parser.parse_args(argv)
    return run_guarded(lambda: (run or args.run)(args))


def run_guarded(work: Callable[[], Iterable[object] | int]) -> int:
    """Do the work of a command behind the one boundary for errors and interruptions."""
    plain_messages()
    try:
        with _told_of_termination():
            results = work()
            if isinstance(results, int):
                return results
            for result in results:
                say(result)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as stop:
        say(f"Stopped: {str(stop) or 'interrupted by Ctrl-C'}.", error=True)
        return getattr(stop, "exit_code", 128 + signal.SIGINT)
    except Exception as error:
        if (told := mendable(error)) is None:
            raise
        logging.getLogger(__name__).debug("Where it happened:", exc_info=error)
        say(f"error: {told}", error=True)
        return 1
    return 0


def mendable(error: Exception) -> str | None:
    """Say what is wrong and, if it is known, the way out; None of a mistake of ours."""
    if not isinstance(error, MENDABLE) and type(error).__module__.partition(".")[0] not in MENDABLE_PACKAGES:
        return None
    return _sentence(error) + _way_out(error)


@contextmanager
def _told_of_termination() -> Iterator[None]:
    """Turn SIGTERM into `Terminated`, where nothing within, such as a training, takes it for itself."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated("by SIGTERM")

    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to no other
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sentence(error: Exception) -> str:
    """What an error says; one of the system, which says "[Errno 2] …", by the file and what is the matter with it."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        where = f"{printable(error.filename)}: " if error.filename is not None else ""
        return f"{where}{error.strerror}."
    return str(error)


def _way_out(error: Exception) -> str:
    """What to do about a refusal by the Hub, which tells only that it refuses."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return (
            "\nLog in with `hf auth login` as somebody who may read or write there; for pushing, --hub_token does too."
        )
    return ""
