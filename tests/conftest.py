"""Keeps the tests off the network and out of the user's caches, and gives them a Hub of their own."""

import os
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hub.local_hub import LocalHub
from tests.subprocess_tools import clean_environment, users_home

if "huggingface_hub" in sys.modules:
    raise pytest.UsageError("huggingface_hub was imported before the tests could turn it offline: by which plug-in?")

# Where the user's cache is: tests of real weights read it, and skip where it has none.
os.environ.setdefault("SER_WEIGHTS_HOME", users_home())
SESSION_HOME = tempfile.mkdtemp(prefix="ser-tests-")
# `clean_environment` also takes away what the user has set, such as a cache folder or a token.
# One thread: with more, the tiny operations of the tests spend their time waiting for each other.
ENVIRONMENT = clean_environment(SESSION_HOME) | {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
os.environ.clear()
os.environ.update(ENVIRONMENT)


def pytest_unconfigure() -> None:
    """Remove the session's caches."""
    shutil.rmtree(SESSION_HOME, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Refuse every connection of the test process that would leave this machine."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        internet = self.family in (socket.AF_INET, socket.AF_INET6)
        if internet and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise PermissionError(f"a test tried to reach {address[0]}; serve what it needs on 127.0.0.1")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_locally)
        yield


@pytest.fixture(autouse=True)
def same_manners() -> Iterator[None]:
    """Give back to each test the progress bars and warnings that commands, run in this process, have changed."""
    show = warnings.showwarning
    yield
    warnings.showwarning = show
    if "datasets" in sys.modules:  # what needs it imports it: that takes a second
        sys.modules["datasets"].enable_progress_bars()


@pytest.fixture(scope="module")
def classifier() -> Any:
    """A small classifier of mel features as a pipeline; modules that change it, or need another, have their own."""
    from tests.modeling_ser.small_pipeline import small_classifier  # which takes seconds to import

    model, extractor = small_classifier()
    return model.as_pipeline(extractor, device="cpu")


@pytest.fixture(scope="session")
def local_hub() -> Iterator[LocalHub]:
    """A Hub on this machine; repositories live as long as the session, so each test names its own."""
    with LocalHub() as hub:
        yield hub
