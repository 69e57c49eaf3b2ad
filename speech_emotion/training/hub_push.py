"""Sharing: which files of a folder go to the Hub, and a callback that pushes every checkpoint."""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RevisionNotFoundError
from huggingface_hub.utils import httpx  # whichever version of it its sessions are made of
from transformers import TrainerCallback
from transformers import TrainerControl as Control
from transformers import TrainerState as State
from transformers import TrainingArguments as Args
from transformers.trainer_utils import HubStrategy

from .callbacks import StopSignalCallback
from .card import PICTURE
from .run_record import RESULTS_FILE, RUN_FILE, STAGES_FILE

logger = logging.getLogger(__name__)

# Weights, configurations, code and cards: all that loading needs. Everything else stays: optimizer states and training
# arguments are pickles, the trainer's state names paths of this machine, caches and audio are nobody's business.
SHARED_SUFFIXES = (".safetensors", ".json", ".py", ".md")
# What a finished run says of its weights.
TOLD = ("README.md", RESULTS_FILE, PICTURE)
# A lost connection, and what the Hub or its cache answers (an HfHubHTTPError is both an HTTPError and an OSError).
NETWORK_ERRORS = (httpx.HTTPError, OSError)
KEPT_BACK = (RUN_FILE, STAGES_FILE, "trainer_state.json", "low_rank.safetensors")


def shared_files(folder: str | Path) -> dict[str, Path]:
    """List the files of a saved model that are shared."""
    folder = Path(folder)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"{folder} holds no saved model: config.json and a .safetensors file are needed.")
    extractor = folder / "preprocessor_config.json"
    streams = json.loads(extractor.read_text(encoding="utf-8")).get("encoders") or {} if extractor.is_file() else {}
    encoders = [folder / stream for stream in streams if (folder / stream / "config.json").is_file()]
    return {
        path.relative_to(folder).as_posix(): path
        for part in (folder, *encoders)
        for path in sorted(part.iterdir())
        if path.is_file() and (path.suffix in SHARED_SUFFIXES or path.name == PICTURE) and path.name not in KEPT_BACK
    }


def push_folder(
    api: HfApi,
    repo_id: str,
    folder: str | Path,
    message: str,
    revision: str | None = None,
    in_background: bool = False,
    removed: Sequence[str] = (),
) -> "CommitInfo | Future[CommitInfo]":
    """Upload a saved model in one commit."""
    files = shared_files(folder)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=path.read_bytes()) for name, path in files.items()
    ]
    operations += [CommitOperationDelete(path_in_repo=name) for name in removed if name not in files]
    return api.create_commit(
        repo_id, operations, commit_message=message, revision=revision, run_as_future=in_background
    )


class HubPushCallback(TrainerCallback):
    """Pushes every saved checkpoint, one commit each, so that every commit loads, in place of Trainer's own pushes."""

    def __init__(
        self,
        repo_id: str,
        token: str | None = None,
        revision: str | None = None,
        stop: StopSignalCallback | None = None,
    ) -> None:
        self.repo_id, self.revision, self.stop = repo_id, revision, stop
        self.api = HfApi(token=token)
        self._running: tuple[str, Future[CommitInfo]] | None = None

    def wait(self) -> None:
        """Wait for the push under way, if any, and report it if it failed."""
        if self._running is None:
            return
        (message, future), self._running = self._running, None
        error = future.exception()
        if error is not None:
            logger.error("The push %r to %s failed and is left out: %s", message, self.repo_id, error)

    def on_train_begin(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Keep Trainer from pushing checkpoints itself: without their code, with its pickled arguments."""
        self._strategy, args.hub_strategy = args.hub_strategy, HubStrategy.END

    def on_save(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Push the checkpoint just saved, after the one before has arrived; nothing while a signal stops training."""
        if not state.is_world_process_zero or (self.stop is not None and self.stop.stopped):
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        message = f"Training in progress, step {state.global_step}"
        self.wait()
        try:
            stale = self._told_of_other_weights()
        except NETWORK_ERRORS as error:
            logger.error("The push %r to %s failed and is left out: %s", message, self.repo_id, error)
            return
        future = push_folder(self.api, self.repo_id, folder, message, self.revision, True, stale)
        self._running = (message, future)

    def _told_of_other_weights(self) -> list[str]:
        try:
            present = self.api.list_repo_files(self.repo_id, revision=self.revision)
        except RevisionNotFoundError:  # a branch that is not there (any more): there is nothing on it
            return []
        return [name for name in TOLD if name in present]

    def on_train_end(self, args: Args, state: State, control: Control, **kwargs: Any) -> None:
        """Wait for the last push."""
        self.wait()
        args.hub_strategy = self._strategy
