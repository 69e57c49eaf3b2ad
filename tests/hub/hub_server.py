"""Serves the Hub's API on this machine's loopback interface, in a thread of the test process."""

import json
import re
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.hub.hub_api import HubApi, Request, Response
from tests.hub.hub_store import HubStore


class HubServer:
    """A running local Hub; a token `hf_<user>` logs in as that user. Tests may look into its store while it runs."""

    def __init__(self) -> None:
        self.store = HubStore()
        self.requests: list[str] = []  # every one so far, such as "GET /api/models/alice/model"
        api, lock, requests = HubApi(self.store), threading.Lock(), self.requests

        class Handler(_Handler):
            def answer(self, request: Request) -> Response:
                # One request at a time: an endpoint may read and then write without thinking of the others.
                with lock:
                    requests.append(f"{request.method} {request.path}")
                    return api.answer(request)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The address that clients find in `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, request: Request) -> Response:
        raise NotImplementedError

    def handle_request(self) -> None:
        url = urlsplit(self.path)
        token = re.fullmatch(r"Bearer hf_(\w+)", self.headers.get("Authorization", ""))
        request = Request(
            method=self.command,
            path=url.path,
            query={name: values[0] for name, values in parse_qs(url.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.read_body(),
            base_url=f"http://{self.headers['Host']}",
            user=token[1] if token else None,
        )
        try:
            response = self.answer(request)
        except Exception:
            # The client's test then shows the fault of the double instead of a lost connection.
            response = Response(json.dumps({"error": traceback.format_exc()}).encode(), 500)
        self.send_response(response.status)
        for name, value in {**response.headers, "Content-Length": str(len(response.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay quiet: the server's `requests` hold the log."""
