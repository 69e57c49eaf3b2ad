"""A training that SIGTERM stopped and that was resumed equals one that was not, bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed

from dataset_scripts import load_corpus, speaker_folds
from feature_extraction import SERFeatureExtractor
from speech_emotion.training import SERTrainer, SERTrainingArguments, parse_arguments
from speech_emotion.training.building import make_model
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.splits import Splits, make_splits
from tests.speech_emotion.interrupted_runs import (
    EvaluationSteps,
    SignalAt,
    assert_equal_checkpoints,
    last_checkpoint,
)
from tests.synthetic import write_polish

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
LABELS = ["anger", "fear", "neutral"]
STEPS_PER_EPOCH = 4  # 54 training clips in batches of 16


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    folder = write_polish(tmp_path_factory.mktemp("polish"))
    rows = load_corpus("polish", data_dir=folder, cache_dir=tmp_path_factory.mktemp("cache"))
    return make_splits(rows, cache_features(rows, SERFeatureExtractor()), speaker_folds(rows)[0], LABELS)


def trainer(folder: Path, splits: Splits, epochs: int = 3, *callbacks: TrainerCallback, **changes: Any) -> SERTrainer:
    """A small model with dropout; the clips' first class is rare enough for UA to move."""
    words = "--corpus polish --hidden_size 8 --dense_size 8 --dropout 0.5 --attention_dropout 0.2 --use_cpu true"
    _, model_args, _ = parse_arguments(words.split())
    settings = {
        "output_dir": str(folder),
        "num_train_epochs": epochs,
        "use_cpu": True,
        "save_total_limit": None,
        "learning_rate": 3e-3,
    }
    args = SERTrainingArguments(**(settings | changes))
    set_seed(args.seed)
    extractor = SERFeatureExtractor()
    return SERTrainer(
        make_model(model_args, LABELS, splits.train, extractor),
        args,
        splits.train,
        splits.validation,
        feature_size=extractor.feature_size,
        processing_class=extractor,
        callbacks=[EarlyStoppingCallback(args.early_stopping_patience), *callbacks],
    )


@pytest.fixture(scope="module")
def uninterrupted(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    training = trainer(folder, splits)
    training.train()
    assert not training.stop.stopped
    return folder


@pytest.mark.parametrize(
    ("event", "step", "saved_at"),
    [
        ("on_step_begin", 5, 6),  # inside the second epoch
        ("on_step_begin", 3, 4),  # at the last step of the first epoch, before its evaluation
        ("on_evaluate", 4, 4),  # during that evaluation, before its save
        ("on_epoch_begin", 4, 5),  # between two epochs
        ("on_step_begin", 11, 12),  # at the very last step
    ],
    ids=["inside an epoch", "at its end", "after an evaluation", "between epochs", "at the very end"],
)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    event: str, step: int, saved_at: int, splits: Splits, uninterrupted: Path, tmp_path: Path
) -> None:
    evaluations = EvaluationSteps()
    stopped = trainer(tmp_path, splits, 3, SignalAt(event, step), evaluations)
    stopped.train()
    assert stopped.stop.stopped
    assert last_checkpoint(tmp_path).name == f"checkpoint-{saved_at}"
    due = [end for end in (4, 8, 12) if end < saved_at or (end == saved_at and event == "on_evaluate")]
    assert evaluations.steps == due  # the stop itself evaluates nothing

    resumed = trainer(tmp_path, splits)
    resumed.train(resume_from_checkpoint=str(last_checkpoint(tmp_path)))
    assert_equal_checkpoints(last_checkpoint(uninterrupted), last_checkpoint(tmp_path), "eval_ua")
    for name, tensor in resumed.model.state_dict().items():
        best = load_file(Path(resumed.state.best_model_checkpoint) / "model.safetensors")
        assert torch.equal(tensor, best[name])


def test_patience_that_runs_out_in_the_evaluation_made_up_for_ends_the_training(
    splits: Splits, tmp_path: Path
) -> None:
    # A learning rate of zero never improves: with patience 1 the second evaluation, at step 8, ends the training.
    never = {"learning_rate": 0.0, "early_stopping_patience": 1}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trainer(whole, splits, 5, **never).train()
    assert last_checkpoint(whole).name == "checkpoint-8"
    trainer(parts, splits, 5, SignalAt("on_step_begin", 7), **never).train()
    resumed = trainer(parts, splits, 5, **never)
    resumed.train(resume_from_checkpoint=str(last_checkpoint(parts)))
    assert resumed.state.global_step == 8
    assert_equal_checkpoints(last_checkpoint(whole), last_checkpoint(parts), "eval_ua")


def test_a_stop_keeps_its_checkpoint_though_only_the_best_may_stay(splits: Splits, tmp_path: Path) -> None:
    stopped = trainer(tmp_path, splits, 3, SignalAt("on_step_begin", 5), save_total_limit=1)
    stopped.train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    resumed = trainer(tmp_path, splits, save_total_limit=1)
    resumed.train(resume_from_checkpoint=str(last_checkpoint(tmp_path)))
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [Path(resumed.state.best_model_checkpoint).name]


def test_accumulating_gradients_resumes_exactly_too(splits: Splits, tmp_path: Path) -> None:
    halves = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trainer(whole, splits, 2, **halves).train()
    trainer(parts, splits, 2, SignalAt("on_step_begin", 1), **halves).train()
    trainer(parts, splits, 2, **halves).train(resume_from_checkpoint=str(last_checkpoint(parts)))
    assert_equal_checkpoints(last_checkpoint(whole), last_checkpoint(parts), "eval_ua")


def test_checkpoints_and_models_hold_no_pickled_arguments(uninterrupted: Path) -> None:
    assert not list(uninterrupted.rglob("training_args.bin"))


def test_a_loss_that_is_not_finite_ends_the_training(splits: Splits, tmp_path: Path) -> None:
    training = trainer(tmp_path, splits, 1, logging_strategy="steps", logging_steps=1)
    with torch.no_grad():
        training.model.classifier.out_proj.bias[0] = float("nan")
    with pytest.raises(FloatingPointError, match="training loss is nan at step 1"):
        training.train()


def test_label_smoothing_of_transformers_is_refused(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--label_smoothing"):
        trainer(tmp_path, splits, 1, label_smoothing_factor=0.1)


@pytest.mark.parametrize("strategy", ["steps", "best"])
def test_other_save_strategies_train(strategy: str, splits: Splits, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"save_strategy": strategy}
    if strategy == "steps":
        changes |= {"save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    training: SERTrainer = trainer(tmp_path, splits, 2, **changes)
    training.train()
    assert training.state.best_global_step in (2, 4, 6, 8)


def test_callable_signature_of_metrics(splits: Splits, tmp_path: Path) -> None:
    training = trainer(tmp_path, splits, 1)
    compute: Callable = training.compute_metrics
    output = training.predict(splits.test)
    assert output.predictions.shape == (18, 3)
    assert compute(output)["ua"] == pytest.approx(output.metrics["test_ua"])
