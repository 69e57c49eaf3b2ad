"""The web service in this process: the pipeline's own scores, refusals with a reason, one model for all at once."""

import base64
import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from modeling_ser import SERPipeline
from speech_emotion.inference import service, shared_model, timeline_of
from speech_emotion.inference.service import Limits, make_app
from speech_emotion.inference.shared_model import SharedModel
from tests.modeling_ser.small_pipeline import CLIPS, LABELS, by_label, small_classifier
from tests.modeling_ser.test_windows import LONG

TOKEN = {"Authorization": "Bearer secret"}
pytestmark = pytest.mark.filterwarnings("ignore:the sound")
STREAM = "/stream?window_s=1&hop_s=0.5"


def wav(samples: np.ndarray, rate: int = 16000, kind: str = "WAV", subtype: str = "FLOAT") -> bytes:
    soundfile.write(file := io.BytesIO(), samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def as_json(content: bytes, **parameters: Any) -> dict[str, Any]:
    return {"inputs": base64.b64encode(content).decode(), "parameters": parameters}


@pytest.fixture(scope="module")
def classifier() -> SERPipeline:
    model, extractor = small_classifier()
    model.config.temperature = 0.7
    return model.as_pipeline(extractor, device="cpu")


@pytest.fixture(scope="module")
def client(classifier: SERPipeline) -> Iterator[TestClient]:
    limits = Limits(bytes=1_000_000, seconds=10, recording=20, streams=2)
    with TestClient(make_app(classifier, limits, "secret"), headers=TOKEN, raise_server_exceptions=False) as client:
        yield client


def test_a_clip_is_scored_as_by_the_pipeline(client: TestClient, classifier: SERPipeline) -> None:
    content = wav(CLIPS["angry"])
    expected = classifier(content)
    for answer in (
        client.post("/", content=content),
        client.post("/", content=content, headers={"Content-Type": "application/x-www-form-urlencoded"}),
        client.post("/", json=as_json(content)),
        client.post("/", json=as_json(content, top_k=None, function_to_apply=None)),
    ):
        assert answer.status_code == 200, answer.text
        assert by_label(answer.json()) == pytest.approx(by_label(expected), abs=1e-5)
    for answer in (
        client.post("/?top_k=1&function_to_apply=none", content=content),
        client.post("/?top_k=3", json=as_json(content, top_k=1, function_to_apply="none")),
    ):
        (best,) = answer.json()
        (other,) = classifier(content, top_k=1, function_to_apply="none")
        assert best == {"label": other["label"], "score": pytest.approx(other["score"], abs=1e-5)}


def test_a_timeline_is_that_of_the_library(client: TestClient, classifier: SERPipeline) -> None:
    content = wav(LONG, kind="FLAC", subtype="PCM_16")
    expected = timeline_of(classifier, content, 1, 0.5, 1.0)
    for answer in (
        client.post("/timeline?window_s=1&hop_s=0.5&smooth_s=1", content=content),
        client.post("/timeline", json=as_json(content, window_s=1, hop_s=0.5, smooth_s=1)),
    ):
        found = answer.json()
        assert found["seconds"] == expected.seconds
        assert by_label(found["scores"]) == pytest.approx(dict(zip(LABELS, expected.summary, strict=True)), abs=1e-5)
        assert [chunk["timestamp"] for chunk in found["chunks"]] == expected.windows.tolist()
        for chunk, scores in zip(found["chunks"], expected.scores, strict=True):
            assert by_label(chunk["scores"]) == pytest.approx(dict(zip(LABELS, scores, strict=True)), abs=1e-5)
        assert [(*run["timestamp"], run["label"]) for run in found["runs"]] == [run[:3] for run in expected.runs()]


def test_where_nobody_speaks_a_timeline_has_no_scores(client: TestClient) -> None:
    pytest.importorskip("silero_vad")
    found = client.post("/timeline?vad=true", content=wav(np.zeros(32000, np.float32))).json()
    assert found["scores"] == [] and {run["label"] for run in found["runs"]} == {"no_speech"}
    assert [run["score"] for run in found["runs"]] == [None]


@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
def test_a_stream_is_the_timeline(client: TestClient, classifier: SERPipeline, encoding: str) -> None:
    samples = (LONG * 32767).astype("<i2")
    expected = timeline_of(classifier, (16000, samples), 1, 0.5)
    content = samples.tobytes() if encoding == "s16le" else (samples / np.float32(32768)).astype("<f4").tobytes()
    with client.websocket_connect(f"{STREAM}&encoding={encoding}") as socket:
        for start in range(0, len(content), 3001):  # no whole samples
            socket.send_bytes(content[start : start + 3001])
        socket.send_text("end")
        windows = [socket.receive_json() for _ in expected.windows]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1000
    assert [window["timestamp"] for window in windows] == expected.windows.tolist()
    for window, scores in zip(windows, expected.scores, strict=True):
        assert by_label(window["scores"]) == pytest.approx(dict(zip(LABELS, scores, strict=True)), abs=1e-5)


NOISE = np.random.default_rng(0).bytes(5000)
SOUND = wav(CLIPS["short"])
JSON = {"Content-Type": "application/json"}
REFUSED = {
    "nothing": ("/", {"content": b""}, 400, "empty"),
    "noise": ("/", {"content": NOISE}, 400, "no audio file"),
    "text": ("/", {"content": b"hello"}, 400, "no audio file"),
    "cut": ("/", {"content": wav(LONG)[:9000]}, 400, "truncated"),
    "a form": ("/", {"files": {"file": SOUND}}, 415, "not a form"),
    "too long": ("/", {"content": wav(np.zeros(8000 * 11), 8000, "FLAC", "PCM_16")}, 400, "more than 10 s"),
    "too large": ("/", {"content": bytes(1_000_001)}, 413, "larger than 1000000 bytes"),
    "too large in pieces": ("/", {"content": iter([bytes(600_000)] * 2)}, 413, "larger than 1000000 bytes"),
    "no JSON": ("/", {"content": b"{", "headers": JSON}, 400, "is none"),
    "deep JSON": ("/", {"content": b"[" * 90_000, "headers": JSON}, 400, "is none"),
    "JSON without a sound": ("/", {"json": [1]}, 400, '"inputs"'),
    "no base64": ("/", {"json": {"inputs": "!"}}, 400, "no base64"),
    "no base64 of ours": ("/", {"json": {"inputs": "ä"}}, 400, "no base64"),
    "an address": ("/", {"json": {"inputs": "http://localhost/a.wav"}}, 400, "fetches nothing"),
    "a path": ("/", {"json": {"inputs": "/etc/passwd"}}, 400, "no base64|no audio file"),
    "no parameters": ("/", {"json": {**as_json(SOUND), "parameters": "x"}}, 400, "names and their values"),
    "no top_k": ("/?top_k=0", {"content": SOUND}, 400, "top_k: .* greater than or equal to 1"),
    "no function": ("/", {"json": as_json(SOUND, function_to_apply="x")}, 400, "function_to_apply: "),
    "unheard of": ("/", {"json": as_json(SOUND, speed=2)}, 400, "speed: "),
    "unheard of, in the address": ("/?speed=2", {"content": SOUND}, 400, "speed: "),
    "a hop too long": ("/timeline?hop_s=5", {"content": SOUND}, 400, "hop_s=5"),
    "no hop": ("/timeline?hop_s=nan", {"content": SOUND}, 400, "hop_s: "),
    "a recording too long": ("/timeline", {"content": wav(np.zeros(21 * 8000), 8000, "FLAC", "PCM_16")}, 400, "20 s"),
    "no recording": ("/timeline", {"content": NOISE}, 400, "no audio file"),
    "no route": ("/models/a", {"content": SOUND}, 404, "Not Found"),
}  # fmt: skip


@pytest.mark.parametrize(("route", "words", "status", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_with_a_reason(client: TestClient, route: str, words: dict, status: int, reason: str) -> None:
    answer = client.post(route, **words)
    assert answer.status_code == status and list(answer.json()) == ["error"]
    assert re.search(reason, answer.json()["error"]), answer.text


def test_damaged_sounds_are_scored_or_refused_with_a_reason(client: TestClient) -> None:
    random, whole = np.random.default_rng(1), [wav(CLIPS["short"]), wav(CLIPS["short"], 8000, "OGG", "VORBIS")]
    for number in range(60):
        content = bytearray(whole[number % 2])
        for place in random.integers(len(content) if number % 3 else 60, size=4):
            content[place] = random.integers(256)
        answer = client.post(("/", "/timeline")[number // 2 % 2], content=bytes(content[: random.integers(1, 9000)]))
        assert answer.status_code == 200 or (answer.status_code == 400 and answer.json()["error"]), answer.text


@pytest.mark.parametrize(
    ("query", "messages", "code", "reason"),
    [
        ("?window_s=0", [], 1008, "window_s: "),
        ("?sampling_rate=1", [], 1008, "sampling_rate: "),
        ("?hop_s=5", [], 1008, "hop_s=5"),
        ("", ["hello"], 1008, "binary messages"),
        ("?encoding=f32le", [np.full(9, np.nan, "<f4").tobytes()], 1008, "finite"),
        ("", [bytes(640_002)], 1008, "ends after 20 s"),
    ],
)
def test_streams_are_refused_with_a_reason(
    client: TestClient, query: str, messages: list[Any], code: int, reason: str
) -> None:
    with client.websocket_connect(f"/stream{query}") as socket:
        for message in messages:
            socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message)
        assert re.search(reason, socket.receive_json()["error"])
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == code


def test_no_more_streams_than_there_is_room_for(client: TestClient) -> None:
    for _ in range(2):  # places are given back
        connect = client.websocket_connect
        with connect("/stream"), connect("/stream"), connect("/stream") as third:
            assert "busy" in third.receive_json()["error"]


def test_only_who_has_the_token_is_let_in(client: TestClient) -> None:
    for given in ("", "Bearer", "Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer \xe9"):
        headers = {"Authorization": given.encode("latin-1")}
        answer = client.post("/", content=SOUND, headers=headers)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        assert client.get("/metrics", headers=headers).status_code == 401
        assert client.get("/health", headers=headers).json()["labels"] == list(LABELS)
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/stream", headers=headers):
            pass
        assert denied.value.status_code == 401
    assert client.post("/", content=SOUND, headers={"Authorization": "bearer secret"}).status_code == 200


def test_logs_and_metrics_tell_no_content(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client.post("/?top_k=1", content=SOUND)
        client.post("/private/path", content=SOUND)
        client.post("/?name=private", json=as_json(b"private"))
        with client.websocket_connect(STREAM):
            pass
    ours = [record.getMessage() for record in caplog.records if record.name == service.__name__]
    assert [re.sub(r"\d\.\d+ s", "… s", line) for line in ours] == [
        "POST / 200 … s", "POST other 404 … s", "POST / 400 … s", "WebSocket /stream 101 … s",
    ]  # fmt: skip
    told = client.get("/metrics").text
    assert 'ser_request_seconds_count{route="/",status="200"}' in told and 'ser_waiting{route="/"} 0.0' in told
    assert "ser_batch_clips_count" in told and "private" not in told


def test_values_in_place_of_emotions() -> None:
    model, extractor = small_classifier()
    model.config.problem_type = "regression"
    with TestClient(make_app(model.as_pipeline(extractor, device="cpu"))) as client:
        assert [one["label"] for one in client.post("/", content=SOUND).json()] == list(LABELS)
        for answer in (client.post("/?top_k=1", content=SOUND), client.post("/timeline", content=SOUND)):
            assert answer.status_code == 400 and "gives values" in answer.json()["error"]


def test_a_mistake_of_ours_is_no_trace_for_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise KeyError("a secret of ours")

    model, extractor = small_classifier()
    with TestClient(make_app(model.as_pipeline(extractor)), raise_server_exceptions=False) as client:
        monkeypatch.setattr(shared_model, "logits_of", fail)
        answer = client.post("/", content=SOUND)
        assert answer.status_code == 500 and answer.json() == {"error": "The service failed; its log says why."}
        with client.websocket_connect(STREAM) as socket:
            socket.send_bytes(bytes(32000))
            assert socket.receive_json() == answer.json()
        monkeypatch.undo()
        assert client.post("/", content=SOUND).status_code == 200


class Slow:
    """Computes nothing before it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may, self.computing, self.compute = threading.Event(), threading.Event(), shared_model.logits_of
        monkeypatch.setattr(shared_model, "logits_of", self.wait)

    def wait(self, *args: Any) -> torch.Tensor:
        self.computing.set()
        assert self.may.wait(30)
        return self.compute(*args)


def test_who_comes_meanwhile_is_computed_together(classifier: SERPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, sizes = Slow(monkeypatch), []
    shared = SharedModel(classifier, 4, sizes.append)
    first = shared.submit([CLIPS["angry"]])
    assert slow.computing.wait(30)
    others = [shared.submit([clip]) for clip in CLIPS.values()] + [shared.submit([LONG[:16000], LONG[16000:32000]])]
    assert others[0].cancel()
    slow.may.set()
    shared.close()
    assert sizes == [1, 3, 3]  # of the next four one was cancelled
    for clip, future in zip([*CLIPS.values()][1:], others[1:], strict=False):
        expected = slow.compute(classifier, [clip])
        torch.testing.assert_close(future.result(0), expected, atol=1e-5, rtol=0)
    assert others[-1].result(0).shape == (2, len(LABELS)) and first.result(0).shape == (1, len(LABELS))
    with pytest.raises(RuntimeError, match="closed"):
        shared.submit([])


def test_one_who_cannot_be_computed_harms_nobody(classifier: SERPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    shared = SharedModel(classifier, 8)
    futures = [shared.submit([clip]) for clip in (CLIPS["angry"], np.zeros((2, 2)), CLIPS["fearful"])]
    slow.may.set()
    shared.close()
    assert [future.exception(0) is None for future in futures] == [True, False, True]


def test_a_full_service_and_one_too_slow_say_so(classifier: SERPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, limits = Slow(monkeypatch), Limits(waiting=1, timeout=2, recording_timeout=0.5)
    with ThreadPoolExecutor(1) as pool, TestClient(make_app(classifier, limits)) as client:
        first = pool.submit(client.post, "/", content=SOUND)
        assert slow.computing.wait(30)
        busy = client.post("/", content=SOUND)
        assert busy.status_code == 503 and busy.headers["Retry-After"] == "1" and "busy" in busy.json()["error"]
        late = first.result()
        assert late.status_code == 503 and "within 2 s" in late.json()["error"]
        late = client.post("/timeline", content=SOUND)
        assert late.status_code == 503 and "within 0.5 s" in late.json()["error"]
        slow.may.set()
        assert client.post("/", content=SOUND).status_code == 200


def test_limits_without_sense() -> None:
    for value in (0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"seconds=.* must be a positive number"):
            Limits(seconds=value)


def test_the_description_of_the_service_is_whole(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/", "/timeline", "/health", "/metrics"} == set(paths)
    names = {one["name"] for one in paths["/timeline"]["post"]["parameters"]}
    assert names == {"window_s", "hop_s", "smooth_s", "vad"} and json.dumps(paths)
