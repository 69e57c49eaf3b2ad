"""huggingface_hub itself, in fresh processes, against the local Hub."""

import hashlib
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.hub.hub_api import LFS_THRESHOLD
from tests.hub.local_hub import LocalHub
from tests.subprocess_tools import run_python_json

SMALL = b'{"a": 1}\n'
TINY = b"few weights"
LARGE = bytes(range(256)) * (LFS_THRESHOLD // 256 + 1)


def talk(hub: LocalHub, folder: Path, code: str, user: str | None = "alice") -> Any:
    """Run a client's code, with `api` at hand and `answer` as what it finds out; give each client its own cache."""
    home = folder / f"home-of-{user}"
    whole = f"import json, huggingface_hub as hf\napi = hf.HfApi()\n{code}\nprint(json.dumps(answer))"
    return run_python_json(whole, env=hub.env(home, user), cwd=folder)


@pytest.fixture(scope="module")
def found(local_hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What alice finds who uploads a folder, changes one file, deletes another; and does what may go wrong."""
    folder = tmp_path_factory.mktemp("upload")
    (folder / "model" / "encoder").mkdir(parents=True)
    (folder / "model" / "config.json").write_bytes(SMALL)
    (folder / "model" / "encoder" / "model.safetensors").write_bytes(LARGE)
    (folder / "model" / "tiny.safetensors").write_bytes(TINY)
    (folder / "model" / "optimizer.pt").write_bytes(b"state")
    code = """
repo = api.create_repo("alice/upload").repo_id
born = api.model_info(repo).sha
again = api.create_repo("alice/upload", exist_ok=True).repo_id
first = api.upload_folder(repo_id=repo, folder_path="model", commit_message="one", ignore_patterns="*.pt")
same = api.upload_folder(repo_id=repo, folder_path="model", ignore_patterns="*.pt")
second = api.upload_file(repo_id=repo, path_or_fileobj=b"two", path_in_repo="config.json", commit_description="why")
third = api.delete_file("encoder/model.safetensors", repo_id=repo, commit_message="three")
try:
    api.upload_file(repo_id=repo, path_or_fileobj=b"2", path_in_repo="a", parent_commit=born)
except hf.errors.HfHubHTTPError as error:
    stale = [error.response.status_code, str(error)]
api.create_branch(repo, branch="next")
api.upload_file(repo_id=repo, path_or_fileobj=b"3", path_in_repo="a", revision="next")
api.create_repo("alice/private", private=True)
api.upload_file(repo_id="alice/private", path_or_fileobj=b"1", path_in_repo="a")
answer = {
    "name": api.whoami()["name"],
    "repos": [repo, again],
    "commits": [first.oid, second.oid, third.oid],
    "unchanged": same.oid == first.oid,
    "stale": stale,
    "private": [api.model_info("alice/private").private, open(hf.hf_hub_download("alice/private", "a")).read()],
}
"""
    return talk(local_hub, folder, code)


def test_commits_tell_exactly_what_each_upload_brought(local_hub: LocalHub, found: dict[str, Any]) -> None:
    first, second, third = local_hub.commits("alice/upload")
    assert (found["name"], found["repos"]) == ("alice", ["alice/upload"] * 2)
    assert found["commits"] == [first.oid, second.oid, third.oid]
    assert first.uploaded == first.files
    assert first.files == {"config.json": SMALL, "encoder/model.safetensors": LARGE, "tiny.safetensors": TINY}
    assert (first.title, second.description, third.title) == ("one", "why", "three")
    assert second.uploaded == {"config.json": b"two"}
    assert second.files == first.files | second.uploaded
    assert (third.uploaded, third.deleted) == ({}, ("encoder/model.safetensors",))
    assert third.files == {"config.json": b"two", "tiny.safetensors": TINY}


def test_what_makes_no_commit(found: dict[str, Any]) -> None:
    assert found["unchanged"]
    assert found["stale"][0] == 412 and "A commit has happened since" in found["stale"][1]


def test_only_large_files_and_weights_go_through_lfs(local_hub: LocalHub, found: dict[str, Any]) -> None:
    uploads = [f"PUT /_lfs/{hashlib.sha256(content).hexdigest()}" for content in (SMALL, TINY, LARGE)]
    assert [local_hub.requests.count(upload) for upload in uploads] == [0, 1, 1]


def test_files_are_found_by_branch_and_commit(local_hub: LocalHub, found: dict[str, Any], tmp_path: Path) -> None:
    _, second, third = found["commits"]
    files = local_hub.files("alice/upload")
    assert files == local_hub.files("alice/upload", third) == {"config.json": b"two", "tiny.safetensors": TINY}
    assert local_hub.files("alice/upload", "next") == files | {"a": b"3"}
    saved = local_hub.save("alice/upload", tmp_path, second)
    assert (saved / "encoder" / "model.safetensors").read_bytes() == LARGE


def test_client_lists_and_downloads_a_pinned_revision(
    local_hub: LocalHub, found: dict[str, Any], tmp_path: Path
) -> None:
    first, second, _ = found["commits"]
    code = f"""
from pathlib import Path
repo, first, second = "alice/upload", {first!r}, {second!r}
siblings = api.model_info(repo, revision=second, files_metadata=True).siblings
pinned = Path(hf.snapshot_download(repo, revision=first))
missing = []
for of, name, revision in ((repo, "config.json", "v2"), ("alice/private", "a", None)):
    try:
        hf.hf_hub_download(of, name, revision=revision)
    except (hf.errors.RevisionNotFoundError, hf.errors.RepositoryNotFoundError) as error:
        missing.append([type(error).__name__, error.response.status_code])
answer = {{
    "files": api.list_repo_files(repo, revision=first),
    "tree": [[entry.path, getattr(entry, "size", None)] for entry in api.list_repo_tree(repo, revision=first)],
    "info": [[file.rfilename, file.size] for file in siblings],
    "exists": [api.file_exists(repo, name) for name in ("config.json", "none.json")],
    "snapshot": {{str(p.relative_to(pinned)): p.stat().st_size for p in pinned.rglob("*") if p.is_file()}},
    "single": Path(hf.hf_hub_download(repo, "config.json", revision=second)).read_text(),
    "missing": missing,
}}
"""
    answer = talk(local_hub, tmp_path, code, user=None)
    sizes = {"config.json": len(SMALL), "encoder/model.safetensors": len(LARGE), "tiny.safetensors": len(TINY)}
    assert answer["files"] == list(sizes)
    assert answer["tree"] == [["encoder", None], ["config.json", len(SMALL)], ["tiny.safetensors", len(TINY)]]
    assert dict(answer["info"]) == sizes | {"config.json": 3}
    assert (answer["exists"], answer["single"], answer["snapshot"]) == ([True, False], "two", sizes)
    assert answer["missing"] == [["RevisionNotFoundError", 404], ["RepositoryNotFoundError", 401]]


def test_only_the_owner_writes_and_reads_what_is_private(
    local_hub: LocalHub, found: dict[str, Any], tmp_path: Path
) -> None:
    code = """
answer = []
for act in (
    lambda: hf.hf_hub_download("alice/private", "a"),
    lambda: api.upload_file(repo_id="alice/upload", path_or_fileobj=b"1", path_in_repo="a"),
    lambda: api.create_branch("alice/upload", branch="mine"),
    lambda: api.create_repo("alice/of-bob"),
):
    try:
        act()
    except hf.errors.HfHubHTTPError as error:
        answer.append(error.response.status_code)
"""
    assert found["private"] == [True, "1"]
    assert talk(local_hub, tmp_path, code, user="bob") == [404, 403, 403, 403]
    assert local_hub.commits("alice/upload")[-1].oid == found["commits"][-1]


def test_interrupted_download_can_go_on(local_hub: LocalHub, found: dict[str, Any]) -> None:
    url = f"{local_hub.url}/alice/upload/resolve/{found['commits'][0]}/encoder/model.safetensors"
    request = urllib.request.Request(url, headers={"Range": "bytes=1000-"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes 1000-{len(LARGE) - 1}/{len(LARGE)}"
        assert answer.read() == LARGE[1000:]


@pytest.mark.parametrize(("path", "status"), [("/api/unheard-of", 404), ("/api/models/alice/unheard-of", 401)])
def test_unknown_addresses_are_named(local_hub: LocalHub, path: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(local_hub.url + path)
    assert caught.value.code == status
    assert json.loads(caught.value.read())["error"]
