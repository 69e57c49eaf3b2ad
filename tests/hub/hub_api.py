"""The Hub's HTTP API as huggingface_hub 2 speaks it, without the HTTP: one method per endpoint.

It covers what saving, sharing and loading models and datasets need: accounts, repositories, branches, commits with
small and large files, listings and downloads. Pull requests, tags, deletions of repositories, Xet and gated
repositories are left out; asking for them, or for any other address, is a 404 or a 501 that names the request.
"""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.hub.hub_store import HubError, HubStore, StoredFile, directories

# A file goes through git-LFS from this many bytes on: far less than on the Hub, so that tests need no large files.
LFS_THRESHOLD = 10_000
# These do whatever their size, as in the .gitattributes of a new repository; datasets relies on it.
LFS_SUFFIXES = (".arrow", ".bin", ".npy", ".npz", ".onnx", ".parquet", ".pkl", ".pt", ".pth", ".safetensors", ".zip")

REPO_URL_PREFIX = {"model": "", "dataset": "datasets/"}
KINDS = {"models": "model", "datasets": "dataset", "": "model", "datasets/": "dataset"}  # as addresses have them


@dataclass(frozen=True)
class Request:
    """One HTTP request; header names are in lower case, `user` is None without a token."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    base_url: str
    user: str | None


@dataclass(frozen=True)
class Response:
    """One HTTP answer."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def json_response(value: Any, status: int = 200, content_type: str = "application/json") -> Response:
    """Answer with JSON."""
    return Response(json.dumps(value).encode(), status, {"Content-Type": content_type})


Endpoint = Callable[..., Response]
ROUTES: list[tuple[tuple[str, ...], re.Pattern[str], Endpoint]] = []


def route(methods: str, pattern: str) -> Callable[[Endpoint], Endpoint]:
    """Register an endpoint for one or more methods and an address, given as a pattern with the names in braces."""
    for name, expression in {
        "{repo}": r"/api/(?P<kind>models|datasets)/(?P<repo_id>[\w.-]+/[\w.-]+)",
        "{download}": r"/(?P<kind>datasets/|)(?P<repo_id>[\w.-]+/[\w.-]+)",
        "{revision}": r"(?P<revision>[^/]+)",
        "{name}": r"(?P<name>[^/]+)",
        "{path}": r"(?P<path>.+)",
        "{sha256}": r"(?P<sha256>[0-9a-f]{64})",
    }.items():
        pattern = pattern.replace(name, expression)

    def register(endpoint: Endpoint) -> Endpoint:
        ROUTES.append((tuple(methods.split()), re.compile(pattern), endpoint))
        return endpoint

    return register


class HubApi:
    """Answers requests from, and keeps their effects in, a `HubStore`."""

    def __init__(self, store: HubStore) -> None:
        self.store = store

    def answer(self, request: Request) -> Response:
        """Answer one request; what goes wrong becomes an answer too."""
        try:
            for methods, pattern, endpoint in ROUTES:
                match = pattern.fullmatch(request.path)
                if match and request.method in methods:
                    return endpoint(self, request, **self._arguments(match))
            raise HubError(404, "NotFound", f"The local Hub has no {request.method} {request.path}")
        except HubError as error:
            answer = json_response({"error": error.message}, error.status)
            answer.headers.update({"X-Error-Code": error.code, "X-Error-Message": error.message, **error.headers})
            return answer

    @staticmethod
    def _arguments(match: re.Match[str]) -> dict[str, str]:
        arguments = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
        if "kind" in arguments:
            arguments["kind"] = KINDS[arguments["kind"]]
        return arguments

    # Accounts and repositories

    @route("GET", "/api/whoami-v2")
    def who_am_i(self, request: Request) -> Response:
        user = self._logged_in(request)
        token = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
        return json_response({"type": "user", "id": user, "name": user, "fullname": user, "orgs": [], "auth": token})

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self, request: Request) -> Response:
        return json_response({"errors": [], "warnings": []})

    @route("POST", "/api/repos/create")
    def create_repository(self, request: Request) -> Response:
        user = self._logged_in(request)
        wish = json.loads(request.body)
        kind, repo_id = wish.get("type") or "model", f"{wish.get('organization') or user}/{wish['name']}"
        if not repo_id.startswith(f"{user}/"):
            raise HubError(403, "Forbidden", f"{user} has no right to create a {kind} as {repo_id}")
        answer = {"url": f"{request.base_url}/{REPO_URL_PREFIX[kind]}{repo_id}", "id": repo_id, "name": repo_id}
        if (kind, repo_id) in self.store.repositories:
            return json_response({"error": "You already created this repo", **answer}, 409)
        self.store.create(kind, repo_id, user, wish.get("visibility") == "private" or bool(wish.get("private")))
        return json_response(answer)

    @route("GET", "{repo}")
    @route("GET", "{repo}/revision/{revision}")
    def repository_info(self, request: Request, kind: str, repo_id: str, revision: str = "main") -> Response:
        repository = self.store.get(kind, repo_id, request.user)
        commit = repository.find(revision)
        oldest = repository.history(revision)[-1]
        with_sizes = "blobs" in request.query
        siblings = [
            {"rfilename": path, **({"size": len(file), "blobId": file.git_oid} if with_sizes else {})}
            for path, file in sorted(commit.files.items())
        ]
        info = {"_id": commit.oid[:24], "id": repo_id, "modelId": repo_id, "author": repository.owner}
        info |= {"sha": commit.oid, "createdAt": oldest.date, "lastModified": commit.date, "siblings": siblings}
        info |= {"private": repository.private, "gated": False, "disabled": False}
        return json_response(info | {"tags": [], "downloads": 0, "likes": 0, "cardData": {}})

    @route("POST", "{repo}/branch/{name}")
    def create_branch(self, request: Request, kind: str, repo_id: str, name: str) -> Response:
        repository = self.store.get(kind, repo_id, request.user, write=True)
        if name in repository.branches:
            raise HubError(409, "Conflict", f"Reference {name} already exists")
        start = json.loads(request.body or b"{}").get("startingPoint") or "main"
        repository.branches[name] = repository.find(start).oid
        return json_response({})

    # Uploads: the client asks how to send each file, sends the large ones, then commits all of them

    @route("POST", "{repo}/preupload/{revision}")
    def plan_upload(self, request: Request, kind: str, repo_id: str, revision: str) -> Response:
        commit = self.store.get(kind, repo_id, request.user, write=True).find(revision)
        plan = []
        for file in json.loads(request.body)["files"]:
            there = commit.files.get(file["path"])
            large = file["size"] >= LFS_THRESHOLD or file["path"].endswith(LFS_SUFFIXES)
            mode = "lfs" if large else "regular"
            oid = there.etag if there else None
            plan.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return json_response({"files": plan, "commitOid": commit.oid})

    @route("POST", r"{download}\.git/info/lfs/objects/batch")
    def plan_large_files(self, request: Request, kind: str, repo_id: str) -> Response:
        self.store.get(kind, repo_id, request.user, write=True)
        objects = []
        for wanted in json.loads(request.body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.store.large_files:
                answer["actions"] = {"upload": {"href": f"{request.base_url}/_lfs/{wanted['oid']}", "header": {}}}
            objects.append(answer)
        return json_response({"transfer": "basic", "objects": objects}, content_type="application/vnd.git-lfs+json")

    @route("PUT", "/_lfs/{sha256}")
    def upload_large_file(self, request: Request, sha256: str) -> Response:
        self.store.add_large_file(request.body, sha256)
        return json_response({})

    @route("POST", "{repo}/commit/{revision}")
    def commit(self, request: Request, kind: str, repo_id: str, revision: str) -> Response:
        if request.query.get("create_pr"):
            raise HubError(501, "NotImplemented", "The local Hub has no pull requests")
        repository = self.store.get(kind, repo_id, request.user, write=True)
        parent = repository.find(revision)
        header: dict[str, str] = {}
        uploaded: dict[str, StoredFile] = {}
        deleted: list[str] = []
        for line in request.body.splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "header":
                header = value
            elif key == "file":
                uploaded[value["path"]] = StoredFile(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                uploaded[value["path"]] = self.store.large_file(value["oid"])
            elif key == "deletedFile" and value["path"] in parent.files:
                deleted.append(value["path"])
            else:
                raise HubError(501, "NotImplemented", f"The local Hub cannot commit a '{key}'")
        if not parent.oid.startswith(header.get("parentCommit") or ""):
            raise HubError(412, "PreconditionFailed", "A commit has happened since. Please refresh and try again.")
        title, description = header["summary"], header.get("description", "")
        author = self._logged_in(request)
        commit = repository.commit(revision, uploaded, deleted, title=title, description=description, author=author)
        url = f"{request.base_url}/{REPO_URL_PREFIX[kind]}{repo_id}/commit/{commit.oid}"
        return json_response({"success": True, "commitOid": commit.oid, "commitUrl": url, "hookOutput": ""})

    # Listings and downloads

    @route("GET", "{repo}/tree/{revision}")
    @route("GET", "{repo}/tree/{revision}/{path}")
    def tree(self, request: Request, kind: str, repo_id: str, revision: str, path: str = "") -> Response:
        commit = self.store.get(kind, repo_id, request.user).find(revision)
        base = f"{path.rstrip('/')}/" if path else ""
        files = {name: file for name, file in commit.files.items() if name.startswith(base)}
        if path and not files:
            raise HubError(404, "EntryNotFound", f"{path} does not exist on {revision}")
        folders = {name for name in directories(files) if name.startswith(base)}
        if request.query.get("recursive", "").lower() != "true":
            files = {name: file for name, file in files.items() if "/" not in name.removeprefix(base)}
            folders = {name for name in folders if "/" not in name.removeprefix(base)}
        entries = [folder_info(name) for name in sorted(folders)]
        return json_response(entries + [file_info(name, file) for name, file in sorted(files.items())])

    @route("GET HEAD", "{download}/resolve/{revision}/{path}")
    def download(self, request: Request, kind: str, repo_id: str, revision: str, path: str) -> Response:
        commit = self.store.get(kind, repo_id, request.user).find(revision)
        headers = {"X-Repo-Commit": commit.oid}
        file = commit.files.get(path)
        if file is None:
            raise HubError(404, "EntryNotFound", f"{path} does not exist on {revision}", headers)
        headers |= {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(len(file))}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if wanted is None:
            return Response(file, 200, headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(file) - 1), len(file) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(file)}"
        return Response(file[first : last + 1], 206, headers)

    # What several endpoints share

    @staticmethod
    def _logged_in(request: Request) -> str:
        if request.user is None:
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        return request.user


def file_info(path: str, file: StoredFile) -> dict[str, Any]:
    """Describe a file as the Hub lists it."""
    info = {"type": "file", "path": path, "size": len(file), "oid": file.git_oid}
    return info | ({"lfs": {"oid": file.sha256, "size": len(file), "pointerSize": 134}} if file.lfs else {})


def folder_info(path: str) -> dict[str, Any]:
    """Describe a folder as the Hub lists it; its name serves as its object's name."""
    return {"type": "directory", "path": path, "oid": path.encode().hex()[:40].ljust(40, "0"), "size": 0}
