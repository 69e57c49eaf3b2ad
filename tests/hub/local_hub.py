"""The local Hub as tests see it: an environment for clients, and what they left behind."""

import os
from pathlib import Path

from tests.hub.hub_server import HubServer
from tests.hub.hub_store import Commit
from tests.subprocess_tools import clean_environment


class LocalHub(HubServer):
    """What the fixture `local_hub` gives; it serves a whole test session, so each test names its own repositories.

    huggingface_hub reads its endpoint when it is imported: whatever talks to the Hub runs in a subprocess, with the
    environment that `env` makes.
    """

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
