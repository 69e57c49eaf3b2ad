"""What every training here shares: order and chance that repeat, exact resumption, safe sharing."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import CommitInfo, HfApi, ModelCard
from torch import nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import HubStrategy, IntervalStrategy, SaveStrategy, TrainOutput

from speech_emotion.files import write_json, write_text

from .clip_split import ClipSplit
from .epoch_table import Column, EpochTableCallback
from .hub_push import HubPushCallback, push_folder
from .launch import check_launch
from .sampler import LengthGroupedSampler
from .stop_signal import StopSignalCallback

logger = logging.getLogger(__name__)

Augmentation = Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]

PICKLED_ARGUMENTS = "training_args.bin"


class ReproducibleTrainer(Trainer):
    """A `Trainer` whose runs can be repeated, resumed and shared exactly."""

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        train_dataset: ClipSplit,
        eval_dataset: ClipSplit,
        *,
        columns: Sequence[Column],
        augmentations: Sequence[Augmentation] = (),
        callbacks: list[TrainerCallback] | None = None,
        **kwargs: Any,
    ) -> None:
        check_launch(args)
        check_order(args)
        if args.label_smoothing_factor:
            raise ValueError(
                "label_smoothing_factor would replace the model's own loss; leave it at 0. Models of emotions have a "
                "label_smoothing of their own (--label_smoothing)."
            )
        self.stop, self.augmentations = StopSignalCallback(), list(augmentations)
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            callbacks=[self.stop, MissedEvaluationCallback(self), *(callbacks or [])],
            **kwargs,
        )
        if self.model_accepts_loss_kwargs:
            raise ValueError(
                f"{type(model).__name__} must set accepts_loss_kwargs = False, or Trainer scales its loss wrongly "
                "under gradient accumulation and with several processes."
            )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.add_callback(EpochTableCallback(columns))
        if args.push_to_hub and self.is_world_process_zero():
            if args.hub_revision:  # now, not after the training, if it cannot be made
                HfApi(token=args.hub_token).create_branch(self.hub_model_id, branch=args.hub_revision, exist_ok=True)
            if args.hub_strategy == HubStrategy.EVERY_SAVE:
                self.add_callback(HubPushCallback(self.hub_model_id, args.hub_token, args.hub_revision, self.stop))
        self._seeded_step, self._micro_step = -1, 0
        # What is saved beside the weights, in every checkpoint: by name of the file, what JSON holds.
        self.records: dict[str, Any] = {}

    # Order and dropout -------------------------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: ClipSplit | None = None) -> Sampler[int]:
        train_dataset = self.train_dataset if train_dataset is None else train_dataset
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        joint_batch = self.args.train_batch_size * self.args.world_size
        self._train_sampler = LengthGroupedSampler(train_dataset.num_frames, joint_batch, seed)
        return self._train_sampler

    def _get_eval_sampler(self, eval_dataset: ClipSplit | None) -> Sampler[int] | None:
        # Whatever the arguments say: scores are told of the clips in the order of their data set. Several processes
        # get theirs shared out by Accelerate, which brings them back into it.
        if eval_dataset is None or self.args.world_size > 1:
            return None
        return SequentialSampler(eval_dataset)

    def training_step(self, model: nn.Module, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Run one forward and backward pass, its dropout seeded by (seed, step, pass within the step, process)."""
        step = self.state.global_step
        self._micro_step = self._micro_step + 1 if step == self._seeded_step else 0
        self._seeded_step = step
        place = [self.args.seed, step, self._micro_step, self.args.process_index]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))
        return super().training_step(model, inputs, *args, **kwargs)

    def compute_loss(self, model: nn.Module, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss, in training of an augmented batch; `training_step` has seeded the chances."""
        if model.training:
            for augment in self.augmentations:
                inputs = augment(inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, and end a training whose loss is not finite."""
        if not math.isfinite(logs.get("loss", 0.0)):
            raise FloatingPointError(
                f"The training loss is {logs['loss']} at step {self.state.global_step}. Lower the learning rate, or "
                "look for broken clips."
            )
        super().log(logs, *args, **kwargs)

    # Resumption --------------------------------------------------------------------------------------------------

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # Trainer looks whether to stop only after a step; but an evaluation made up for may have ended the training,
        # and a run stopped at its very last step has none left.
        if not self.control.should_training_stop and self.state.global_step < self.state.max_steps:
            # Accelerate does not reach the sampler of a loader whose first batches are skipped.
            self._train_sampler.set_epoch(int(kwargs["epoch"]))
            super()._run_epoch(*args, **kwargs)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> TrainOutput:
        # With a limit of 1 Trainer ends by removing all checkpoints but the best: after a stop, the one to go on from.
        limit = self.args.save_total_limit
        self.args.save_total_limit = None if self.stop.stopped else limit
        try:
            return super()._finalize_training(*args, **kwargs)
        finally:
            self.args.save_total_limit = limit

    def evaluate_if_missed(self) -> None:
        """Evaluate now if the checkpoint resumed from was saved by a stop at a step that an evaluation was due at."""
        step, state = self.state.global_step, self.state
        # Trainer takes the last step of all for the end of an epoch, even within one.
        at_epoch_end = step > 0 and (float(state.epoch).is_integer() or step >= state.max_steps)
        delay = self.args.eval_delay
        due = {
            IntervalStrategy.EPOCH: at_epoch_end and delay <= state.epoch,
            IntervalStrategy.STEPS: step >= max(1, delay) and bool(state.eval_steps) and step % state.eval_steps == 0,
        }
        if not due.get(self.args.eval_strategy, False) or any(
            "eval_loss" in entry and entry["step"] == step for entry in state.log_history
        ):
            return
        saves = {
            SaveStrategy.EPOCH: at_epoch_end,
            SaveStrategy.STEPS: bool(state.save_steps) and step % state.save_steps == 0,
        }
        self.control.should_evaluate = True
        self.control.should_save = saves.get(self.args.save_strategy, False)
        self._maybe_log_save_evaluate(
            self._tr_loss, None, self.model_wrapped, None, self.state.epoch, None, time.time()
        )

    def out_of_patience(self) -> bool:
        """Tell whether the training resumed from had already been ended by early stopping."""
        return any(
            callback.early_stopping_patience_counter >= callback.early_stopping_patience
            for callback in self.callback_handler.callbacks
            if isinstance(callback, EarlyStoppingCallback)
        )

    def find_best_checkpoint(self) -> None:
        """Find the best checkpoint where it lies now: its folder may have been moved since it was noted."""
        noted = self.state.best_model_checkpoint
        if noted is None or Path(noted).is_dir():
            return
        place = Path(self.args.output_dir) / Path(noted).name
        if place.is_dir():
            self.state.best_model_checkpoint = str(place)
        elif self.args.load_best_model_at_end:
            raise FileNotFoundError(
                f"The best checkpoint so far, {place.name}, is not in {place.parent}. Bring it back, or start anew."
            )

    def leave_mixed_precision(self) -> None:
        """Compute in float32 from here on, as whoever loads the saved model does, however it was trained."""
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)

    # Saving and sharing ------------------------------------------------------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        super()._save(output_dir, state_dict)
        folder = Path(output_dir if output_dir is not None else self.args.output_dir)
        (folder / PICKLED_ARGUMENTS).unlink(missing_ok=True)
        for name, record in self.records.items() if self.args.should_save else ():
            write_json(folder / name, record)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Do nothing: `HubPushCallback` pushes the checkpoint, with its code."""

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> CommitInfo | None:
        """Push what lies saved in the output folder: weights, configuration, code and card."""
        private = kwargs.pop("private", None)
        if kwargs or not blocking:
            raise TypeError(f"push_to_hub takes no {', '.join(kwargs) or 'blocking=False'}.")
        if not self.is_world_process_zero():
            return None
        token = token if token is not None else self.args.hub_token
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        return push_folder(
            HfApi(token=token),
            self.hub_model_id,
            self.args.output_dir,
            commit_message or "End of training",
            revision if revision is not None else self.args.hub_revision,
        )

    def push_with_card(self, make_card: Callable[[str, str], ModelCard]) -> None:
        """Push what lies saved in the output folder, then a card that names the commit it was pushed in."""
        commit = self.push_to_hub()
        write_text(Path(self.args.output_dir) / "README.md", str(make_card(self.hub_model_id, commit.oid)))
        final = push_folder(
            HfApi(token=self.args.hub_token),
            self.hub_model_id,
            self.args.output_dir,
            "Model card",
            self.args.hub_revision,
        )
        logger.info("Pushed to %s", final.repo_url)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and feature extractor, with their code; pushing is `push_to_hub`'s work."""
        super().save_model(output_dir, _internal_call=True)


def check_order(args: TrainingArguments) -> None:
    """Refuse arguments that would leave clips out of an evaluation or change their order."""
    if args.train_sampling_strategy != "random":
        raise ValueError(
            f"train_sampling_strategy {args.train_sampling_strategy!r} is not heeded here: clips of like length "
            "always come together, in an order that the seed decides. Leave it out."
        )
    if args.push_to_hub and args.hub_strategy not in (HubStrategy.EVERY_SAVE, HubStrategy.END):
        raise ValueError(
            f"hub_strategy {HubStrategy(args.hub_strategy).value!r} would upload the state of the training, which is "
            "pickled; choose every_save or end."
        )
    if args.dataloader_drop_last:
        raise ValueError("dataloader_drop_last would leave clips out of every evaluation, too. Leave it out.")
    if args.prediction_loss_only:
        raise ValueError("prediction_loss_only would leave an evaluation without scores to measure. Leave it out.")


class MissedEvaluationCallback(TrainerCallback):
    """Makes up, when training is resumed, for an evaluation that a stop left out."""

    def __init__(self, trainer: ReproducibleTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate before the first epoch, if the step resumed from lacks an evaluation; end what had ended."""
        self.trainer.find_best_checkpoint()
        self.trainer.evaluate_if_missed()
        if self.trainer.out_of_patience():
            control.should_training_stop = True


__all__ = ["Augmentation", "ReproducibleTrainer"]
