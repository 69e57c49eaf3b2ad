"""The web service: sounds in over HTTP or a WebSocket, emotions out, for many clients by one model."""

import asyncio
import base64
import copy
import hashlib
import hmac
import json
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
import prometheus_client as prometheus
import torch
from fastapi import FastAPI, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feature_extraction.audio_decoding import HIGHEST_RATE, LOWEST_RATE
from feature_extraction.audio_download import is_url

from .emotion_stream import Compute, EmotionStream
from .saved_model import check_emotions
from .shared_model import SharedModel
from .timeline import Timeline, timeline_of

if TYPE_CHECKING:
    from modeling_ser import SERPipeline

A = TypeVar("A")
T = TypeVar("T", bound=BaseModel)
logger = logging.getLogger(__name__)
DECODERS, LONG_ONES = 2, 2  # threads that decode clips, and recordings that are worked on at a time
FAREWELL = 5.0  # s that a client has for the last message of a stream
MOST_HELD = 8  # times `Limits.bytes`: what all requests of a kind together may hold
BUSY = 503, "The service is busy; try again in a moment.", {"Retry-After": "1"}
ENDED = 503, "The service is about to end."
SOUND_BODY = {
    "requestBody": {
        "required": True,
        "description": "The bytes of an audio file; or JSON with them, in base64, as `inputs`, and `parameters`.",
        "content": {
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {"inputs": {"type": "string"}, "parameters": {"type": "object"}},
                }
            },
        },
    }
}


@dataclass(frozen=True)
class Limits:
    """What a service takes: the size of a body in bytes, seconds, and how many at once; beyond that it refuses.

    Clips and recordings wait apart. `seconds` is of a clip's sound and `recording` of a recording's or a stream's;
    `timeout` is for a body to come, for a clip to be answered, and between the messages of a stream;
    `recording_timeout` for a recording to be answered.
    """

    bytes: int = 50_000_000
    seconds: float = 60.0
    recording: float = 3600.0
    waiting: int = 64
    streams: int = 16
    timeout: float = 60.0
    recording_timeout: float = 600.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < math.inf:
                raise ValueError(f"Limits: {name}={value!r} must be a positive number.")


class Refused(Exception):
    """A request is not done: the status of HTTP, why, in a sentence, and headers."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.headers = status, headers


class ClipParameters(BaseModel):
    """Parameters of a clip, as the Hub's inference names them."""

    model_config = ConfigDict(extra="forbid")
    top_k: int | None = Field(None, ge=1, le=1000)
    function_to_apply: Literal["softmax", "sigmoid", "none"] | None = None


class WindowParameters(BaseModel):
    """Windows, as of `EmotionStream`."""

    model_config = ConfigDict(extra="forbid")
    window_s: float = Field(4.0, ge=0.1, le=30)
    hop_s: float = Field(2.0, ge=0.1, le=30)
    vad: bool = False


class TimelineParameters(WindowParameters):
    """Parameters of a recording."""

    smooth_s: float = Field(0.0, ge=0, le=600)


class StreamParameters(WindowParameters):
    """Parameters of a stream, and what its samples are."""

    hop_s: float = Field(1.0, ge=0.1, le=30)
    sampling_rate: int = Field(16_000, ge=LOWEST_RATE, le=HIGHEST_RATE)
    encoding: Literal["s16le", "f32le"] = "s16le"


def make_app(
    classifier: "SERPipeline", limits: Limits | None = None, token: str | None = None, batch_size: int = 8
) -> FastAPI:
    """Make the application that `ser serve` serves, for any server of ASGI.

    | route | takes | gives |
    | --- | --- | --- |
    | `POST /` | a clip | its scores, best first, as the Hub's inference does |
    | `POST /timeline` | a recording | "scores", "chunks" and "runs": of the whole, of windows, of stretches |
    | `WebSocket /stream` | samples | the scores of each window as soon as it is full |
    | `GET /health` | | labels and limits |
    | `GET /metrics` | | what Prometheus reads |

    A body is the bytes of a sound, or JSON with them in base64 as "inputs"; nothing is fetched from anywhere. What is
    refused gets a status of 4xx, or 503 where the service is busy, and `{"error": why}`. Logs and metrics tell the
    route, the status and the time, never what was sent or by whom.

    Args:
        classifier: The pipeline of a saved model.
        limits: What is taken; `Limits()` by default.
        token: What clients must send as `Authorization: Bearer …`, but to `/health`; None lets everybody in.
        batch_size: Clips and windows, of any clients, that are computed together.

    Returns:
        The application; one process holds it, since it holds the model.

    Example:
        >>> uvicorn.run(make_app(classifier), port=8000)  # doctest: +SKIP
    """
    return Service(classifier, limits or Limits(), token, batch_size).app


class Service:
    """The application's state and routes; see `make_app`."""

    def __init__(self, classifier: "SERPipeline", limits: Limits, token: str | None, batch_size: int) -> None:
        self.limits, self.batch_size = limits, batch_size
        self.classifier = copy.copy(classifier)
        reading = {name: value for name, value in classifier._preprocess_params.items() if "length_s" not in name}
        self.classifier._preprocess_params = {**reading, "max_seconds": limits.recording}
        self.of_clips, self.of_recordings, self.streams = _Room(), _Room(), 0
        self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        named = partial(prometheus.Histogram, registry=self.registry)
        self.times = named(
            "ser_request_seconds", "Until a request was answered, or a stream ended.", ["route", "status"]
        )
        self.batches = named("ser_batch_clips", "Clips computed together.", buckets=(1, 2, 4, 8, 16, 32, 64))
        waiting = prometheus.Gauge("ser_waiting", "Requests whose sound has come.", ["route"], registry=self.registry)
        for route, room in (("/", self.of_clips), ("/timeline", self.of_recordings)):
            waiting.labels(route).set_function(partial(getattr, room, "waiting"))
        streams = prometheus.Gauge("ser_streams", "Open streams.", registry=self.registry)
        streams.set_function(partial(getattr, self, "streams"))
        self.decoding = ThreadPoolExecutor(DECODERS, "decoding")
        self.recordings = ThreadPoolExecutor(LONG_ONES, "recordings")
        self.listening = ThreadPoolExecutor(limits.streams, "streams")
        self.shared = SharedModel(self.classifier, batch_size, self.batches.observe)
        self.app = app = FastAPI(
            title="Speech emotion recognition", docs_url=None, redoc_url=None, lifespan=self._life
        )
        app.post("/", openapi_extra=SOUND_BODY)(self.clip)
        app.post("/timeline", openapi_extra=SOUND_BODY)(self.timeline)
        app.websocket("/stream")(self.stream)
        app.get("/health")(self.health)
        app.get("/metrics")(self.metrics)
        app.exception_handler(Refused)(_answer_refusal)
        app.exception_handler(RequestValidationError)(_answer_refusal)
        app.exception_handler(HTTPException)(_answer_refusal)
        app.exception_handler(Exception)(_answer_refusal)
        app.add_middleware(_Door, token=token, times=self.times, routes={route.path for route in app.routes})

    @asynccontextmanager
    async def _life(self, app: FastAPI) -> AsyncIterator[None]:
        yield
        for pool in (self.decoding, self.recordings, self.listening):
            pool.shutdown(wait=False, cancel_futures=True)
        self.shared.close()

    async def health(self) -> dict[str, Any]:
        """Tell that the service works, the labels that it gives, and its limits."""
        if not self.shared.alive:
            raise Refused(*ENDED)
        extractor, config = self.classifier.feature_extractor, self.classifier.model.config
        labels = [label for _, label in sorted(config.id2label.items())]
        return {
            "status": "ok",
            "labels": labels,
            "sampling_rate": extractor.sampling_rate,
            "limits": asdict(self.limits),
        }

    async def metrics(self) -> Response:
        """Tell what Prometheus reads."""
        return Response(prometheus.generate_latest(self.registry), media_type=prometheus.CONTENT_TYPE_LATEST)

    async def clip(self, request: Request, query: Annotated[ClipParameters, Query()]) -> list[dict[str, Any]]:
        """Score a clip."""
        async with self._body(request, self.of_clips) as body:
            return await self._answer(request, self._scores(body, request.headers, query), self.limits.timeout)

    async def _scores(self, body: bytes, headers: Mapping[str, str], query: ClipParameters) -> list[dict[str, Any]]:
        reading = {**self.classifier._preprocess_params, "max_seconds": self.limits.seconds}

        def decoded() -> tuple[np.ndarray, ClipParameters]:
            sound, parameters = unpacked(body, headers, query)
            return self.classifier.preprocess(sound, **reading)["input_values"][0].numpy(), parameters

        with _refusing():
            samples, parameters = await _within(self.decoding, decoded)
        logits = await asyncio.wrap_future(self.shared.submit([samples]))
        with _refusing():
            asked = {**self.classifier._postprocess_params, **parameters.model_dump(exclude_none=True)}
            return self.classifier.postprocess({"logits": logits}, **asked)

    async def timeline(self, request: Request, query: Annotated[TimelineParameters, Query()]) -> Response:
        """Score a recording window by window."""

        def found(body: bytes, compute: Compute) -> str:
            sound, parameters = unpacked(body, request.headers, query)
            made = timeline_of(
                self.classifier, sound, batch_size=self.batch_size, compute=compute, **parameters.model_dump()
            )
            return json.dumps(_record(made), ensure_ascii=False)

        async def answer(body: bytes) -> str:
            with _refusing(), self._computing() as compute:
                check_emotions(self.classifier, "A timeline")
                return await _within(self.recordings, found, body, compute)

        async with self._body(request, self.of_recordings) as body:
            text = await self._answer(request, answer(body), self.limits.recording_timeout)
        return Response(text, media_type="application/json")

    async def stream(self, websocket: WebSocket) -> None:
        """Score samples as they come: binary messages in, a JSON message for each window out, until "end" comes."""
        await websocket.accept()
        code = 1000
        try:
            await self._listen(websocket)
        except WebSocketDisconnect:
            return
        except Exception as error:
            refused = _refusal(error)
            if refused.status == 500:
                logger.exception("A stream failed.")
            code = {503: 1013, 500: 1011}.get(refused.status, 1008)
            with suppress(Exception):
                await asyncio.wait_for(websocket.send_json({"error": str(refused)}), FAREWELL)
        with suppress(Exception):
            await asyncio.wait_for(websocket.close(code), FAREWELL)

    async def _listen(self, websocket: WebSocket) -> None:
        asked = StreamParameters.model_validate(dict(websocket.query_params))
        kind = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}[asked.encoding]
        if self.streams >= self.limits.streams:
            raise Refused(*BUSY)
        self.streams += 1
        try:
            with _refusing(), self._computing() as compute:
                check_emotions(self.classifier, "A stream")
                words = asked.window_s, asked.hop_s, asked.sampling_rate, self.batch_size, asked.vad
                stream = EmotionStream(self.classifier, *words, compute)
                heard, rest, ended = 0, b"", False
                while not ended:
                    async with self._patience("no message came"):
                        message = await websocket.receive()
                    if message["type"] == "websocket.disconnect":
                        return
                    content = message.get("bytes")
                    ended = content is None and message.get("text") == "end"
                    if content is None and not ended:
                        raise ValueError(f'Send samples as binary messages ({asked.encoding}), and "end" at the end.')
                    rest += content or b""
                    whole = len(rest) // kind.itemsize * kind.itemsize
                    samples, rest = np.frombuffer(rest[:whole], kind), rest[whole:]
                    heard += len(samples)
                    if heard > self.limits.recording * asked.sampling_rate:
                        raise ValueError(f"A stream ends after {self.limits.recording:g} s; begin another.")
                    windows = await _within(self.listening, stream.push, samples)
                    windows += await _within(self.listening, stream.finish) if ended else []
                    for window in windows:
                        async with self._patience("no message was taken"):
                            await websocket.send_json(window)
        finally:
            self.streams -= 1

    @contextmanager
    def _computing(self) -> Iterator[Compute]:
        """Give what computes logits in the batches of all, and fails once nobody waits for them any more."""
        over = threading.Event()

        def compute(clips: Sequence[np.ndarray]) -> torch.Tensor:
            if over.is_set():
                raise Refused(*ENDED)
            return self.shared.logits(clips)

        try:
            yield compute
        finally:
            over.set()

    @asynccontextmanager
    async def _body(self, request: Request, room: "_Room") -> AsyncIterator[bytes]:
        """Give the body of a request, which waits for its answer then, in its room."""
        most, pieces, size = self.limits.bytes, [], 0
        try:
            if int(request.headers.get("content-length", 0)) > most:
                raise Refused(413, f"The body is larger than {most} bytes, the limit.")
            async with self._patience("the body was not whole"):
                async for piece in request.stream():
                    size, room.held = size + len(piece), room.held + len(piece)
                    if size > most:
                        raise Refused(413, f"The body is larger than {most} bytes, the limit.")
                    if room.held > MOST_HELD * most:
                        raise Refused(*BUSY)
                    pieces.append(piece)
            if room.waiting >= self.limits.waiting:
                raise Refused(*BUSY)
            body = b"".join(pieces)
            pieces.clear()
            room.waiting += 1
            try:
                yield body
            finally:
                room.waiting -= 1
        except ClientDisconnect:
            raise Refused(400, "The body ended early.") from None
        finally:
            room.held -= size

    @asynccontextmanager
    async def _patience(self, what: str) -> AsyncIterator[None]:
        """Wait for a client, but not forever."""
        try:
            async with asyncio.timeout(self.limits.timeout):
                yield
        except TimeoutError:
            raise Refused(408, f"After {self.limits.timeout:g} s {what}.") from None

    async def _answer(self, request: Request, work: Coroutine[Any, Any, A], seconds: float) -> A:
        """Do the work as long as the client waits for it, and no longer than so many seconds."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(request.receive())  # the body is read: what still comes is the client's leaving
        try:
            await asyncio.wait((task, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise (
                Refused(499, "The client is gone.")
                if gone.done()
                else Refused(503, f"This could not be done within {seconds:g} s; try again later, or send less.")
            )
        finally:
            task.cancel()
            gone.cancel()


@dataclass
class _Room:
    """Requests of one kind: how many wait for their answer, and the bytes of all, of those still coming, too."""

    waiting: int = 0
    held: int = 0


class _Door:
    """Lets in who has the token, and tells, of every request, its route, its status and its time."""

    def __init__(self, app: ASGIApp, token: str | None, times: prometheus.Histogram, routes: Set[str]) -> None:
        self.app, self.times, self.routes = app, times, routes
        self.token = None if token is None else hashlib.sha256(token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        route = scope["path"] if scope["path"] in self.routes else "other"
        begin, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "websocket.accept":
                status = 101
            status = message.get("status", status)
            await send(message)

        try:
            if route == "/health" or self._knows(scope):
                await self.app(scope, receive, noting)
            else:
                reason = {"error": "Send the service's token: Authorization: Bearer …"}
                await JSONResponse(reason, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - begin
            self.times.labels(route, status).observe(seconds)
            logger.info("%s %s %d %.3f s", scope.get("method", "WebSocket"), route, status, seconds)

    def _knows(self, scope: Scope) -> bool:
        if self.token is None:
            return True
        kind, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        # Of digests the comparison's time tells nothing, not even a length.
        return hmac.compare_digest(hashlib.sha256(given.strip()).digest(), self.token) and kind.lower() == b"bearer"


def unpacked(body: bytes, headers: Mapping[str, str], query: T) -> tuple[dict[str, Any], T]:
    """Find the sound in a body, as `load_audio` takes it, and its parameters, of which JSON may hold more.

    >>> unpacked(b'{"inputs": "aGVsbG8=", "parameters": {"top_k": 2}}', {"content-type": "application/json"},
    ...          ClipParameters())
    ({'bytes': b'hello', 'path': 'the sound'}, ClipParameters(top_k=2, function_to_apply=None))
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise Refused(415, "Send the sound itself as the body (curl --data-binary @speech.wav), not a form.")
    if kind == "application/json":
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(400, "The body is said to be JSON, and is none.") from None
        inputs = content.get("inputs") if isinstance(content, dict) else None
        if not isinstance(inputs, str):
            raise Refused(400, 'The JSON has no "inputs", the bytes of a sound in base64.')
        if is_url(inputs):
            raise Refused(400, "The service fetches nothing; send the sound itself.")
        try:
            body = base64.b64decode(inputs, validate=True)
        except ValueError:
            raise Refused(400, '"inputs" is no base64.') from None
        parameters = content.get("parameters") or {}
        if not isinstance(parameters, dict):
            raise Refused(400, '"parameters" are names and their values.')
        query = type(query).model_validate(query.model_dump(exclude_unset=True) | parameters)
    return {"bytes": body, "path": "the sound"}, query


def _record(found: Timeline) -> dict[str, Any]:
    """Put a timeline into the shape of the pipeline's windows, with stretches of one label beside them."""

    def best(row: np.ndarray) -> list[dict[str, Any]]:  # none where nobody speaks
        order = [] if np.isnan(row).any() else np.argsort(-row, kind="stable")
        return [{"score": float(row[place]), "label": found.labels[place]} for place in order]

    return {
        "seconds": found.seconds,
        "scores": best(found.summary),
        "chunks": [
            {"timestamp": times.tolist(), "scores": best(row)}
            for times, row in zip(found.windows, found.scores, strict=True)
        ],
        "runs": [
            {"timestamp": [start, end], "label": label, "score": None if np.isnan(score) else score}
            for start, end, label, score in found.runs()
        ],
    }


def _within(pool: Executor, work: Callable[..., A], *args: Any) -> "asyncio.Future[A]":
    return asyncio.get_running_loop().run_in_executor(pool, work, *args)


@contextmanager
def _refusing() -> Iterator[None]:
    """Refuse what is the sound's or the request's fault, or needs what is not installed here."""
    try:
        yield
    except ValidationError:
        raise
    except (ValueError, ImportError) as error:
        raise Refused(400, str(error)) from error


def _refusal(error: Exception) -> Refused:
    """Say what a client is told of an error; of a mistake of ours the log tells more."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, RequestValidationError | ValidationError):
        wrong = (f"{'.'.join(map(str, one['loc'])).removeprefix('query.')}: {one['msg']}" for one in error.errors())
        return Refused(400, f"{'; '.join(wrong)}.")
    if isinstance(error, HTTPException):
        return Refused(error.status_code, str(error.detail), error.headers)
    return Refused(500, "The service failed; its log says why.")


def _answer_refusal(request: Request, error: Exception) -> JSONResponse:
    refused = _refusal(error)
    return JSONResponse({"error": str(refused)}, refused.status, refused.headers)
