"""A model for use: trained on all speakers, for as long as a validated run before it showed to be best."""

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, PredictionOutput, SaveStrategy

from dataset_scripts import Fold
from modeling_ser import SERForAudioClassification
from speech_emotion.files import write_json

from .card import RunReport, draw_confusions
from .emotion_task import EmotionTask
from .launch import find_checkpoint
from .run_record import RESULTS_FILE, RUN_FILE, differences, switched_on
from .splits import Splits, name_unknown_speakers
from .task import COMMON_COLUMNS, TrainingResult, TrainingTask
from .training_arguments import SERTrainingArguments

VALIDATED = "validated"  # the folder, within that of the final model, of the run before it
OF_THE_FOLD = ("scheme", "num_folds", "fold")  # settings that a training on everybody has not
PARTS = ("train", "validation", "test")


class FinalTask(EmotionTask):
    """Emotions of all clips of a corpus, after a run that left speakers out to validate and to test.

    The schedule is that of the validated run, and stops where its best epoch was: after as many epochs, or, where the
    schedule is told in steps, after as many steps. If that run kept its last epoch, validation had nothing to choose.
    """

    columns = COMMON_COLUMNS[:2]
    followed = ()
    validated_as: ClassVar[type[EmotionTask]] = EmotionTask

    def runs(self, training: SERTrainingArguments) -> Iterator[tuple[TrainingTask, SERTrainingArguments]]:
        """Yield the validated run, unless one is named or was finished before, and then the final one."""
        self.asked = training
        place = Path(self.data.final)
        if self.data.final.lower() == "true":
            place = Path(training.output_dir, VALIDATED)
            resumed = training.resume_from_checkpoint
            if isinstance(resumed, str):
                raise ValueError("--final true are two runs; resume them with --resume_from_checkpoint true.")
            if not resumed and not training.overwrite_output_dir:
                find_checkpoint(training.output_dir, None)  # whose error would come after the first run
            if not (resumed and (place / RESULTS_FILE).is_file()):
                first = copy.copy(training)
                first.output_dir, first.push_to_hub = str(place), False
                first.resume_from_checkpoint = any(place.glob("checkpoint-*")) if resumed else None
                yield self.validated_as(replace(self.data, final=None), self.model), first
            if resumed and not any(Path(training.output_dir).glob("checkpoint-*")):
                training = copy.copy(training)
                training.resume_from_checkpoint = None
        with training.main_process_first(local=False, desc="the validated run"):  # which that one writes
            self.validated, self._identity = read_finished(place)
        settings = super().settings(self.asked)
        found, asked = (switched_on(_whoever(one)) for one in (self.validated.arguments, settings))
        self._check(place, found, asked)
        self.callbacks = (StopWhereBest(self.validated),)
        yield self, _without_validation(training)

    def _check(self, place: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
        if changes := list(differences(found, asked)):
            raise ValueError(
                f"{place} was trained otherwise than what is asked for here: {'; '.join(changes)}. What it validated "
                "would not be of the final model: say what was said there, or --final true."
            )

    def prepare(self, training: TrainingArguments) -> None:
        """Read corpus and features, and hold them against the validated run's."""
        if not hasattr(self, "validated"):
            raise ValueError("A final model is saved: run_training(task, training), without save=False.")
        super().prepare(training)
        of_run = {name: value for name, value in self.identity().items() if name not in PARTS}
        found = {name: self._identity.get(name) for name in of_run}
        self._check(Path(self.data.final), found, of_run)
        self.validation, self.scored = None, {}

    def _choose_fold(self) -> Fold:
        self.rows = name_unknown_speakers(self.rows)
        return Fold(train=tuple(self.rows["id"][:]), validation=(), test=(), name="all speakers")

    def _make_splits(self, labels: list[str], variants: list[Any], **how: Any) -> Splits:
        return super()._make_splits(labels, variants, tested=False, **how)

    def calibrate(self, network: SERForAudioClassification, outputs: dict[str, PredictionOutput]) -> None:
        """Take the temperature of the validated run: it was fitted on speakers whom that had not heard."""
        network.config.temperature = self.validated.temperature

    def description(self) -> str:
        """Say in words who trains, and until when."""
        return "\n".join([*super().description().split("\n")[:2], f"  {until(self.validated)}"])

    def settings(self, training: TrainingArguments) -> dict[str, Any]:
        """Return what distinguishes one run from another: what was asked for, but for the fold."""
        return _whoever(super().settings(self.asked))

    def report(self, result: TrainingResult, settings: dict[str, Any], stages: list[dict[str, Any]]) -> RunReport:
        """Tell what was trained, and what the run before it measured."""
        return replace(super().report(result, settings, stages), validated=self.validated)

    def write(self, report: RunReport, result: TrainingResult, folder: Path) -> None:
        """Write the report; there is no fold, and no clip that was not learned."""
        write_json(folder / RESULTS_FILE, asdict(report))
        draw_confusions(report, folder)


class StopWhereBest(TrainerCallback):
    """Ends a training where the best epoch of another with the same schedule was."""

    def __init__(self, validated: RunReport) -> None:
        self.epoch, self.step = validated.kept_epoch, validated.kept_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop at the step, or at the end of the epoch, whichever of the two the schedule is told in."""
        reached = state.global_step >= self.step if args.max_steps > 0 else state.epoch >= self.epoch - 1e-6
        control.should_training_stop |= reached


def until(validated: RunReport) -> str:
    """Say in words how long the final model is trained."""
    in_steps = validated.arguments["max_steps"] > 0
    length = f"{validated.kept_step} steps" if in_steps else f"{validated.kept_epoch:g} epochs"
    if validated.arguments["load_best_model_at_end"]:
        return f"for {length}: there the validation speakers of {validated.fold} were recognized best"
    return f"for {length}, as the run validated on {validated.fold}"


def read_finished(folder: Path) -> tuple[RunReport, dict[str, Any]]:
    """Read what a finished run measured, and whose clips and features it is of."""
    for name in (RESULTS_FILE, RUN_FILE, "config.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}, so it is no finished run of train.py; --final true makes one."
            )
    report = RunReport.from_dict(json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8")))
    if report.validated is not None:
        raise ValueError(f"{folder} is itself a final model, which nobody validated. Name the run before it.")
    if report.kept_epoch is None:
        raise ValueError(f"{folder} does not tell which epoch it kept: an earlier version trained it. Train it again.")
    return report, json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))


def _whoever(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in OF_THE_FOLD}


def _without_validation(training: SERTrainingArguments) -> SERTrainingArguments:
    """Take arguments for a training that nobody is left to evaluate."""
    final = copy.copy(training)
    final.eval_strategy, final.load_best_model_at_end = IntervalStrategy.NO, False
    if final.save_strategy == SaveStrategy.BEST:
        final.save_strategy = SaveStrategy.EPOCH
    return final
