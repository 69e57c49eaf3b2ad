"""What the local Hub remembers: repositories, their commits and branches, and the files of each commit."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"


class HubError(Exception):
    """An answer other than success; the client tells its errors apart by the code, a header such as "RepoNotFound"."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})


class StoredFile(bytes):
    """One version of one file; `lfs` tells whether git holds the bytes or a pointer to them."""

    lfs = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self).hexdigest()

    @cached_property
    def git_oid(self) -> str:
        """The name under which git stores the file, or the pointer to it."""
        data = LFS_POINTER.format(sha256=self.sha256, size=len(self)).encode() if self.lfs else self
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def etag(self) -> str:
        """The name by which downloads are cached and by which the client knows a file that has not changed."""
        return self.sha256 if self.lfs else self.git_oid


class LargeFile(StoredFile):
    """A file that goes through git-LFS."""

    lfs = True


@dataclass(frozen=True)
class Commit:
    """One commit: the whole tree after it (`files`), and what it itself brought and took away."""

    oid: str
    parent: str | None
    title: str
    description: str
    author: str
    date: str
    files: dict[str, StoredFile]
    uploaded: dict[str, StoredFile]
    deleted: tuple[str, ...]


@dataclass
class Repository:
    """One repository with its history; branches name commits."""

    owner: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def find(self, revision: str) -> Commit:
        """Return the commit that a branch or a commit's own name stands for."""
        oid = self.branches.get(revision, revision)
        if oid not in self.commits:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[oid]

    def history(self, revision: str) -> list[Commit]:
        """Return the commits that led to a revision, the newest first."""
        commits = [self.find(revision)]
        while (parent := commits[-1].parent) is not None:
            commits.append(self.commits[parent])
        return commits

    def commit(
        self,
        branch: str,
        uploaded: Mapping[str, StoredFile],
        deleted: Iterable[str] = (),
        *,
        title: str,
        description: str = "",
        author: str,
    ) -> Commit:
        """Add a commit to a branch: first the deletions, then the uploads."""
        parent = self.branches.get(branch)
        if parent is None and self.commits:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {branch} is not a branch")
        files = dict(self.commits[parent].files) if parent else {}
        deleted = tuple(dict.fromkeys(deleted))
        for path in deleted:
            del files[path]
        files |= uploaded
        date = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # The count makes the name unique where two commits hold the same files in the same millisecond.
        identity = [parent, title, date, len(self.commits), sorted((path, file.etag) for path, file in files.items())]
        oid = hashlib.sha1(repr(identity).encode()).hexdigest()
        commit = Commit(oid, parent, title, description, author, date, files, dict(uploaded), deleted)
        self.commits[oid] = commit
        self.branches[branch] = oid
        return commit


class HubStore:
    """All repositories of one local Hub, and the large files that were uploaded ahead of their commits."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large_files: dict[str, LargeFile] = {}

    def create(self, kind: str, repo_id: str, user: str, private: bool) -> Repository:
        """Create a repository of a kind ("model" or "dataset") with one empty commit on `main`."""
        repository = self.repositories[kind, repo_id] = Repository(owner=user, private=private)
        repository.commit("main", {}, title="initial commit", author=user)
        return repository

    def get(self, kind: str, repo_id: str, user: str | None = None, write: bool = False) -> Repository:
        """Return a repository to a user who may read it or, with `write`, change it; 401, 403 or 404 to others.

        As on the Hub, a private repository of somebody else's looks as if it did not exist.
        """
        repository = self.repositories.get((kind, repo_id))
        if repository is None or (repository.private and user != repository.owner):
            raise HubError(404 if user else 401, "RepoNotFound", "Repository Not Found")
        if write and user != repository.owner:
            raise HubError(403, "Forbidden", f"Forbidden: only {repository.owner} may write to {repo_id}")
        return repository

    def add_large_file(self, content: bytes, sha256: str) -> None:
        """Keep an uploaded large file until a commit names it."""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise HubError(400, "BadRequest", "The content does not have the SHA-256 that was announced")
        self.large_files[sha256] = LargeFile(content)

    def large_file(self, sha256: str) -> LargeFile:
        """Return an uploaded large file as a commit stores it."""
        if sha256 not in self.large_files:
            raise HubError(400, "BadRequest", f"The large file {sha256} was committed before it was uploaded")
        return self.large_files[sha256]


def directories(paths: Iterable[str]) -> set[str]:
    """Return every folder above the given paths."""
    return {str(folder) for path in paths for folder in PurePosixPath(path).parents if folder.name}
