"""One training from beginning to end, whatever is learned."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from modeling_ser.checkpoint_files import writing
from speech_emotion.files import write_text
from speech_emotion.terminal import is_terminal, quiet_unless_terminal, say

from .callbacks import BarCallback, BestWeights, EpochTableCallback, FewEpochs, StopSignalCallback
from .card import place_on_card
from .launch import check_launch, prepare_folder, sole_training
from .run_record import RESTORED_SETTINGS, RUN_FILE, STAGES_FILE, check_same_run, stages_so_far
from .task import TrainingResult, TrainingTask
from .trainer import TaskTrainer
from .training_arguments import SERTrainingArguments


def run_training(
    task: TrainingTask,
    training: SERTrainingArguments,
    save: bool = True,
    callbacks: list[TrainerCallback] | None = None,
) -> TrainingResult:
    """Train a network, keep the epoch that is best on the validation data, and score.

    Saved, the output folder then holds the network with its code (`from_pretrained` and `pipeline` load it),
    `README.md` (the card), `results.json`, `fold.jsonl` (who was in which split), each clip's scores and the last
    checkpoints. On the Hub, if asked for, each checkpoint is a commit. A command line that keeps the last weights, and
    does not say when to evaluate, save or log, does so after about twenty of its epochs, evenly, and at the end.

    Args:
        task: What is learned, and from whom: `parse_arguments` makes it of a command line.
        training: Everything else.
        save: Whether the training is written to disk and told of. If not, it is evaluated after every epoch, the best
            weights wait in memory, and nothing is written or printed: so does cross-validation.
        callbacks: Further ones, as Trainer takes them.

    Returns:
        The result; on processes other than the first too.

    Raises:
        ValueError: If clips, labels, folds or settings do not fit, naming what and why.
        FileNotFoundError: If the corpus, a clip or a checkpoint is missing.
        FileExistsError: If the output folder holds another run's checkpoints.
        RuntimeError: If the launch would not do what was asked for.
        FloatingPointError: If the loss is not finite.

    Example:
        >>> from speech_emotion.training import parse_arguments, run_training
        >>> result = run_training(*parse_arguments(["--corpus", "polish"]))  # doctest: +SKIP
        >>> result.report.test.metrics["ua"]  # doctest: +SKIP
        0.5777777777777777
    """
    check_launch(training)
    if not save:
        return _train_in_memory(task, training, callbacks or [])
    if not training.should_log:
        datasets.disable_progress_bars()
    quiet_unless_terminal()
    with sole_training(training), writing(training.output_dir):
        for part, of_part in task.runs(training):
            result = _train_and_save(part, of_part, callbacks or [])
            if result.stopped:
                break
    return replace(result, output_dir=Path(training.output_dir))


def _train_in_memory(
    task: TrainingTask, training: SERTrainingArguments, callbacks: list[TrainerCallback]
) -> TrainingResult:
    task.prepare(training)
    set_seed(training.seed)
    network = task.make_network()
    best = BestWeights(
        network, training.metric_for_best_model, training.early_stopping_patience, training.greater_is_better
    )
    trainer = TaskTrainer(task, network, _without_files(training), [best, *callbacks])
    trainer.train()
    if training.load_best_model_at_end:
        best.restore()
    task.finish(network, None)
    result = _result(task, trainer, None)
    return replace(result, best_epoch=best.best_epoch if training.load_best_model_at_end else best.epochs)


def _without_files(training: SERTrainingArguments) -> SERTrainingArguments:
    """Take arguments for a training that is evaluated after every epoch and leaves nothing behind."""
    quiet = copy.copy(training)
    quiet.eval_strategy = quiet.logging_strategy = IntervalStrategy.EPOCH
    quiet.save_strategy, quiet.load_best_model_at_end, quiet.push_to_hub = SaveStrategy.NO, False, False
    quiet.report_to, quiet.disable_tqdm = [], True
    return quiet


def _train_and_save(
    task: TrainingTask, training: SERTrainingArguments, callbacks: list[TrainerCallback]
) -> TrainingResult:
    folder = Path(training.output_dir)
    checkpoint = prepare_folder(folder, training)
    task.prepare(training)
    if training.should_log:
        say(task.description())
    set_seed(training.seed)
    network = task.make_network()
    stop, patience = StopSignalCallback(), training.early_stopping_patience
    early = [EarlyStoppingCallback(patience)] if patience and training.eval_strategy != "no" else []
    few = [FewEpochs()] if training.sparse else []
    trainer = TaskTrainer(task, network, training, [stop, *early, *few, *task.callbacks, *callbacks])
    trainer.add_callback(EpochTableCallback(task.columns))
    if is_terminal() and not training.disable_tqdm:
        trainer.add_callback(BarCallback)
    identity = task.identity() | {name: getattr(training, name) for name in RESTORED_SETTINGS}
    if checkpoint is not None:
        check_same_run(checkpoint, identity)
    settings = task.settings(training)
    stages = stages_so_far(checkpoint, settings)
    trainer.records = {RUN_FILE: identity, STAGES_FILE: stages}
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finally:
        stop.leave()
    if stop.stopped:
        return TrainingResult(folder, stopped=True)

    # In float32 from here on, as whoever loads the saved model computes, however it was trained.
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    best = trainer.state.best_model_checkpoint if training.load_best_model_at_end else None
    task.finish(network, None if best is None else Path(best))
    if trainer.is_world_process_zero():  # an earlier run's, which would speak of the new weights
        for name in task.files:
            (folder / name).unlink(missing_ok=True)
    result = _result(task, trainer, folder)
    task.calibrate(network, result.outputs)
    task.save(network, folder, trainer.save_model)
    report = task.report(result, settings, stages)
    if trainer.is_world_process_zero():
        task.write(report, result, folder)
        place = training.hub_model_id or place_on_card(folder)
        write_text(folder / "README.md", str(task.card(report, place)))
        if training.push_to_hub:
            trainer.push_with_card(partial(task.card, report))
    return replace(result, report=report)


def _result(task: TrainingTask, trainer: TaskTrainer, folder: Path | None) -> TrainingResult:
    """Score what the task wants scored; every process takes part, and Trainer gathers each item's scores once."""
    history = trainer.state.log_history
    losses = {entry["step"]: entry["loss"] for entry in history if "loss" in entry}
    evaluations = [entry for entry in history if "eval_loss" in entry]
    kept = {"epoch": trainer.state.epoch, "step": trainer.state.global_step}
    if trainer.args.load_best_model_at_end:
        best = trainer.state.best_global_step
        kept = next((entry for entry in evaluations if entry["step"] == best), kept)
    return TrainingResult(
        folder,
        outputs={name: trainer.predict(data) for name, data in task.scored.items()},
        curve=[_point(entry, losses.get(entry["step"]), task.followed) for entry in evaluations],
        epochs=trainer.state.epoch,
        best_epoch=kept["epoch"],
        best_step=kept["step"],
        parameters=trainer.num_parameters,
        network=trainer.model,
    )


def _point(entry: dict[str, Any], train_loss: float | None, followed: tuple[str, ...]) -> dict[str, Any]:
    point = {"epoch": entry["epoch"], "train_loss": train_loss, "validation_loss": entry["eval_loss"]}
    return point | {f"validation_{name}": entry[f"eval_{name}"] for name in followed}
