"""Audio over http, from a server on this machine."""

import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from feature_extraction import audio_download
from feature_extraction.audio_decoding import describe_source, load_audio
from tests.synthetic import tone

TONE = tone()
BUFFER = io.BytesIO()
soundfile.write(BUFFER, TONE, 16000, format="WAV")
WAV = BUFFER.getvalue()
PAGES = {  # status, content, stated length, place of a redirect
    "/tone.wav": (200, WAV, len(WAV), None),
    "/text.wav": (200, b"<html>not a sound</html>", 24, None),
    "/cut.wav": (200, WAV[:5000], 5000, None),
    "/states-too-much.wav": (200, WAV, 10**9, None),
    "/private.wav": (403, b"", 0, None),
    "/none.wav": (404, b"", 0, None),
    "/moved.wav": (302, b"", 0, "/tone.wav"),
    "/loop.wav": (302, b"", 0, "/loop.wav"),
    "/moved-nowhere.wav": (302, b"", 0, None),
    "/to-localhost.wav": (302, b"", 0, "http://localhost:{port}/tone.wav"),
    "/to-metadata.wav": (307, b"", 0, "http://169.254.169.254/tone.wav"),
    "/to-router.wav": (301, b"", 0, "//192.168.0.1/tone.wav"),
    "/to-number.wav": (302, b"", 0, "http://2130706434/tone.wav"),
    "/to-mapped.wav": (302, b"", 0, "http://[::ffff:10.0.0.1]/tone.wav"),
    "/to-disk.wav": (302, b"", 0, "file:///etc/hostname"),
    "/to-ftp.wav": (302, b"", 0, "ftp://127.0.0.1/tone.wav"),
}
STREAMS = {"/too-much.wav": (b"x" * 100_000, 1000, 0.0), "/slow.wav": (b"x", 1000, 0.02), "/stuck.wav": (b"x", 2, 2.0)}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path == "/slow-headers.wav":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Wait: ")
            self._drip(b"x", 100, 0.05)
            return
        status, content, length, location = PAGES.get(path, (200, b"", None, None))
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if location:
            self.send_header("Location", location.format(port=self.server.server_port))
        self.end_headers()
        self.wfile.write(content)
        self._drip(*STREAMS.get(path, (b"", 0, 0.0)))

    def _drip(self, piece: bytes, times: int, pause: float) -> None:
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


def test_urls(host: str) -> None:
    for page in ("tone.wav", "moved.wav", "tone.wav?token=secret"):
        np.testing.assert_allclose(load_audio(f"{host}/{page}"), TONE, atol=1e-4)
    np.testing.assert_allclose(load_audio({"path": f"{host}/tone.wav", "bytes": None}), TONE, atol=1e-4)


@pytest.mark.parametrize(
    ("page", "error", "complaint"),
    [
        ("none.wav", FileNotFoundError, "HTTP 404"),
        ("private.wav", ConnectionError, "HTTP 403"),
        ("loop.wav", ConnectionError, "redirects"),
        ("moved-nowhere.wav", ConnectionError, "does not say where to"),
        ("to-localhost.wav", ConnectionError, "redirects to localhost, an address of this machine"),
        ("to-metadata.wav", ConnectionError, r"redirects to 169\.254\.169\.254"),
        ("to-router.wav", ConnectionError, r"redirects to 192\.168\.0\.1"),
        ("to-number.wav", ConnectionError, r"redirects to 2130706434"),
        ("to-mapped.wav", ConnectionError, r"redirects to ::ffff:10\.0\.0\.1"),
        ("to-disk.wav", ValueError, "http and https only"),
        ("to-ftp.wav", ValueError, "http and https only"),
        ("text.wav", ValueError, "no audio file"),
        ("cut.wav", ValueError, "truncated"),
        ("states-too-much.wav", ValueError, "50 MB"),
        ("too-much.wav", ValueError, "50 MB"),
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


@pytest.mark.parametrize(
    ("page", "seconds", "wait", "complaint"),
    [
        ("slow.wav", 5.3, 5.0, r"longer than 5\.3 s"),  # after 0.3 s
        ("stuck.wav", 30.0, 0.3, r"no answer for 0\.3 s"),
        ("slow-headers.wav", 0.5, 0.3, r"longer than 0\.5 s"),
    ],
)
def test_slow_downloads_end(
    page: str, seconds: float, wait: float, complaint: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_download, "DOWNLOAD_SECONDS", seconds)
    monkeypatch.setattr(audio_download, "DOWNLOAD_WAIT_SECONDS", wait)
    with pytest.raises(TimeoutError, match=complaint):
        load_audio(f"{host}/{page}")


def test_without_a_server_or_offline(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9/tone\.wav"):
        load_audio("http://127.0.0.1:9/tone.wav")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"tone\.wav.*offline mode"):
        load_audio(f"{host}/tone.wav")


@pytest.mark.parametrize("scheme", ["file", "ftp", "s3", "hf", "data"])
def test_other_schemes_are_refused_and_passwords_told_to_nobody(scheme: str) -> None:
    with pytest.raises(ValueError, match=rf"http and https only, not from {scheme}://host/a\.wav"):
        load_audio(f"{scheme}://me:secret@host/a.wav")
    assert describe_source("http://me:se@cret@host/a.wav?key=1") == "http://host/a.wav"
    assert describe_source("http://host/a@b.wav") == "http://host/a@b.wav"
