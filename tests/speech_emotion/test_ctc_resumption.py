"""A DeepSpeech training that SIGTERM stopped and that was resumed equals one that was not, bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed

from feature_extraction import DeepSpeechForCTC
from speech_emotion.evaluation import error_rates
from speech_emotion.training.ctc_arguments import CTCDataArguments, CTCModelArguments, CTCTrainingArguments
from speech_emotion.training.ctc_input_scaling import scaled_input_layer
from speech_emotion.training.ctc_run import ClipReader, make_recognizer
from speech_emotion.training.ctc_split import TranscribedSplit
from speech_emotion.training.ctc_trainer import INPUT_LAYER, CTCTrainer
from tests.speech_emotion.interrupted_runs import (
    EvaluationSteps,
    SignalAt,
    assert_equal_checkpoints,
    last_checkpoint,
)
from tests.speech_emotion.spelled_speech import write_spelled

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
# 36 training clips in batches of 8: 5 steps an epoch.


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ClipReader:
    data = CTCDataArguments(
        data_dir=str(write_spelled(tmp_path_factory.mktemp("spelled"))),
        cache_dir=str(tmp_path_factory.mktemp("cache")),
        validation_speakers=2,
    )
    return ClipReader(data, CTCTrainingArguments(use_cpu=True))


@pytest.fixture(scope="module")
def splits(reader: ClipReader) -> tuple[TranscribedSplit, TranscribedSplit]:
    return reader.read("train"), reader.read("validation")


def trainer(
    folder: Path,
    reader: ClipReader,
    splits: tuple[TranscribedSplit, TranscribedSplit],
    *callbacks: TrainerCallback,
    **changes: Any,
) -> CTCTrainer:
    """A small model with dropout, perturbation and SpecAugment."""
    settings = {
        "output_dir": str(folder),
        "num_train_epochs": 3,
        "use_cpu": True,
        "save_total_limit": None,
        "per_device_train_batch_size": 8,
        "learning_rate": 3e-3,
        "early_stopping_patience": 9,
    }
    args = CTCTrainingArguments(**(settings | changes))
    set_seed(args.seed)
    network, augmentations = make_recognizer(
        CTCModelArguments(hidden_size=16, dropout=0.3), reader.tokenizer, splits[0]
    )
    return CTCTrainer(
        network,
        args,
        *splits,
        tokenizer=reader.tokenizer,
        augmentations=augmentations,
        processing_class=reader.extractor,
        callbacks=[EarlyStoppingCallback(args.early_stopping_patience), *callbacks],
    )


@pytest.fixture(scope="module")
def uninterrupted(
    reader: ClipReader,
    splits: tuple[TranscribedSplit, TranscribedSplit],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    trainer(folder, reader, splits).train()
    return folder


@pytest.mark.parametrize(
    ("event", "step", "saved_at"),
    [
        ("on_step_begin", 6, 7),
        ("on_step_begin", 4, 5),
        ("on_evaluate", 5, 5),
        ("on_epoch_begin", 5, 6),
        ("on_step_begin", 14, 15),
    ],
    ids=["inside an epoch", "at its end", "after an evaluation", "between epochs", "at the very end"],
)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    event: str,
    step: int,
    saved_at: int,
    reader: ClipReader,
    splits: tuple[TranscribedSplit, TranscribedSplit],
    uninterrupted: Path,
    tmp_path: Path,
) -> None:
    evaluations = EvaluationSteps()
    stopped = trainer(tmp_path, reader, splits, SignalAt(event, step), evaluations)
    stopped.train()
    assert stopped.stop.stopped
    assert last_checkpoint(tmp_path).name == f"checkpoint-{saved_at}"
    due = [end for end in (5, 10, 15) if end < saved_at or (end == saved_at and event == "on_evaluate")]
    assert evaluations.steps == due

    resumed = trainer(tmp_path, reader, splits)
    resumed.train(resume_from_checkpoint=str(last_checkpoint(tmp_path)))
    whole, parts = last_checkpoint(uninterrupted), last_checkpoint(tmp_path)
    assert_equal_checkpoints(whole, parts, "eval_cer")
    exact = [torch.load(folder / INPUT_LAYER, weights_only=True) for folder in (whole, parts)]
    assert all(torch.equal(value, exact[1][name]) for name, value in exact[0].items())
    # At the end the best epoch's model is a plain one, to the bit.
    assert scaled_input_layer(resumed.model) is None
    best = load_file(Path(resumed.state.best_model_checkpoint) / "model.safetensors")
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, best[name]), name


def test_every_checkpoint_is_a_plain_model_with_extractor_and_tokenizer(uninterrupted: Path) -> None:
    folder = uninterrupted / "checkpoint-5"
    assert type(DeepSpeechForCTC.from_pretrained(folder).deepspeech.layer_1) is torch.nn.Linear
    names = {path.name for path in folder.iterdir()}
    assert {"preprocessor_config.json", "vocab.json", "modeling_deepspeech.py", "pipeline_deepspeech.py"} <= names
    assert not list(uninterrupted.rglob("training_args.bin"))


def test_augmentation_changes_what_is_learned(
    reader: ClipReader, splits: tuple[TranscribedSplit, TranscribedSplit], tmp_path: Path, uninterrupted: Path
) -> None:
    other = trainer(tmp_path, reader, splits)
    other.augmentations = []
    other.train()
    weights = [load_file(last_checkpoint(folder) / "model.safetensors") for folder in (uninterrupted, tmp_path)]
    assert any(not torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_a_checkpoint_without_its_exact_first_layer_is_not_resumed(
    reader: ClipReader, splits: tuple[TranscribedSplit, TranscribedSplit], tmp_path: Path
) -> None:
    trainer(tmp_path, reader, splits, num_train_epochs=1).train()
    (tmp_path / "checkpoint-5" / INPUT_LAYER).unlink()
    with pytest.raises(FileNotFoundError, match=INPUT_LAYER):
        trainer(tmp_path, reader, splits).train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))


def test_the_evaluations_figures_are_those_of_the_models_own_loss(
    reader: ClipReader, splits: tuple[TranscribedSplit, TranscribedSplit], tmp_path: Path
) -> None:
    training = trainer(tmp_path, reader, splits, per_device_eval_batch_size=5)
    metrics = training.evaluate()
    batch = training.data_collator([splits[1][index] for index in range(len(splits[1]))])
    with torch.no_grad():
        output = training.model.eval()(**batch)
    assert metrics["eval_loss"] == pytest.approx(output.loss.item(), rel=1e-5)
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    best = [row[:length] for row, length in zip(output.logits.argmax(dim=-1).tolist(), lengths, strict=True)]
    spoken = [[letter for letter in row if letter >= 0] for row in batch["labels"].tolist()]
    hypotheses = [reader.tokenizer.decode(row) for row in best]
    references = [reader.tokenizer.decode(row, group_tokens=False) for row in spoken]
    assert metrics["eval_cer"] == pytest.approx(error_rates(references, hypotheses).cer)
