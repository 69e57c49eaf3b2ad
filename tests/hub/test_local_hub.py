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
def uploaded(local_hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three commits: a folder, another version of one file, the deletion of another."""
    folder = tmp_path_factory.mktemp("upload")
    (folder / "model" / "encoder").mkdir(parents=True)
    (folder / "model" / "config.json").write_bytes(SMALL)
    (folder / "model" / "encoder" / "model.safetensors").write_bytes(LARGE)
    (folder / "model" / "tiny.safetensors").write_bytes(TINY)
    (folder / "model" / "optimizer.pt").write_bytes(b"state")
    code = """
repo = api.create_repo("alice/upload").repo_id
again = api.create_repo("alice/upload", exist_ok=True).repo_id
first = api.upload_folder(repo_id=repo, folder_path="model", commit_message="one", ignore_patterns="*.pt")
second = api.upload_file(repo_id=repo, path_or_fileobj=b"two", path_in_repo="config.json", commit_description="why")
third = api.delete_file("encoder/model.safetensors", repo_id=repo, commit_message="three")
answer = {"repos": [repo, again], "commits": [first.oid, second.oid, third.oid]}
"""
    return talk(local_hub, folder, code)


def test_commits_tell_exactly_what_each_upload_brought(local_hub: LocalHub, uploaded: dict[str, Any]) -> None:
    first, second, third = local_hub.commits("alice/upload")
    assert uploaded == {"repos": ["alice/upload"] * 2, "commits": [first.oid, second.oid, third.oid]}
    assert first.uploaded == first.files
    assert first.files == {"config.json": SMALL, "encoder/model.safetensors": LARGE, "tiny.safetensors": TINY}
    assert (first.title, second.description, third.title) == ("one", "why", "three")
    assert second.uploaded == {"config.json": b"two"}
    assert second.files == first.files | second.uploaded
    assert (third.uploaded, third.deleted) == ({}, ("encoder/model.safetensors",))
    assert third.files == {"config.json": b"two", "tiny.safetensors": TINY}


def test_only_large_files_and_weights_go_through_lfs(local_hub: LocalHub, uploaded: dict[str, Any]) -> None:
    uploads = [f"PUT /_lfs/{hashlib.sha256(content).hexdigest()}" for content in (SMALL, TINY, LARGE)]
    assert [local_hub.requests.count(upload) for upload in uploads] == [0, 1, 1]


def test_files_are_found_by_branch_and_commit(local_hub: LocalHub, uploaded: dict[str, Any], tmp_path: Path) -> None:
    _, second, third = uploaded["commits"]
    assert local_hub.files("alice/upload") == {"config.json": b"two", "tiny.safetensors": TINY}
    assert local_hub.files("alice/upload") == local_hub.files("alice/upload", third)
    saved = local_hub.save("alice/upload", tmp_path, second)
    assert (saved / "encoder" / "model.safetensors").read_bytes() == LARGE


def test_client_lists_and_downloads_a_pinned_revision(
    local_hub: LocalHub, uploaded: dict[str, Any], tmp_path: Path
) -> None:
    first, second, _ = uploaded["commits"]
    code = f"""
from pathlib import Path
repo, first, second = "alice/upload", {first!r}, {second!r}
siblings = api.model_info(repo, revision=second, files_metadata=True).siblings
pinned = Path(hf.snapshot_download(repo, revision=first))
try:
    hf.hf_hub_download(repo, "config.json", revision="v2")
except hf.errors.RevisionNotFoundError:
    missing = "revision"
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
    assert (answer["exists"], answer["single"], answer["missing"]) == ([True, False], "two", "revision")
    assert answer["snapshot"] == sizes


def test_unchanged_folder_makes_no_commit(local_hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "small").write_bytes(SMALL)
    (tmp_path / "model" / "large").write_bytes(LARGE)
    code = """
api.create_repo("alice/twice")
first = api.upload_folder(repo_id="alice/twice", folder_path="model")
answer = first.oid == api.upload_folder(repo_id="alice/twice", folder_path="model").oid
"""
    assert talk(local_hub, tmp_path, code) is True
    assert len(local_hub.commits("alice/twice")) == 1


def test_stale_parent_is_refused(local_hub: LocalHub, tmp_path: Path) -> None:
    code = """
repo = api.create_repo("alice/stale").repo_id
born = api.model_info(repo).sha
api.upload_file(repo_id=repo, path_or_fileobj=b"1", path_in_repo="a", parent_commit=born)
try:
    api.upload_file(repo_id=repo, path_or_fileobj=b"2", path_in_repo="a", parent_commit=born)
except hf.errors.HfHubHTTPError as error:
    answer = [error.response.status_code, str(error)]
"""
    status, message = talk(local_hub, tmp_path, code)
    assert status == 412
    assert "A commit has happened since" in message
    assert local_hub.files("alice/stale") == {"a": b"1"}


def test_branches_move_alone(local_hub: LocalHub, tmp_path: Path) -> None:
    code = """
repo = api.create_repo("alice/branches").repo_id
api.upload_file(repo_id=repo, path_or_fileobj=b"1", path_in_repo="a")
api.create_branch(repo, branch="next")
api.upload_file(repo_id=repo, path_or_fileobj=b"2", path_in_repo="a", revision="next")
answer = api.whoami()["name"]
"""
    assert talk(local_hub, tmp_path, code) == "alice"
    assert local_hub.files("alice/branches") == {"a": b"1"}
    assert local_hub.files("alice/branches", "next") == {"a": b"2"}


def test_private_repository_is_its_owners_alone(local_hub: LocalHub, tmp_path: Path) -> None:
    create = """
api.create_repo("alice/private", private=True)
api.upload_file(repo_id="alice/private", path_or_fileobj=b"1", path_in_repo="a")
answer = [api.model_info("alice/private").private, open(hf.hf_hub_download("alice/private", "a")).read()]
"""
    read = """
try:
    hf.hf_hub_download("alice/private", "a")
except hf.errors.RepositoryNotFoundError as error:
    answer = error.response.status_code
"""
    assert talk(local_hub, tmp_path, create) == [True, "1"]
    assert talk(local_hub, tmp_path, read, user="bob") == 404
    assert talk(local_hub, tmp_path, read, user=None) == 401


def test_only_the_owner_writes(local_hub: LocalHub, uploaded: dict[str, Any], tmp_path: Path) -> None:
    code = """
answer = []
for act in (
    lambda: api.upload_file(repo_id="alice/upload", path_or_fileobj=b"1", path_in_repo="a"),
    lambda: api.create_branch("alice/upload", branch="mine"),
    lambda: api.create_repo("alice/of-bob"),
):
    try:
        act()
    except hf.errors.HfHubHTTPError as error:
        answer.append(error.response.status_code)
"""
    assert talk(local_hub, tmp_path, code, user="bob") == [403] * 3
    assert local_hub.commits("alice/upload")[-1].oid == uploaded["commits"][-1]


def test_interrupted_download_can_go_on(local_hub: LocalHub, uploaded: dict[str, Any]) -> None:
    url = f"{local_hub.url}/alice/upload/resolve/{uploaded['commits'][0]}/encoder/model.safetensors"
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
