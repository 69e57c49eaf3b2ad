"""One model for many callers: what they ask for while it computes is computed together next."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

from modeling_ser.pipeline_ser import batches_of_like_length

from .clip_scores import logits_of

if TYPE_CHECKING:
    from modeling_ser import SERPipeline

Job = tuple[Sequence[np.ndarray], "Future[torch.Tensor]"]


class SharedModel:
    """Computes the logits of clips for several threads, in the order in which they ask, some of them together.

    Nobody waits for a batch to fill: a caller who finds the model idle is served at once, and those who come meanwhile
    are the next batch. Clips of unlike length are not padded to each other.

    Args:
        classifier: The pipeline of a saved model.
        batch_size: Clips that are taken together; one caller's own may be more.
        tell: Is called with the number of clips of each batch that was computed.

    Example:
        >>> shared = SharedModel(classifier, batch_size=8)  # doctest: +SKIP
        >>> shared.logits([samples]).shape  # from any thread  # doctest: +SKIP
        torch.Size([1, 7])
    """

    def __init__(
        self, classifier: "SERPipeline", batch_size: int = 8, tell: Callable[[int], object] = lambda clips: None
    ) -> None:
        self.classifier, self.batch_size, self.tell = classifier, batch_size, tell
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._open, self._lock = True, threading.Lock()
        self._thread = threading.Thread(target=self._work, name="shared model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still computes."""
        return self._thread.is_alive()

    def submit(self, clips: Sequence[np.ndarray]) -> "Future[torch.Tensor]":
        """Ask for the logits, (clips, num_labels), of clips, each (samples,); cancel what is no longer wanted.

        Raises:
            RuntimeError: It is closed.
        """
        future: Future[torch.Tensor] = Future()
        with self._lock:
            if not self._open:
                raise RuntimeError("This model is closed and computes nothing more.")
            self._jobs.put((clips, future))
        return future

    def logits(self, clips: Sequence[np.ndarray]) -> torch.Tensor:
        """Wait for the logits, (clips, num_labels), of clips, each (samples,)."""
        return self.submit(clips).result()

    def close(self) -> None:
        """Compute what was asked for so far, and end."""
        with self._lock:
            self._open = False
            self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        batch: list[Job | None] = []
        while None not in batch:
            batch = [self._jobs.get()]
            while None not in batch and sum(len(job[0]) for job in batch) < self.batch_size and not self._jobs.empty():
                batch.append(self._jobs.get())
            wanted = [job for job in batch if job is not None and job[1].set_running_or_notify_cancel()]
            try:
                self._compute(wanted)
            except Exception:  # of one of them, for which the others are not to suffer
                for job in wanted:
                    try:
                        self._compute([job])
                    except Exception as error:
                        job[1].set_exception(error)

    def _compute(self, jobs: Sequence[Job]) -> None:
        clips = list(chain.from_iterable(clips for clips, _ in jobs))
        rows: dict[int, torch.Tensor] = {}
        for batch in batches_of_like_length(clips, self.batch_size):
            found = logits_of(self.classifier, [clip for _, clip in batch])  # (batch, num_labels)
            rows |= zip((place for place, _ in batch), found, strict=True)
            self.tell(len(batch))
        first = 0
        for own, future in jobs:
            future.set_result(torch.stack([rows[place] for place in range(first, first + len(own))]))
            first += len(own)
