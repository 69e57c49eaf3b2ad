"""Audio over http, from a server on this machine."""

import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from feature_extraction import audio_download
from feature_extraction.audio_decoding import describe_source, load_audio

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)).astype(np.float32)
BUFFER = io.BytesIO()
soundfile.write(BUFFER, TONE, 16000, format="WAV")
WAV = BUFFER.getvalue()


class Handler(BaseHTTPRequestHandler):
    REDIRECTS = {  # noqa: RUF012
        "/moved.wav": "/tone.wav",
        "/loop.wav": "/loop.wav",
        "/to-disk.wav": "file:///etc/hostname",
        "/to-ftp.wav": "ftp://127.0.0.1/tone.wav",
    }

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path in self.REDIRECTS:
            self.answer(302, location=self.REDIRECTS[path])
        elif path == "/tone.wav":
            self.answer(200, WAV)
        elif path == "/text.wav":
            self.answer(200, b"<html>not a sound</html>")
        elif path == "/cut.wav":
            self.answer(200, WAV[:5000])
        elif path == "/private.wav":
            self.answer(403)
        elif path == "/states-too-much.wav":
            self.answer(200, WAV, length=10**9)
        elif path == "/too-much.wav":
            self.stream(b"x" * 100_000, times=1000, pause=0.0)
        elif path == "/slow.wav":
            self.stream(b"x", times=1000, pause=0.02)
        elif path == "/stuck.wav":
            self.stream(b"x", times=2, pause=2.0)
        else:
            self.answer(404)

    def answer(
        self, status: int, content: bytes = b"", length: int | None = None, location: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(content)

    def stream(self, piece: bytes, times: int, pause: float) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(times):
                self.wfile.write(piece)
                self.server.bytes_sent += len(piece)
                time.sleep(pause)
        except OSError:
            pass  # the client hung up, as it should

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.bytes_sent = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def host(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("page", ["tone.wav", "moved.wav", "tone.wav?token=secret"])
def test_urls(page: str, host: str) -> None:
    np.testing.assert_allclose(load_audio(f"{host}/{page}"), TONE, atol=1e-4)


def test_url_of_a_row(host: str) -> None:
    np.testing.assert_allclose(load_audio({"path": f"{host}/tone.wav", "bytes": None}), TONE, atol=1e-4)


@pytest.mark.parametrize(
    ("page", "error", "complaint"),
    [
        ("none.wav", FileNotFoundError, "HTTP 404"),
        ("private.wav", ConnectionError, "HTTP 403"),
        ("loop.wav", ConnectionError, "more than 5 redirects"),
        ("to-disk.wav", ValueError, "http and https only"),
        ("to-ftp.wav", ValueError, "http and https only"),
        ("text.wav", ValueError, "no audio file"),
        ("cut.wav", ValueError, "truncated"),
        ("states-too-much.wav", ValueError, "larger than 50 MB"),
        ("too-much.wav", ValueError, "larger than 50 MB"),
    ],
)
def test_bad_urls_are_named(page: str, error: type[Exception], complaint: str, host: str) -> None:
    with pytest.raises(error, match=complaint) as raised:
        load_audio(f"{host}/{page}?token=secret")
    assert f"{host}/{page}" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_size_is_checked_while_reading(
    server: ThreadingHTTPServer, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_download, "DOWNLOAD_BYTES", 200_000)
    server.bytes_sent = 0
    with pytest.raises(ValueError, match="the limit of a download"):
        load_audio(f"{host}/too-much.wav")
    assert server.bytes_sent < 50_000_000


def test_slow_downloads_end(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_download, "DOWNLOAD_SECONDS", 5.3)
    monkeypatch.setattr(audio_download, "DOWNLOAD_WAIT_SECONDS", 5.0)  # trips after the difference
    with pytest.raises(TimeoutError, match=r"longer than 5\.3 s"):
        load_audio(f"{host}/slow.wav")


def test_stuck_downloads_end(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_download, "DOWNLOAD_WAIT_SECONDS", 0.3)
    with pytest.raises(TimeoutError, match=r"no answer for 0\.3 s"):
        load_audio(f"{host}/stuck.wav")


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9/tone\.wav: the download failed"):
        load_audio("http://127.0.0.1:9/tone.wav")


def test_offline_mode_is_kept(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"tone\.wav: the download failed .*offline mode"):
        load_audio(f"{host}/tone.wav")


@pytest.mark.parametrize("scheme", ["file", "ftp", "s3", "hf", "data"])
def test_other_schemes_are_refused(scheme: str, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(WAV)
    with pytest.raises(ValueError, match="http and https only"):
        load_audio(f"{scheme}://{path}")


def test_passwords_in_urls_are_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_source("http://me:se@cret@host/a.wav?key=1") == "http://host/a.wav"
    assert describe_source("http://host/a@b.wav") == "http://host/a@b.wav"
    with pytest.raises(ValueError, match=r"not from ftp://host/a\.wav"):
        load_audio("ftp://me:secret@host/a.wav", 16000)
