"""The one Trainer behind every training here: order and chance that repeat, exact resumption, safe sharing."""

import inspect
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from huggingface_hub import CommitInfo, HfApi, ModelCard
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import HubStrategy, IntervalStrategy, SaveStrategy, seed_worker

from modeling_ser.checkpoint_files import writing
from speech_emotion.files import write_json, write_text
from speech_emotion.terminal import quiet_unless_terminal

from .batches import LengthGroupedSampler, NoLoneItem
from .callbacks import FewEpochs, StopSignalCallback
from .hub_push import HubPushCallback, push_folder
from .task import TrainingTask

logger = logging.getLogger(__name__)

PICKLED_ARGUMENTS = "training_args.bin"

# Arguments of Trainer that have one value here, and what another would do.
FIXED_ARGUMENTS = {
    "train_sampling_strategy": ("random", "clips of like length always come together, in an order of the seed's"),
    "dataloader_drop_last": (False, "it would leave clips out of every evaluation, too"),
    "prediction_loss_only": (False, "it would leave an evaluation without scores to measure"),
    "label_smoothing_factor": (0.0, "it would replace the model's own loss; emotions have --label_smoothing"),
}
# What is used of Trainer beyond what it documents, with the arguments that are passed or read by name. Everything else
# goes through methods, callbacks and settings that are meant for it.
PRIVATE_PARTS = {
    # To train no step more where a run was stopped at its very last, and to tell the sampler of the epoch.
    "_run_epoch": ("epoch",),
    # To make up for an evaluation, with what follows from it: the best checkpoint, and a save.
    "_maybe_log_save_evaluate": (
        "tr_loss", "grad_norm", "model", "trial", "epoch", "ignore_keys_for_eval", "start_time",
    ),
}  # fmt: skip


def check_private_parts(trainer: type = Trainer) -> None:
    """Assert that Trainer still has what `PRIVATE_PARTS` names."""
    for name, arguments in PRIVATE_PARTS.items():
        part = getattr(trainer, name, None)
        if part is None or not set(arguments) <= set(inspect.signature(part).parameters):
            raise RuntimeError(
                f"transformers {transformers.__version__} has no Trainer.{name}({', '.join(arguments)}) that exact "
                "resumption could use. Install a release between 5.23 and this one."
            )


class TaskTrainer(Trainer):
    """A `Trainer` of a task, whose runs can be repeated, resumed and shared exactly."""

    # `compute_loss` gives a batch's mean, whatever arguments the network's `forward` takes.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        task: TrainingTask,
        network: nn.Module,
        args: TrainingArguments,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        check_private_parts()
        check_arguments(args)
        self.task, self.augmentations = task, task.augmentations(network)
        super().__init__(
            model=network,
            args=args,
            train_dataset=task.train,
            eval_dataset=task.validation,
            data_collator=task.collator,
            compute_metrics=task.metrics,
            processing_class=task.processing_class,
            callbacks=list(callbacks),
        )
        # Counted now: what learns beside the weights is merged into them in the end.
        self.num_parameters = sum(one.numel() for one in network.parameters() if one.requires_grad)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        seed = args.seed if args.data_seed is None else args.data_seed
        variants = len(getattr(task.train, "variants", ()))
        size = args.train_batch_size * args.world_size
        self.sampler = LengthGroupedSampler(task.train.num_frames, size, seed, variants)
        if args.push_to_hub and self.is_world_process_zero():
            if args.hub_revision:  # now, not after the training, if it cannot be made
                HfApi(token=args.hub_token).create_branch(self.hub_model_id, branch=args.hub_revision, exist_ok=True)
            if args.hub_strategy == HubStrategy.EVERY_SAVE:
                stop = next((one for one in callbacks if isinstance(one, StopSignalCallback)), None)
                self.add_callback(HubPushCallback(self.hub_model_id, args.hub_token, args.hub_revision, stop))
        self._seeded_step, self._micro_step = -1, 0
        # What is saved beside the weights, in every checkpoint: by name of the file, what JSON holds.
        self.records: dict[str, Any] = {}

    # Order and chance --------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """Load training batches in the sampler's order; Trainer itself loads all others in their own."""
        # Trainer's own batch size is smaller once `auto_find_batch_size` has found one that fits.
        args, size = self.args, getattr(self, "_train_batch_size", self.args.train_batch_size)
        if self.task.lone_items:
            order: dict[str, Any] = {"batch_size": size, "sampler": self.sampler}
        else:
            order = {"batch_sampler": NoLoneItem(self.sampler, size, drop_last=False)}
        return self.accelerator.prepare(
            DataLoader(
                self.train_dataset,
                collate_fn=self.data_collator,
                num_workers=args.dataloader_num_workers,
                pin_memory=args.dataloader_pin_memory,
                persistent_workers=args.dataloader_persistent_workers,
                prefetch_factor=args.dataloader_prefetch_factor,
                multiprocessing_context=args.dataloader_multiprocessing_context,
                in_order=args.dataloader_in_order,
                worker_init_fn=partial(seed_worker, num_workers=args.dataloader_num_workers, rank=args.process_index),
                **order,
            )
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the task's optimizer, or the one that the arguments name."""
        if self.optimizer is None:
            self.optimizer = self.task.make_optimizer(self.model if model is None else model)
        return super().create_optimizer(model)

    def training_step(self, model: nn.Module, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Run one forward and backward pass, its dropout seeded by (seed, step, pass within the step, process)."""
        step = self.state.global_step
        self._micro_step = self._micro_step + 1 if step == self._seeded_step else 0
        self._seeded_step = step
        place = [self.args.seed, step, self._micro_step, self.args.process_index]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))
        with self.task.arithmetic():
            return super().training_step(model, inputs, *args, **kwargs)

    def compute_loss(self, model: nn.Module, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss of an augmented batch; `training_step` has seeded the chances."""
        for augment in self.augmentations:
            inputs = augment(inputs)
        return self.task.forward(model, inputs)[0]

    def prediction_step(self, model: nn.Module, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Compute a batch's loss and scores."""
        with torch.no_grad(), self.compute_loss_context_manager(), self.task.arithmetic():
            loss, scores = self.task.forward(model, inputs)
        return loss.detach().mean(), scores, inputs["labels"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, and end a training whose loss is not finite."""
        if not math.isfinite(logs.get("loss", 0.0)):
            raise FloatingPointError(
                f"The training loss is {logs['loss']} at step {self.state.global_step}. Lower the learning rate, or "
                "look for broken clips."
            )
        super().log(logs, *args, **kwargs)

    # Resumption --------------------------------------------------------------------------------------------------

    def train(self, resume_from_checkpoint: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train, from the beginning or from a checkpoint."""
        if resume_from_checkpoint is not None:
            self.add_callback(ResumptionCallback(self, Path(resume_from_checkpoint)))
        source = logging.getLogger("transformers.trainer_utils")
        source.addFilter(_worth_telling)
        try:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        finally:
            source.removeFilter(_worth_telling)
            quiet_unless_terminal()  # Trainer switches the Hub's bars on after a training that pushes, whoever watches

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # Trainer looks whether to stop only after a step; but an evaluation made up for may have ended the training,
        # and a run stopped at its very last step has none left.
        if not self.control.should_training_stop and self.state.global_step < self.state.max_steps:
            # Accelerate does not reach the sampler of a loader whose first batches are skipped.
            self.sampler.set_epoch(int(kwargs["epoch"]))
            super()._run_epoch(*args, **kwargs)

    def evaluate_if_missed(self) -> None:
        """Evaluate now if the checkpoint resumed from was saved by a stop at a step that an evaluation was due at."""
        step, state = self.state.global_step, self.state
        # Trainer takes the last step of all for the end of an epoch, even within one.
        at_epoch_end = step > 0 and (float(state.epoch).is_integer() or step >= state.max_steps)
        few = (one for one in self.callback_handler.callbacks if isinstance(one, FewEpochs))
        at_epoch_end = at_epoch_end and all(one.counts(state) for one in few)
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
            tr_loss=torch.tensor(0.0, device=self.args.device),
            grad_norm=None,
            model=self.model_wrapped,
            trial=None,
            epoch=state.epoch,
            ignore_keys_for_eval=None,
            start_time=time.time(),
        )

    # Saving and sharing ------------------------------------------------------------------------------------------

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and feature extractor, with their code; pushing is `push_to_hub`'s work."""
        folder = Path(self.args.output_dir if output_dir is None else output_dir)
        with writing(folder):
            super().save_model(output_dir, _internal_call=True)
            if self.args.should_save:
                (folder / PICKLED_ARGUMENTS).unlink(missing_ok=True)
                self.task.save_state(self.model, folder)
                for name, record in self.records.items():
                    write_json(folder / name, record)

    def push_to_hub(self, commit_message: str | None = "End of training") -> CommitInfo | None:
        """Push what lies saved in the output folder: weights, configuration, code and card, and nothing else."""
        if not self.is_world_process_zero():
            return None
        if self.hub_model_id is None:
            self.init_hf_repo(token=self.args.hub_token)
        api, place = HfApi(token=self.args.hub_token), self.args.output_dir
        return push_folder(api, self.hub_model_id, place, str(commit_message), self.args.hub_revision)

    def push_with_card(self, make_card: Callable[[str, str], ModelCard]) -> None:
        """Push what lies saved in the output folder, then a card that names the commit it was pushed in."""
        commit = self.push_to_hub()
        write_text(Path(self.args.output_dir) / "README.md", str(make_card(self.hub_model_id, commit.oid)))
        logger.info("Pushed to %s", self.push_to_hub("Model card").repo_url)


def check_arguments(args: TrainingArguments) -> None:
    """Refuse arguments that would not do here what they are for."""
    for name, (only, why) in FIXED_ARGUMENTS.items():
        if getattr(args, name) != only:
            raise ValueError(f"{name} cannot be {getattr(args, name)!r}: {why}. Leave it out.")
    if args.push_to_hub and args.hub_strategy not in (HubStrategy.EVERY_SAVE, HubStrategy.END):
        raise ValueError(
            f"hub_strategy {HubStrategy(args.hub_strategy).value!r} would upload the state of the training, which is "
            "pickled; choose every_save or end."
        )


class ResumptionCallback(TrainerCallback):
    """Brings back what Trainer does not, and makes up for an evaluation that a stop left out."""

    def __init__(self, trainer: TaskTrainer, checkpoint: Path) -> None:
        self.trainer, self.checkpoint = trainer, checkpoint

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Load the task's state, evaluate where that was missed, and end what early stopping had ended."""
        self.trainer.task.load_state(self.trainer.model, self.checkpoint)
        self._find_best_checkpoint(args, state)
        self.trainer.evaluate_if_missed()
        control.should_training_stop |= any(
            callback.early_stopping_patience_counter >= callback.early_stopping_patience
            for callback in self.trainer.callback_handler.callbacks
            if isinstance(callback, EarlyStoppingCallback)
        )

    def _find_best_checkpoint(self, args: TrainingArguments, state: TrainerState) -> None:
        """Find the best checkpoint where it lies now: its folder may have been moved since it was noted."""
        told = json.loads((self.checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        noted = told.get("best_model_checkpoint")
        if noted is None or Path(noted).is_dir():
            return
        place = Path(args.output_dir) / Path(noted).name
        if place.is_dir():
            state.best_model_checkpoint = str(place)
        elif args.load_best_model_at_end:
            raise FileNotFoundError(
                f"The best checkpoint so far, {place.name}, is not in {place.parent}. Bring it back, or start anew."
            )


def _worth_telling(record: logging.LogRecord) -> bool:
    """Keep back that checkpoints of one second have no order by time: Trainer takes their steps, which is right."""
    return not record.getMessage().startswith("mtime may not be reliable")
