"""A training that SIGTERM stopped and that was resumed equals one that was not, bit for bit, whatever is learned."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from feature_extraction import DeepSpeechForCTC
from speech_emotion.evaluation.error_rates import error_rates
from speech_emotion.training import EmotionTask, TaskTrainer, TrainingResult, TrainingTask, run_training
from speech_emotion.training.augmentation import Perturbation, SpecAugment
from speech_emotion.training.callbacks import FewEpochs
from speech_emotion.training.ctc_task import INPUT_LAYER
from speech_emotion.training.trainer import check_private_parts
from speech_emotion.training.training_arguments import CTCTrainingArguments
from tests.full_disk import little_room
from tests.speech_emotion.training.trainings import (
    EvaluationSteps,
    arguments,
    assert_equal_runs,
    emotion_task,
    last_checkpoint,
    recognition_task,
    signal_at,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
CHANCES = {"tempo": 0.1, "band_warp": 0.1, "time_masks": 2, "band_masks": 2}
STEPS = {"emotions": 4, "letters": 5}  # an epoch: 54 clips in batches of 16, 36 clips in batches of 8
SPARSE = {"few": 3, "num_train_epochs": 5, "load_best_model_at_end": False}
METRIC = {"emotions": "eval_ua", "letters": "eval_cer"}
Train = Callable[..., TrainingResult]


@pytest.fixture(scope="module")
def train(polish_dir: Path, spelled_dir: Path, cache_dir: Path) -> Train:
    """Run a small training, augmented and with dropout, that keeps all checkpoints."""

    def run(learned: str, folder: Path, *callbacks: Any, few: int = 0, **changes: Any) -> TrainingResult:
        task: TrainingTask = recognition_task(spelled_dir, cache_dir)
        training = arguments(folder, CTCTrainingArguments, **changes)
        if learned == "emotions":
            task, training = emotion_task(polish_dir, cache_dir, **CHANCES), arguments(folder, **changes)
        training.sparse = bool(few)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FewEpochs, "most", few or FewEpochs.most)
            return run_training(task, training, callbacks=list(callbacks))

    return run


@pytest.fixture(scope="module")
def whole(train: Train, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trainings that nobody stopped."""
    folders = {learned: tmp_path_factory.mktemp(learned) for learned in STEPS}
    for learned, folder in folders.items():
        assert not train(learned, folder).stopped
    return folders


@pytest.fixture(scope="module")
def sparse(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of five epochs, of which every second and the last are told."""
    folder = tmp_path_factory.mktemp("sparse")
    result = train("emotions", folder, **SPARSE)
    assert [point["epoch"] for point in result.curve] == [2, 4, 5] and result.best_epoch == 5
    assert {path.name for path in folder.glob("checkpoint-*")} == {f"checkpoint-{step}" for step in (8, 16, 20)}
    return folder


@pytest.mark.parametrize(
    ("learned", "event", "step", "saved"),
    [
        ("emotions", "on_step_begin", 5, 6),
        ("emotions", "on_step_begin", 3, 4),  # the last step of the first epoch, before its evaluation
        ("emotions", "on_evaluate", 4, 4),  # during that evaluation, before its save
        ("emotions", "on_epoch_begin", 4, 5),
        ("emotions", "on_step_begin", 11, 12),  # the very last step
        ("letters", "on_step_begin", 6, 7),
        ("letters", "on_step_begin", 4, 5),
    ],
)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    learned: str, event: str, step: int, saved: int, train: Train, whole: dict[str, Path], tmp_path: Path
) -> None:
    epoch = STEPS[learned]
    evaluations = EvaluationSteps()
    assert train(learned, tmp_path, signal_at(event, step), evaluations).stopped
    assert last_checkpoint(tmp_path).name == f"checkpoint-{saved}"
    due = [end for end in (epoch, 2 * epoch, 3 * epoch) if end < saved or (end == saved and event == "on_evaluate")]
    assert evaluations.steps == due  # the stop itself evaluates nothing
    assert not (tmp_path / "model.safetensors").exists()

    train(learned, tmp_path, resume_from_checkpoint=True)
    assert_equal_runs(whole[learned], tmp_path, METRIC[learned])


@pytest.mark.parametrize(("step", "saved"), [(3, 4), (5, 6), (7, 8), (9, 10), (19, 20)])
def test_a_run_of_which_few_epochs_are_told_resumes_exactly_too(
    step: int, saved: int, train: Train, sparse: Path, tmp_path: Path
) -> None:
    evaluations = EvaluationSteps()
    assert train("emotions", tmp_path, signal_at("on_step_begin", step), evaluations, **SPARSE).stopped
    assert last_checkpoint(tmp_path).name == f"checkpoint-{saved}"
    assert evaluations.steps == [end for end in (8, 16, 20) if end < saved]
    train("emotions", tmp_path, evaluations, resume_from_checkpoint=True, **SPARSE)
    assert evaluations.steps == [8, 16, 20]
    assert_equal_runs(sparse, tmp_path, "eval_ua")


def test_a_run_goes_on_from_the_older_checkpoint_where_the_newest_is_cut(
    train: Train, whole: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(whole["emotions"], tmp_path, dirs_exist_ok=True)
    state = last_checkpoint(tmp_path) / "trainer_state.json"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"trainer_state\.json is damaged"):
        train("emotions", tmp_path, resume_from_checkpoint=True)
    assert_equal_runs(whole["emotions"], tmp_path, METRIC["emotions"])


def test_a_full_disk_is_told_by_the_file_that_did_not_fit(train: Train, tmp_path: Path) -> None:
    with little_room(20_000), pytest.raises(OSError, match=rf"{tmp_path}.*checkpoint-4.* could not be written whole"):
        train("emotions", tmp_path)


def test_patience_that_runs_out_in_the_evaluation_made_up_for_ends_the_training(train: Train, tmp_path: Path) -> None:
    # A learning rate of zero never improves: with patience 1 the second evaluation, at step 8, ends the training.
    never = {"learning_rate": 0.0, "early_stopping_patience": 1, "num_train_epochs": 5}
    once, parts = tmp_path / "once", tmp_path / "parts"
    train("emotions", once, **never)
    assert last_checkpoint(once).name == "checkpoint-8"
    train("emotions", parts, signal_at("on_step_begin", 7), **never)
    assert train("emotions", parts, resume_from_checkpoint=True, **never).epochs == 2
    assert_equal_runs(once, parts, "eval_ua")


def test_a_stop_keeps_its_checkpoint_though_only_the_best_may_stay(train: Train, tmp_path: Path) -> None:
    train("emotions", tmp_path, signal_at("on_step_begin", 5), save_total_limit=1)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    best = train("emotions", tmp_path, save_total_limit=1, resume_from_checkpoint=True).best_epoch
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{4 * best:g}"]


def test_accumulating_gradients_resumes_exactly_too(train: Train, tmp_path: Path) -> None:
    halves = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "num_train_epochs": 2}
    once, parts = tmp_path / "once", tmp_path / "parts"
    train("emotions", once, **halves)
    train("emotions", parts, signal_at("on_step_begin", 1), **halves)
    train("emotions", parts, resume_from_checkpoint=True, **halves)
    assert_equal_runs(once, parts, "eval_ua")


def test_every_checkpoint_of_a_recognizer_is_a_plain_model_that_keeps_its_first_layer(
    whole: dict[str, Path], train: Train, tmp_path: Path
) -> None:
    folder = whole["letters"] / "checkpoint-5"
    assert type(DeepSpeechForCTC.from_pretrained(folder).deepspeech.layer_1) is torch.nn.Linear
    assert not [path for run in whole.values() for path in run.rglob("training_args.bin")]
    # Resumed from it without the first layer as it learned, the training would go on a little otherwise.
    train("letters", tmp_path, num_train_epochs=1)
    (tmp_path / "checkpoint-5" / INPUT_LAYER).unlink()
    with pytest.raises(FileNotFoundError, match=INPUT_LAYER):
        train("letters", tmp_path, resume_from_checkpoint=True)


@pytest.mark.parametrize("strategy", ["steps", "best"])
def test_other_save_strategies_train(strategy: str, train: Train, tmp_path: Path) -> None:
    steps = {"save_steps": 2, "eval_strategy": "steps", "eval_steps": 2} if strategy == "steps" else {}
    result = train("emotions", tmp_path, num_train_epochs=2, save_strategy=strategy, **steps)
    assert result.best_epoch in (0.5, 1, 1.5, 2)


# Trainer -------------------------------------------------------------------------------------------------------------


def test_a_release_of_transformers_without_what_is_used_is_told_of() -> None:
    check_private_parts()

    class Renamed(Trainer):
        def _run_epoch(self, number: int) -> None:
            """Knows no `epoch`."""

    with pytest.raises(RuntimeError, match=r"transformers \d.* Trainer\._run_epoch\(epoch\)"):
        check_private_parts(Renamed)


def test_a_loss_that_is_not_finite_ends_the_training(polish_dir: Path, cache_dir: Path, tmp_path: Path) -> None:
    class Broken(EmotionTask):
        def make_network(self) -> torch.nn.Module:
            network = super().make_network()
            torch.nn.init.constant_(network.classifier.out_proj.bias, float("nan"))
            return network

    task = emotion_task(polish_dir, cache_dir)
    steps = arguments(tmp_path, logging_strategy="steps", logging_steps=1)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(FloatingPointError, match="training loss is nan at step 1"):
        run_training(Broken(task.data, task.model), steps)
    assert signal.getsignal(signal.SIGTERM) == before  # else a process forked later could not be ended


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_sampling_strategy": "group_by_length"}, "train_sampling_strategy"),
        ({"dataloader_drop_last": True}, "dataloader_drop_last"),
        ({"prediction_loss_only": True}, "prediction_loss_only"),
        ({"label_smoothing_factor": 0.1}, "--label_smoothing"),
        ({"push_to_hub": True, "hub_strategy": "checkpoint"}, "hub_strategy 'checkpoint'"),
        ({"push_to_hub": True, "hub_strategy": "all_checkpoints"}, "hub_strategy 'all_checkpoints'"),
    ],
)
def test_arguments_that_would_mix_up_or_share_too_much_are_refused(
    settings: dict[str, Any], message: str, polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        TaskTrainer(emotion_task(polish_dir, cache_dir), torch.nn.Linear(1, 1), arguments(tmp_path, **settings))


def test_only_training_batches_are_augmented(polish_dir: Path, cache_dir: Path, tmp_path: Path) -> None:
    seen: list[tuple[bool, bool]] = []

    class Watched(EmotionTask):
        def augmentations(self, network: torch.nn.Module) -> list[Any]:
            return [lambda batch: batch | {"input_features": torch.zeros_like(batch["input_features"])}]

        def forward(self, network: torch.nn.Module, inputs: Any) -> Any:
            seen.append((network.training, bool(inputs["input_features"].any())))
            return super().forward(network, inputs)

    task = emotion_task(polish_dir, cache_dir)
    run_training(Watched(task.data, task.model), arguments(tmp_path, num_train_epochs=1), save=False)
    assert set(seen) == {(True, False), (False, True)} and seen.count((True, False)) == STEPS["emotions"]


def test_a_recognizers_figures_are_those_of_its_own_loss(spelled_dir: Path, cache_dir: Path, tmp_path: Path) -> None:
    task, training = recognition_task(spelled_dir, cache_dir), arguments(tmp_path, CTCTrainingArguments)
    task.prepare(training)
    training.per_device_eval_batch_size = 5
    trainer = TaskTrainer(task, task.make_network(), training)
    assert [type(one) for one in trainer.augmentations] == [Perturbation, SpecAugment]
    metrics = trainer.evaluate()
    batch = task.collator([task.validation[index] for index in range(len(task.validation))])
    with torch.no_grad():
        output = trainer.model.eval()(**batch)
    assert metrics["eval_loss"] == pytest.approx(output.loss.item(), rel=1e-5)
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    best = [row[:length] for row, length in zip(output.logits.argmax(dim=-1).tolist(), lengths, strict=True)]
    spoken = [[letter for letter in row if letter >= 0] for row in batch["labels"].tolist()]
    references = [task.tokenizer.decode(row, group_tokens=False) for row in spoken]
    expected = error_rates(references, [task.tokenizer.decode(row) for row in best])
    assert metrics["eval_cer"] == pytest.approx(expected.cer)
