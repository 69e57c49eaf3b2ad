"""The local Hub: served on this machine's loopback interface, in a thread of the test process."""

import json
import os
import re
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.hub.hub_api import HubApi, Request, Response
from tests.hub.hub_store import Commit, HubStore
from tests.subprocess_tools import clean_environment


class LocalHub:
    """What the fixture `local_hub` gives; it serves a whole test session, so each test names its own repositories.

    huggingface_hub reads its endpoint when it is imported: whatever talks to the Hub runs in a subprocess, with the
    environment that `env` makes. A token `hf_<user>` logs in as that user.
    """

    def __init__(self) -> None:
        self.store = HubStore()
        self.requests: list[str] = []  # every one so far, such as "GET /api/models/alice/model"
        self._api, self._lock = HubApi(self.store), threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: Request) -> Response:
        """Answer one request at a time: an endpoint may read and then write without thinking of the others."""
        with self._lock:
            self.requests.append(f"{request.method} {request.path}")
            return self._api.answer(request)

    @property
    def url(self) -> str:
        """The address that clients find in `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def env(self, home: str | os.PathLike[str], user: str | None = "alice") -> dict[str, str]:
        """Make the whole environment of a subprocess that talks to this Hub and caches in a fresh folder, `home`."""
        token = {"HF_TOKEN": f"hf_{user}"} if user else {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
        return clean_environment(home) | token | {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1"}

    def files(self, repo_id: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        """Return the whole content of a repository at a branch or a commit: bytes by path."""
        return dict(sorted(self.store.repositories[kind, repo_id].find(revision).files.items()))

    def commits(self, repo_id: str, branch: str = "main", kind: str = "model") -> list[Commit]:
        """Return a branch's commits, the oldest first, without the empty one that each repository is born with."""
        return self.store.repositories[kind, repo_id].history(branch)[-2::-1]

    def save(self, repo_id: str, folder: Path, revision: str = "main", kind: str = "model") -> Path:
        """Write a repository's content into a folder, as a bare copy that knows nothing of the Hub."""
        for path, content in self.files(repo_id, revision, kind).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return folder


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

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
            response = self.server.hub.answer(request)
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
