"""`ser listen`: pipes of WAV and of raw samples, a microphone, and what is said where neither is there."""

import csv
import io
import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
import soundfile

from modeling_ser import SERPipeline
from speech_emotion.cli import listen
from speech_emotion.cli.main import main as ser
from speech_emotion.inference import live_sound, timeline_of
from tests.babble import babble
from tests.modeling_ser.small_pipeline import LABELS, small_classifier
from tests.modeling_ser.test_windows import LONG

WORDS = ["--window", "1", "--hop", "0.5"]
SOUND = LONG[: 16000 * 3]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listen") / "model"
    network, extractor = small_classifier()
    network.as_pipeline(extractor).save_pretrained(folder)
    return folder


def piped(monkeypatch: pytest.MonkeyPatch, content: Any, terminal: bool = False) -> None:
    buffer = io.BytesIO(content) if isinstance(content, bytes) else content
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer, isatty=lambda: terminal))


def wav(samples: np.ndarray, rate: int = 16000, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    soundfile.write(file := io.BytesIO(), samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def stated(content: bytes, size: int) -> bytes:
    """A WAV file that was written into a pipe states such sizes."""
    place = content.index(b"data") + 4
    return content[:4] + struct.pack("<I", size) + content[8:place] + struct.pack("<I", size) + content[place + 4 :]


@pytest.mark.parametrize(
    "content",
    [
        *(wav(SOUND, subtype=kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
        *(stated(wav(SOUND), size) for size in (0, 0x7FFFF000, 0xFFFFFFFF)),
        wav(SOUND, kind="WAVEX"),
        wav(SOUND, kind="RF64"),
        wav(SOUND) + b"LIST\4\0\0\0abcd",
        wav(np.stack([SOUND, SOUND], axis=1)),
    ],
    ids=lambda content: str(len(content)),
)
@pytest.mark.parametrize("size", [1001, 1 << 20])
def test_a_wav_file_is_read_as_it_comes(content: bytes, size: int) -> None:
    class Pipe(io.BytesIO):
        def read1(self, most: int) -> bytes:
            return super().read1(min(most, size))

    rate, blocks = live_sound.read_wav(Pipe(content))
    assert rate == 16000
    np.testing.assert_allclose(np.concatenate(list(blocks)), SOUND, atol=1 / 120)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (wav(SOUND), []),
        (wav(np.stack([0 * SOUND, SOUND], axis=1)), ["--channel", "1"]),
        (wav(np.stack([SOUND, -SOUND], axis=1)), []),
        (wav(SOUND)[44:], ["--raw", "16000"]),
        (wav(np.stack([SOUND, SOUND], axis=1))[44:], ["--raw", "16000", "--channels", "2"]),
    ],
    ids=["wav", "channel", "opposite phase", "raw", "raw stereo"],
)
@pytest.mark.filterwarnings("ignore:the channels cancel each other")
def test_what_is_heard_of_a_pipe_is_the_timeline(
    model: Path, classifier: SERPipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    content: bytes, words: list[str],
) -> None:  # fmt: skip
    piped(monkeypatch, content)
    assert ser(["listen", "-", "--model", str(model), *WORDS, *words, "--format", "jsonl"]) == 0
    output = capsys.readouterr()
    assert "Listening to the standard input at 16000 Hz" in output.err
    found = [json.loads(line) for line in output.out.splitlines()]
    expected = timeline_of(classifier, wav(SOUND), 1, 0.5)
    assert [(record["start"], record["end"]) for record in found] == [tuple(times) for times in expected.windows]
    for record, scores in zip(found, expected.scores, strict=True):
        assert record["scores"] == pytest.approx(dict(zip(LABELS, scores, strict=True)), abs=1e-5)
        assert record["prediction"] == max(record["scores"], key=record["scores"].get)


def test_tables_and_csv(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["listen", "-", "--model", str(model), *WORDS, "--seconds", "2.5"]
    piped(monkeypatch, wav(SOUND))
    assert ser(words) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines][-1] == ["0:00:01.5", "–", "0:00:02.5"] and len(lines) == 4
    piped(monkeypatch, wav(SOUND))
    assert ser([*words, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["prediction"] for row in rows] == [line[3] for line in lines]
    assert list(rows[0]) == ["start", "end", "prediction", *LABELS]


def test_where_nobody_speaks_that_is_told(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("silero_vad")
    piped(monkeypatch, wav(np.concatenate([np.zeros(24000), babble(1.5), np.zeros(24000)])))
    assert ser(["listen", "-", "--model", str(model), *WORDS, "--vad"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    silent = [line[3] == "no_speech" for line in lines]
    assert silent[0] and silent[-1] and not all(silent)
    assert all((len(line) == 4) == told for line, told in zip(lines, silent, strict=True))


def test_windows_come_while_the_pipe_is_open(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    content = wav(SOUND)
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb", buffering=0) as end:
        piped(monkeypatch, pipe)
        end.write(content[: 44 + 2 * 16100])
        lines = listen.run(listen.get_parser().parse_args(["-", "--model", str(model), *WORDS]))
        assert next(lines).split()[:3] == ["0:00:00", "–", "0:00:01"]
        end.write(content[44 + 2 * 16100 : 44 + 2 * 24100])
        assert next(lines).split()[:3] == ["0:00:00.5", "–", "0:00:01.5"]
        lines.close()


class FakeMicrophone:
    """What sounddevice is asked for; its stream has heard some sound as soon as it is open."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self, heard: float = 3.0, at_the_end: Callable[[], None] = lambda: None) -> None:
        self.heard, self.at_the_end = heard, at_the_end

    def query_devices(self, device: Any, kind: str) -> dict[str, Any]:
        if device is not None:
            raise ValueError(f"No input device matching {device!r}")
        return {"name": "a microphone", "default_samplerate": 44100.0}

    def InputStream(self, callback: Callable[..., None], blocksize: int, **options: Any) -> Self:
        assert options == {"samplerate": 44100, "device": None, "channels": 1, "dtype": "float32"}
        self.give = lambda: callback(
            babble(0.05, 44100)[:blocksize, None], blocksize, None, SimpleNamespace(input_overflow=False)
        )
        return self

    def __enter__(self) -> None:
        for _ in range(round(self.heard / live_sound.BLOCK)):
            self.give()

    def __exit__(self, *error: object) -> None:
        self.at_the_end()


def test_a_microphone_until_it_is_enough(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = []
    monkeypatch.setitem(sys.modules, "sounddevice", FakeMicrophone(at_the_end=lambda: closed.append(True)))
    assert ser(["listen", "--model", str(model), *WORDS, "--seconds", "2"]) == 0
    output = capsys.readouterr()
    assert "Listening to a microphone at 44100 Hz" in output.err and closed
    assert [line.split()[0] for line in output.out.splitlines()] == ["0:00:00", "0:00:00.5", "0:00:01"]


def test_ctrl_c_is_an_end_like_any_other(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(blocks: Any, most: float) -> Any:
        yield from (next(blocks) for _ in range(26))
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "sounddevice", FakeMicrophone())
    monkeypatch.setattr(listen, "limited", stopped)
    assert ser(["listen", "--model", str(model), *WORDS]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["0:00:01", "0:00:01.3"]


def test_sound_that_comes_too_fast_is_told(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeMicrophone(heard=live_sound.MOST_BEHIND + 1))
    assert ser(["listen", "--model", str(model), *WORDS]) == 1
    assert "faster than it can be scored: 30 s wait. Take a larger --hop" in capsys.readouterr().err
    monkeypatch.setattr(listen, "seconds_of_a_window", lambda *args: 0.7)
    assert ser(["listen", "--model", str(model), *WORDS]) == 1
    assert "--hop 0.5 is less than a window takes to compute here, 0.70 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "complaint"),
    [(None, "modeling-ser[listen]"), (FakeMicrophone(), "No input device matching 3. `python -m sounddevice` lists")],
)
def test_without_a_microphone(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: Any, complaint: str
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert ser(["listen", "--model", str(model), "--input", "3"]) == 1
    assert complaint in capsys.readouterr().err


def test_without_the_library_that_microphones_need(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert ser(["listen", "--model", str(model)]) == 1
    assert "apt install libportaudio2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "content", "complaint"),
    [
        (["-"], b"", "ended before the first sample"),
        (["-"], wav(SOUND)[:20], "ended before the first sample"),
        (["-"], wav(SOUND)[:44], "truncated: 0 of 96000 bytes came"),
        (["-"], wav(SOUND)[:5000], "truncated: 4956 of 96000 bytes came"),
        (["-"], wav(SOUND)[44:], "is no WAV file"),
        (["-"], wav(SOUND, kind="FLAC"), "is no WAV file"),
        (["-"], wav(SOUND, subtype="ULAW"), "samples of 8 bits of kind 7"),
        (["-"], wav(SOUND).replace(b"fmt \x10\0\0\0", b"fmt \x10\0\0\x10"), "a chunk b'fmt ' of 268435472 bytes"),
        (["-"], wav(SOUND)[:22] + b"\2" + wav(SOUND)[23:], "2 channels of 16 bits do not make 2 bytes"),
        (["-", "--channel", "1"], wav(SOUND), "there is no channel 1"),
        (["-", "--raw", "16000"], wav(SOUND), "leave --raw out"),
        (["-", "--raw", "10"], b"", "a rate of 10 Hz"),
        (["-", "--channels", "2"], b"", "Add --raw RATE"),
        (["-", "--input", "usb"], b"", "--input names a microphone"),
        (["-", "--hop", "9"], b"", "--hop 9 is more than --window 4"),
        (["--raw", "16000"], b"", "are of the standard input"),
        (["speech.wav"], b"", "ser predict --timeline"),
        (["--window", "0.01", "--hop", "0.01"], b"", "0.1 s at least"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_pipes_and_words_without_sense(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], content: bytes, complaint: str,
) -> None:  # fmt: skip
    piped(monkeypatch, content)
    assert ser(["listen", "--model", str(model), *words]) == 1
    assert complaint in capsys.readouterr().err


def test_a_model_of_values_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"problem_type": "regression"}))
    piped(monkeypatch, wav(SOUND))
    assert ser(["listen", "-", "--model", str(tmp_path / "model")]) == 1
    assert "ser listen tells emotions, and this model gives values: " in capsys.readouterr().err


def test_a_terminal_is_no_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    piped(monkeypatch, b"", terminal=True)
    assert ser(["listen", "-", "--model", "nobody/model"]) == 1
    assert "nothing is piped in" in capsys.readouterr().err
