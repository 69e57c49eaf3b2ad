"""What a person sees of a training: a bar at a terminal, and a line per evaluation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments

from speech_emotion.progress import is_terminal


class Column(NamedTuple):
    """A column of the table."""

    key: str
    title: str
    form: str


COMMON_COLUMNS = (
    Column("epoch", "epoch", "{:6.1f}"),
    Column("loss", "train loss", "{:10.4f}"),
    Column("eval_loss", "val. loss", "{:9.4f}"),
)
EMOTION_COLUMNS = (
    *COMMON_COLUMNS,
    Column("eval_wa", "val. WA", "{:7.1%}"),
    Column("eval_ua", "val. UA", "{:7.1%}"),
)


class EpochTableCallback(ProgressCallback):
    """Prints a line per evaluation on validation speakers, and a bar where a terminal shows it.

    >>> EpochTableCallback(EMOTION_COLUMNS).header()
    ' epoch  train loss  val. loss  val. WA  val. UA'
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self._loss: float | None = None
        self._started = False

    def header(self) -> str:
        """Return the titles of the columns."""
        return "  ".join(title.rjust(len(form.format(0))) for _, title, form in self.columns)

    def _print(self, line: str) -> None:
        if self.training_bar is not None:
            self.training_bar.write(line)
        else:
            print(line, flush=True)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar, at a terminal."""
        if is_terminal() and not args.disable_tqdm:
            super().on_train_begin(args, state, control, **kwargs)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar."""
        if self.training_bar is not None:
            super().on_step_end(args, state, control, **kwargs)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show no bar for evaluations, which take a moment."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Print a line when an evaluation is logged."""
        logs = logs or {}
        self._loss = logs.get("loss", self._loss)
        if not state.is_world_process_zero or "eval_loss" not in logs:
            return
        if not self._started:
            self._print(self.header())
            self._started = True
        values = {**logs, "loss": self._loss}
        self._print(
            "  ".join(
                form.format(values[key]) if values.get(key) is not None else "-".rjust(len(form.format(0)))
                for key, _, form in self.columns
            )
        )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self.training_bar is not None:
            super().on_train_end(args, state, control, **kwargs)


__all__ = ["COMMON_COLUMNS", "EMOTION_COLUMNS", "Column", "EpochTableCallback"]
