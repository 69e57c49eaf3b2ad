"""The Hub's HTTP API as huggingface_hub 2 speaks it, without the HTTP: one method per endpoint.

It covers what saving, sharing and loading models and datasets need: accounts, repositories, branches, tags, commits
with small and large files, listings and downloads. Pull requests, Xet and gated repositories are left out; asking for
them, or for any other address, is a 404 or a 501 that names the request.
"""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.hub.hub_store import Commit, HubError, HubStore, StoredFile, directories

# A file goes through git-LFS from this many bytes on: far less than on the Hub, so that tests need no large files.
LFS_THRESHOLD = 10_000
# These do whatever their size, as in the .gitattributes of a new repository; datasets relies on it.
LFS_SUFFIXES = (".arrow", ".bin", ".npy", ".npz", ".onnx", ".parquet", ".pkl", ".pt", ".pth", ".safetensors", ".zip")

REPO_URL_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
KIND_IN_API = {"models": "model", "datasets": "dataset", "spaces": "space"}
KIND_IN_DOWNLOAD = {"": "model", "datasets/": "dataset", "spaces/": "space"}


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
        "{repo}": r"/api/(?P<kind>models|datasets|spaces)/(?P<repo_id>[\w.-]+/[\w.-]+)",
        "{download}": r"/(?P<kind>datasets/|spaces/|)(?P<repo_id>[\w.-]+/[\w.-]+)",
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
            arguments["kind"] = (KIND_IN_API | KIND_IN_DOWNLOAD)[arguments["kind"]]
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
        kind, repo_id = self._named_repository(wish, user)
        if not repo_id.startswith(f"{user}/"):
            raise HubError(403, "Forbidden", f"{user} has no right to create a {kind} as {repo_id}")
        answer = {"url": f"{request.base_url}/{REPO_URL_PREFIX[kind]}{repo_id}", "id": repo_id, "name": repo_id}
        if (kind, repo_id) in self.store.repositories:
            return json_response({"error": "You already created this repo", **answer}, 409)
        self.store.create(kind, repo_id, user, wish.get("visibility") == "private" or bool(wish.get("private")))
        return json_response(answer)

    @route("DELETE", "/api/repos/delete")
    def delete_repository(self, request: Request) -> Response:
        user = self._logged_in(request)
        self.store.delete(*self._named_repository(json.loads(request.body), user), user)
        return json_response({})

    @route("GET", "{repo}")
    @route("GET", "{repo}/revision/{revision}")
    def repository_info(self, request: Request, kind: str, repo_id: str, revision: str = "main") -> Response:
        repository = self.store.get(kind, repo_id, request.user)
        commit = repository.find(revision)
        oldest = repository.history(revision)[-1]
        with_sizes = "blobs" in request.query
        siblings = [
            {"rfilename": path, **({"size": file.size, "blobId": file.git_oid} if with_sizes else {})}
            for path, file in sorted(commit.files.items())
        ]
        info = {"_id": commit.oid[:24], "id": repo_id, "modelId": repo_id, "author": repository.owner}
        info |= {"sha": commit.oid, "createdAt": oldest.date, "lastModified": commit.date, "siblings": siblings}
        info |= {"private": repository.private, "gated": False, "disabled": False}
        return json_response(info | {"tags": [], "downloads": 0, "likes": 0, "cardData": {}})

    # Branches, tags and history

    @route("GET", "{repo}/refs")
    def references(self, request: Request, kind: str, repo_id: str) -> Response:
        repository = self.store.get(kind, repo_id, request.user)

        def listing(names: dict[str, str], folder: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{folder}/{n}", "targetCommit": oid} for n, oid in names.items()]

        branches, tags = listing(repository.branches, "heads"), listing(repository.tags, "tags")
        return json_response({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})

    @route("GET", "{repo}/commits/{revision}")
    def history(self, request: Request, kind: str, repo_id: str, revision: str) -> Response:
        commits = self.store.get(kind, repo_id, request.user).history(revision)
        return json_response([{**commit_info(commit), "authors": [{"user": commit.author}]} for commit in commits])

    @route("POST DELETE", "{repo}/branch/{name}")
    def branch(self, request: Request, kind: str, repo_id: str, name: str) -> Response:
        repository = self.store.get(kind, repo_id, request.user, write=True)
        if request.method == "DELETE":
            return self._delete_reference(repository.branches, name)
        start = json.loads(request.body or b"{}").get("startingPoint") or "main"
        return self._create_reference(repository.branches, name, repository.find(start).oid)

    @route("POST DELETE", "{repo}/tag/{name}")
    def tag(self, request: Request, kind: str, repo_id: str, name: str) -> Response:
        """Delete the tag of this name, or create a tag at the revision of this name."""
        repository = self.store.get(kind, repo_id, request.user, write=True)
        if request.method == "DELETE":
            return self._delete_reference(repository.tags, name)
        return self._create_reference(repository.tags, json.loads(request.body)["tag"], repository.find(name).oid)

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
                upload = {"href": f"{request.base_url}/_lfs/{wanted['oid']}", "header": {}}
                verify = {"href": f"{request.base_url}/_lfs/verify", "header": {}}
                answer["actions"] = {"upload": upload, "verify": verify}
            objects.append(answer)
        return json_response({"transfer": "basic", "objects": objects}, content_type="application/vnd.git-lfs+json")

    @route("PUT", "/_lfs/{sha256}")
    def upload_large_file(self, request: Request, sha256: str) -> Response:
        self.store.add_large_file(request.body, sha256)
        return json_response({})

    @route("POST", "/_lfs/verify")
    def verify_large_file(self, request: Request) -> Response:
        wanted = json.loads(request.body)
        if self.store.large_file(wanted["oid"]).size != wanted["size"]:
            raise HubError(400, "BadRequest", f"The size of {wanted['oid']} is not the one that was announced")
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
                uploaded[value["path"]] = StoredFile(base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                uploaded[value["path"]] = self.store.large_file(value["oid"])
            elif key in ("deletedFile", "deletedFolder"):
                deleted += self._paths_to_delete(parent, value["path"], folder=key == "deletedFolder")
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

    @route("POST", "{repo}/paths-info/{revision}")
    def paths_info(self, request: Request, kind: str, repo_id: str, revision: str) -> Response:
        commit = self.store.get(kind, repo_id, request.user).find(revision)
        is_json = "json" in request.headers.get("content-type", "")
        paths = json.loads(request.body)["paths"] if is_json else parse_qs(request.body.decode()).get("paths", [])
        folders = directories(commit.files)
        entries = []
        for path in [paths] if isinstance(paths, str) else paths:
            if path in commit.files:
                entries.append(file_info(path, commit.files[path]))
            elif path.rstrip("/") in folders:
                entries.append(folder_info(path.rstrip("/")))
        return json_response(entries)

    @route("GET HEAD", "{download}/resolve/{revision}/{path}")
    def download(self, request: Request, kind: str, repo_id: str, revision: str, path: str) -> Response:
        commit = self.store.get(kind, repo_id, request.user).find(revision)
        headers = {"X-Repo-Commit": commit.oid}
        file = commit.files.get(path)
        if file is None:
            raise HubError(404, "EntryNotFound", f"{path} does not exist on {revision}", headers)
        headers |= {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if wanted is None:
            return Response(file.content, 200, headers)
        first, last = int(wanted[1]), min(int(wanted[2] or file.size - 1), file.size - 1)
        if first > last:
            raise HubError(416, "RangeNotSatisfiable", "", {"Content-Range": f"bytes */{file.size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
        return Response(file.content[first : last + 1], 206, headers)

    # What several endpoints share

    @staticmethod
    def _logged_in(request: Request) -> str:
        if request.user is None:
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        return request.user

    @staticmethod
    def _named_repository(wish: dict[str, Any], user: str) -> tuple[str, str]:
        return wish.get("type") or "model", f"{wish.get('organization') or user}/{wish['name']}"

    @staticmethod
    def _create_reference(names: dict[str, str], name: str, oid: str) -> Response:
        if name in names:
            raise HubError(409, "Conflict", f"Reference {name} already exists")
        names[name] = oid
        return json_response({})

    @staticmethod
    def _delete_reference(names: dict[str, str], name: str) -> Response:
        if names.pop(name, None) is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {name}")
        return json_response({})

    @staticmethod
    def _paths_to_delete(parent: Commit, path: str, folder: bool) -> list[str]:
        prefix = f"{path.rstrip('/')}/"
        paths = [name for name in parent.files if (name.startswith(prefix) if folder else name == path)]
        if not paths:
            raise HubError(404, "EntryNotFound", f"{path} cannot be deleted: it does not exist")
        return paths


def commit_info(commit: Commit) -> dict[str, Any]:
    """Describe a commit as the Hub lists it."""
    return {"id": commit.oid, "title": commit.title, "message": commit.description, "date": commit.date}


def file_info(path: str, file: StoredFile) -> dict[str, Any]:
    """Describe a file as the Hub lists it."""
    info = {"type": "file", "path": path, "size": file.size, "oid": file.git_oid}
    return info | ({"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}} if file.lfs else {})


def folder_info(path: str) -> dict[str, Any]:
    """Describe a folder as the Hub lists it; its name serves as its object's name."""
    return {"type": "directory", "path": path, "oid": path.encode().hex()[:40].ljust(40, "0"), "size": 0}
