"""`ser serve` on this machine: the Hub's own client, slow and broken clients, the end in order."""

import contextlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import soundfile
from huggingface_hub.utils import HfHubHTTPError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from modeling_ser import SERPipeline
from speech_emotion.cli import serve
from speech_emotion.cli.main import main as ser
from speech_emotion.inference import timeline_of
from tests.modeling_ser.small_pipeline import LABELS, by_label, write_clips
from tests.modeling_ser.test_windows import LONG
from tests.subprocess_tools import PROJECT_ROOT, offline_environment

TOKEN = "let-me-in"
Server = tuple[subprocess.Popen, int]


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, classifier: SERPipeline
) -> Iterator[tuple[subprocess.Popen, int]]:
    """A service in a process of its own, and its port."""
    folder = tmp_path_factory.mktemp("serve")
    classifier.save_pretrained(folder / "model")
    (folder / "token").write_text(f"{TOKEN}\n")
    words = ["--model", str(folder / "model"), "--port", "0", "--token-file", str(folder / "token"), "--timeout", "8"]
    command = [sys.executable, "-m", "speech_emotion.cli", "serve", *words, "--max-bytes", "3000000"]
    environment = offline_environment(folder) | {"PYTHONPATH": str(PROJECT_ROOT)}
    with subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            found = re.search(r"Serving at http://127.0.0.1:(\d+) until", line)
            assert found, line + process.stdout.read()
            yield process, int(found[1])
        finally:
            process.kill()


def asked(port: int, route: str, content: bytes | None = None) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{route}", content, {"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def client_of(port: int, monkeypatch: pytest.MonkeyPatch, token: str = TOKEN) -> huggingface_hub.InferenceClient:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return huggingface_hub.InferenceClient(base_url=f"http://127.0.0.1:{port}", token=token, timeout=60)


def test_the_hubs_client_classifies(
    server: Server, classifier: SERPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, paths = client_of(server[1], monkeypatch), write_clips(tmp_path)
    for path in paths:
        found = client.audio_classification(path)
        assert by_label([dict(one) for one in found]) == pytest.approx(by_label(classifier(path)), abs=1e-5)
    (best,) = client.audio_classification(str(paths[0]), top_k=1, function_to_apply="none")
    (expected,) = classifier(paths[0], top_k=1, function_to_apply="none")
    assert (best.label, best.score) == (expected["label"], pytest.approx(expected["score"], abs=1e-5))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.audio_classification, paths * 8))
    assert [by_label([dict(one) for one in answer]) for answer in answers[:5]] == [
        pytest.approx(by_label(classifier(path)), abs=1e-5) for path in paths
    ]


@pytest.mark.parametrize(
    ("content", "token", "reason"),
    [
        (b"no sound", TOKEN, "no audio file"),
        (bytes(3_000_001), TOKEN, "larger than 3000000 bytes"),
        (bytes(30_000_000), TOKEN, "larger than 3000000 bytes"),
        (bytes(3_000_000), "another", "Authorization"),
    ],
    ids=["no sound", "large", "far too large", "token"],
)
def test_the_hubs_client_tells_why_it_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, content: bytes, token: str, reason: str
) -> None:
    with pytest.raises(HfHubHTTPError, match=reason):
        client_of(server[1], monkeypatch, token).audio_classification(content)


def test_slow_clients_hold_nobody_up_and_are_told(server: Server, tmp_path: Path) -> None:
    content = write_clips(tmp_path)[0].read_bytes()
    head = f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\nRI".encode()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", server[1]), 60)) for _ in range(40)]
        for one in slow:
            one.sendall(head)
        assert set(by_label(json.loads(asked(server[1], "/", content)))) == set(LABELS)
        answers = [one.recv(1 << 16) for one in slow]
        assert all(b" 408 " in answer for answer in answers)
        assert b"After 8 s the body was not whole." in slow[0].recv(1 << 16) + answers[0]


def test_live_sound(server: Server, classifier: SERPipeline) -> None:
    address, samples = f"ws://127.0.0.1:{server[1]}/stream", (LONG * 32767).astype("<i2")
    words = {"additional_headers": {"Authorization": f"Bearer {TOKEN}"}, "open_timeout": 60}
    expected = timeline_of(classifier, (16000, samples), 1, 0.5)
    with connect(f"{address}?window_s=1&hop_s=0.5", **words) as one, connect(address, **words) as other:
        other.send(bytes(2 << 20))
        with pytest.raises(ConnectionClosed) as closed:
            other.recv(60)
        assert closed.value.rcvd.code == 1009
        for part in np.array_split(samples, 20):
            one.send(part.tobytes())
        one.send("end")
        found = [json.loads(message) for message in one]
    assert [window["timestamp"] for window in found] == expected.windows.tolist()
    for window, scores in zip(found, expected.scores, strict=True):
        assert by_label(window["scores"]) == pytest.approx(dict(zip(LABELS, scores, strict=True)), abs=1e-5)
    with pytest.raises(InvalidStatus, match="401"), connect(address, open_timeout=60):
        pass


def test_clients_that_leave_are_no_failure(server: Server) -> None:
    half_an_hour = np.zeros(1800 * 16000, np.float32)
    soundfile.write(file := io.BytesIO(), half_an_hour, 16000, format="FLAC", subtype="PCM_16")
    body = file.getvalue()
    head = f"POST /timeline?hop_s=0.1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
    head = f"{head}Content-Length: {len(body)}\r\n\r\n".encode()
    for sent in (b"POST /", head, head + body[:10_000], head + body):
        with socket.create_connection(("127.0.0.1", server[1]), 60) as one:
            one.sendall(sent)
    for junk in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server[1]), 60) as one:
            one.sendall(junk)
            assert b" 400 " in one.recv(1 << 16)
    end = time.monotonic() + 60
    while b'ser_request_seconds_count{route="/timeline",status="499"} 1.0' not in asked(server[1], "/metrics"):
        assert time.monotonic() < end, "what nobody waits for goes on"
    assert json.loads(asked(server[1], "/health"))["status"] == "ok"


def test_what_was_asked_is_answered_before_the_end(server: Server, tmp_path: Path) -> None:
    process, port = server
    content = write_clips(tmp_path)[0].read_bytes()
    head = f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 60) as late:
        late.sendall(head.encode() + content[:100])
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(OSError, match=r"."):  # nobody else is let in
            for _ in range(300):
                socket.create_connection(("127.0.0.1", port), 60).close()
                time.sleep(0.1)
        late.sendall(content[100:])
        answer = b""
        while piece := late.recv(1 << 16):
            answer += piece
    assert b" 200 OK" in answer and json.loads(answer.partition(b"\r\n\r\n")[2])[0]["label"] in LABELS
    told = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and told.endswith("Ended; what was asked is answered.\n"), told
    assert "Traceback" not in told and TOKEN not in told


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--token-file", "gone"], "gone: No such file"),
        (["--token-file", "empty"], "a token is a line"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid --port 8000"),
        (["--port", "70000"], "--port 70000"),
        (["--model", "./gone", "--port", "0"], "no folder ./gone"),
    ],
)
def test_what_cannot_be_served_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    assert ser(["serve", *words]) == 1
    assert reason in capsys.readouterr().err


def test_a_port_that_is_taken_and_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve.listening("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert ser(["serve", "--port", port]) == 1
        assert f"--port {port}: Address already in use" in capsys.readouterr().err
    monkeypatch.setattr(serve, "NEEDED", ("no_such_package",))
    assert ser(["serve"]) == 1
    assert "Serving needs no_such_package, not installed here" in capsys.readouterr().err
