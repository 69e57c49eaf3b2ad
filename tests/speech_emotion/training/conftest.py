"""Small corpora, one cache for all trainings, and the environment of those in processes of their own."""

from pathlib import Path

import pytest

from tests.speech_emotion.training.spelled_speech import write_spelled
from tests.subprocess_tools import PROJECT_ROOT, offline_environment
from tests.synthetic import write_polish


@pytest.fixture(scope="session")
def polish_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five speakers of 18 clips each; three of them train, in 4 steps an epoch."""
    return write_polish(tmp_path_factory.mktemp("polish"))


@pytest.fixture(scope="session")
def large_polish_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five speakers of 48 clips each; three of them train, in 9 full batches of 16."""
    return write_polish(tmp_path_factory.mktemp("large-polish"), repetitions=range(1, 9))


@pytest.fixture(scope="session")
def spelled_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight speakers of the training half, of 6 clips each, and two of the test half."""
    return write_spelled(tmp_path_factory.mktemp("spelled"))


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for corpora and features."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a training in a process of its own."""
    return offline_environment(tmp_path_factory.mktemp("home")) | {"PYTHONPATH": str(PROJECT_ROOT)}
