"""Damaged and hostile files by the thousand: `python -m tests.fuzzing`, or `make fuzz`.

An attempt reads one file that chance has changed and returns a word for how that went; what it raises is a fault that
was found. Each has 1 GB of memory and 10 s at most. `python -m tests.fuzzing deepspeech --index 42` repeats one.
"""

import argparse
import importlib
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import transformers

try:
    import resource
except ImportError:  # Windows
    resource = None

Attempt = Callable[[int, np.random.Generator], str]

# Name → what makes the attempt from a folder to work in, and how many `make fuzz` makes of it.
FUZZERS = {
    "deepspeech": ("tests.feature_extraction.convert.deepspeech_fuzz:attempts", 2000),
    "whisper": ("tests.feature_extraction.convert.whisper_fuzz:attempts", 1000),
    "sounds": ("tests.feature_extraction.sound_fuzz:attempts", 2016),  # 48 of each format
    "phones": ("tests.feature_extraction.sound_fuzz:phone_attempts", 2000),
    "weights": ("tests.modeling_ser.checkpoint_fuzz:files", 2000),
    "folders": ("tests.modeling_ser.checkpoint_fuzz:folders", 300),
}
MOST_BYTES, MOST_SECONDS = 1 << 30, 10
# Numbers that tempt readers: small, at the limits of their types, larger than any file.
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)


def mutate_bytes(content: bytes, structure: np.ndarray, random: np.random.Generator) -> bytes:
    """Change bytes in one to four places, mostly at the positions of the structure, or cut them off."""
    content = bytearray(content)
    for _ in range(random.integers(1, 5)):
        # Weeding out the payload matters: it is most of a file, and any bytes will do there.
        position = int(random.choice(structure)) if random.random() < 0.9 else int(random.integers(len(content)))
        position = min(position, max(0, len(content) - 1))
        length = int(random.choice([1, 2, 4, 8, 64, 4096]))
        match random.integers(6):
            case 0:
                content[position : position + 1] = bytes([random.integers(256)])
            case 1:
                content[position : position + 1] = bytes([content[position] ^ (1 << int(random.integers(8)))])
            case 2:
                number = NUMBERS[random.integers(len(NUMBERS))].to_bytes(8, "little")
                size = int(random.choice([1, 2, 4, 8]))
                content[position : position + size] = number[:size]
            case 3:
                del content[position : position + length]
            case 4:
                origin = int(random.choice(structure))
                content[position:position] = content[origin : origin + length]
            case 5 if random.random() < 0.3:
                del content[position:]
            case _:
                content[position : position + length] = random.bytes(length)
        if not content:
            break
    return bytes(content)


def fuzz(attempt: Attempt, indices: Iterable[int], seed: int = 0, seconds: float = 0) -> Counter[str]:
    """Make an attempt for each index, with chances of its own, and count how they went; faults are raised at the end.

    Without `seconds` an attempt may take any time, as in the tests, which a busy machine must not fail.
    """
    outcomes: Counter[str] = Counter()
    faults = []
    for index in indices:
        try:
            with _bounded(seconds):
                outcomes[attempt(index, np.random.default_rng((seed, index)))] += 1
        except (Exception, TooSlow) as error:
            traceback.print_exc()
            faults.append(f"seed {seed}, index {index}: {type(error).__name__}: {error}")
    if faults:
        raise AssertionError("\n".join([f"{len(faults)} fault(s), after {outcomes}", *faults]))
    return outcomes


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Let what is within take only so much memory beyond what the process has now, and only so much time."""
    if resource is None or not Path("/proc/self/statm").exists():
        yield
        return
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + MOST_BYTES, hard))
    if seconds:
        previous = signal.signal(signal.SIGALRM, _too_slow)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


class TooSlow(BaseException):
    """An attempt took too long; no reader may take this for an error of a file."""


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to fuzz: {', '.join(FUZZERS)} (default: all)")
    parser.add_argument("--rounds", type=int, help="attempts of each (default: as many as it needs)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--index", type=int, help="make this one attempt only")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # thousands of them, of transformers too
    transformers.utils.logging.set_verbosity(transformers.utils.logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    faults = []
    for name in options.names or FUZZERS:
        place, rounds = FUZZERS[name]
        module, _, make = place.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            attempt = getattr(importlib.import_module(module), make)(Path(folder))
            indices = range(options.rounds or rounds) if options.index is None else [options.index]
            try:
                found = fuzz(attempt, indices, options.seed, MOST_SECONDS)
            except AssertionError as error:
                faults.append(f"{name}: {error}")
                continue
        for outcome, number in sorted(found.items()):
            print(f"{name:12} {number:6}  {outcome}", flush=True)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
