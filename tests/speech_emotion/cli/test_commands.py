"""Every command: quick help, one boundary for errors and interruptions, both spellings of options."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from speech_emotion.cli.command import run_command
from speech_emotion.cli.main import PARTS
from speech_emotion.cli.main import main as ser
from speech_emotion.terminal import CommandParser
from tests.subprocess_tools import PROJECT_ROOT, offline_environment

HEAVY = ["torch", "transformers", "datasets", "pandas", "pyarrow", "sklearn", "scipy", "matplotlib", "librosa"]
QUICK = """
import atexit, json, sys
heavy = set(json.loads(sys.argv.pop(1)))
atexit.register(lambda: print("HEAVY", json.dumps(sorted(heavy & set(sys.modules))), flush=True))
from speech_emotion.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        *([part, "--help"] for part in PARTS),
        ["corpus", "check", "--help"],
        ["predict", "gone.wav", "--model", "nobody/model"],
        ["predict", __file__, "--model", "./gone"],
        ["explain", "gone.wav", "--model", "nobody/model"],
        ["report", "--results", "gone"],
        ["cross-validate", "--corpora", "emodb", "--systems", "model-1", "--finished", "gone"],
        ["cross-validate", "--corpora", "emodb", "--systems", "gone"],
        ["convert", "gone.pb", "out"],
        ["cache", "clear", "gone"],
        ["train", "--corpus", "polish", "--data_dir", "gone"],
        ["train", "--corpus", "polish", "--model_name_or_path", "./gone"],
    ],
    ids=" ".join,
)
def test_help_and_missing_files_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    # What makes them quick: an import of torch alone takes longer than a person waits for help.
    program = [sys.executable, "-c", QUICK, json.dumps(HEAVY), *words]
    environment = offline_environment(tmp_path) | {"PYTHONPATH": str(PROJECT_ROOT)}
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, env=environment)
    told = done.stdout + done.stderr
    assert "HEAVY []" in told, told
    asked = words[-1] in ("--help", "--version")
    assert done.returncode == (0 if asked else 1), told
    assert "Traceback" not in told and (asked or ("error: " in done.stderr and "gone" in done.stderr))


def test_what_ser_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["predikt"], ["--nothing"]):
        with pytest.raises(SystemExit) as stopped:
            ser(words)
        assert stopped.value.code == 2
        assert "usage: ser" in capsys.readouterr().err


class HubRefusal(OSError):
    response = type("Response", (), {"status_code": 401})


def test_errors_are_a_sentence_and_mistakes_of_ours_keep_their_trace(capsys: pytest.CaptureFixture[str]) -> None:
    def run(error: BaseException) -> int:
        def work(args: object) -> Iterator[object]:
            yield "begun"
            raise error

        return run_command(CommandParser(), [], work)

    assert run(ValueError("the fold 7")) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("begun\n", "error: the fold 7\n")
    assert run(HubRefusal("401")) == 1 and "hf auth login" in capsys.readouterr().err
    missing = FileNotFoundError(2, "No such file or directory", "gone.wav")
    assert run(missing) == 1 and capsys.readouterr().err == "error: gone.wav: No such file or directory.\n"
    assert run(KeyboardInterrupt()) == 128 + signal.SIGINT
    told = capsys.readouterr().err
    assert "Ctrl-C" in told and len(told.splitlines()) == 1
    with pytest.raises(KeyError):
        run(KeyError("a mistake of ours"))


def test_a_command_that_is_terminated_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def work(args: object) -> Iterator[object]:
        yield "begun"
        signal.raise_signal(signal.SIGTERM)

    assert run_command(CommandParser(), [], work) == 128 + signal.SIGTERM
    assert "SIGTERM" in capsys.readouterr().err and signal.getsignal(signal.SIGTERM) is before


def test_an_exit_code_of_its_own_is_returned() -> None:
    assert run_command(CommandParser(), [], lambda args: 3) == 3


def test_whoever_has_read_enough_may_close_the_pipe(tmp_path: Path) -> None:
    program = (
        "from speech_emotion.cli.command import run_command as r\n"
        "from speech_emotion.terminal import CommandParser as P\n"
        "raise SystemExit(r(P(), [], lambda args: ('line' * 1000 for _ in range(1000))))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT_ROOT,
        env=os.environ,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 1


def test_options_may_be_spelled_either_way() -> None:
    parser = CommandParser()
    parser.add_argument("--data_dir")
    part = parser.add_subparsers(dest="part").add_parser("part")
    part.add_argument("--batch-size", type=int)
    for words in (["--data-dir", "a_b", "part", "--batch_size=2"], ["--data_dir=a_b", "part", "--batch-size", "2"]):
        args = parser.parse_args(words)
        assert (args.data_dir, args.batch_size) == ("a_b", 2)
    with pytest.raises(SystemExit):
        parser.parse_args(["part", "--batch_sizes", "2"])
