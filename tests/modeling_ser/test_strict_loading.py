"""Checkpoints with holes, leftovers or other sizes: refused by default, and never loaded with garbage."""

import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from modeling_ser import SERForAudioClassification, SERModel, SERPreTrainedModel
from modeling_ser.checkpoint_files import without_report
from modeling_ser.modeling_ser import logger
from tests.modeling_ser.small_models import HEAD, MIX, clips_for, small_model

NAMES = list(small_model(attention_bias=True, **MIX, **HEAD).state_dict())
FRESH_ONES = ("statistics.std", "norm.weight", "running_var", "feature_std")
FRESH_ZEROS = ("statistics.weight", "statistics.mean", "bias", "running_mean", "feature_mean", "scores")


Weights = dict[str, torch.Tensor]
load = SERForAudioClassification.from_pretrained


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "original"
    small_model(attention_bias=True, **MIX, **HEAD).save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(original: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "checkpoint"))


def edit(folder: Path, without: Iterable[str] = (), **others: torch.Tensor) -> Weights:
    """Take weights out and put others in, whose names have _ in place of the dot; returns what the file then holds."""
    weights = {name: value for name, value in load_file(folder / "model.safetensors").items() if name not in without}
    weights |= {name.replace("_", "."): value for name, value in others.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return weights


@pytest.fixture
def warnings_logged() -> Iterator[list[str]]:
    """What the model's own logger says; transformers' loggers do not propagate, so `caplog` hears nothing."""
    yield from heard(logger)


def heard(source: logging.Logger) -> Iterator[list[str]]:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    source.addHandler(handler)
    yield messages
    source.removeHandler(handler)


@pytest.fixture
def reports() -> Iterator[list[str]]:
    """What transformers says while it loads."""
    yield from heard(logging.getLogger("transformers.modeling_utils"))


def test_a_whole_checkpoint_loads_exactly(original: Path) -> None:
    assert [path.name for path in original.glob("*model*") if path.suffix != ".py"] == ["model.safetensors"]
    model, info = load(original, output_loading_info=True)
    saved = small_model(attention_bias=True, **MIX, **HEAD)
    assert not model.training and not info["missing_keys"] and not info["unexpected_keys"]
    torch.testing.assert_close(model.state_dict(), saved.state_dict(), rtol=0, atol=0)
    assert torch.equal(model(*clips_for(model)).logits, saved(*clips_for(model)).logits)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_weight_or_buffer_is_an_error(checkpoint: Path, name: str) -> None:
    edit(checkpoint, without=[name])
    with pytest.raises(RuntimeError, match=rf"SERForAudioClassification. Weights missing: {name}\."):
        load(checkpoint)


def test_everything_wrong_is_listed_at_once(checkpoint: Path) -> None:
    missing, size = ["ser.feature_mean", "ser.streams.0.conv1.norm.running_var"], "classifier.dense.bias"
    edit(checkpoint, without=[*missing, size], decoder_weight=torch.zeros(2), lstm_bias=torch.zeros(2))
    edit(checkpoint, classifier_dense_bias=torch.zeros(7))
    with pytest.raises(RuntimeError) as caught:
        load(checkpoint, ignore_mismatched_sizes=True)
    message = str(caught.value)
    assert re.search(rf"of another size: {size} \(7 there, \d+ here\);", message)
    assert f"missing: {', '.join(missing)};" in message
    assert "unexpected: decoder.weight, lstm.bias." in message
    assert str(checkpoint) in message


def test_an_unexpected_weight_is_an_error_unless_it_is_allowed_or_of_a_part_not_needed(
    checkpoint: Path, warnings_logged: list[str]
) -> None:
    edit(checkpoint, classifier_third_weight=torch.zeros(2))
    with pytest.raises(RuntimeError, match=r"Weights unexpected: classifier\.third\.weight"):
        load(checkpoint)
    load(checkpoint, strict=False)
    assert len(warnings_logged) == 1 and "ignored classifier.third.weight" in warnings_logged[0]
    SERModel.from_pretrained(checkpoint)  # which needs no head


@pytest.mark.parametrize(("strict", "size"), [(True, {}), (False, {}), (True, {"num_labels": 5})])
def test_nothing_but_our_own_sentence_tells_what_does_not_fit(
    checkpoint: Path, strict: bool, size: dict[str, int], warnings_logged: list[str], reports: list[str]
) -> None:
    load(checkpoint)
    assert not warnings_logged
    if not size:
        edit(checkpoint, without=["ser.feature_mean"])
    if strict and not size:
        with pytest.raises(RuntimeError, match=r"ser\.feature_mean"):
            load(checkpoint)
    else:
        load(checkpoint, strict=strict, ignore_mismatched_sizes=bool(size), **size)
        assert len(warnings_logged) == 1
        assert ("classifier.out_proj.bias (3 there, 5 here)" if size else "ser.feature_mean") in warnings_logged[0]
    assert not reports
    other = Thread(target=lambda: PreTrainedModel.from_pretrained.__func__(SERForAudioClassification, checkpoint))
    if not size:  # what others load is told as ever, even meanwhile
        with without_report():
            other.start()
            other.join()
        assert len(reports) == 1


def test_the_weights_of_one_pooling_do_not_fit_the_other(original: Path) -> None:
    with pytest.raises(RuntimeError, match=r"classifier\.dense\.weight .*; missing: ser\.poolings\.0\.hidden\.bias, "):
        load(original, pooling="attention_statistics", ignore_mismatched_sizes=True)


@pytest.mark.parametrize("names", [NAMES[::2], NAMES[1::2], NAMES[:1]], ids=len)
def test_without_strict_what_is_missing_is_fresh(
    checkpoint: Path, names: list[str], warnings_logged: list[str]
) -> None:
    saved = edit(checkpoint, without=names)
    model = load(checkpoint, strict=False)
    for name, value in model.state_dict().items():
        if name in saved:
            assert torch.equal(value, saved[name]), name
        elif name.endswith(FRESH_ONES):
            assert (value == 1).all(), name
        elif name.endswith(FRESH_ZEROS):
            assert (value == 0).all(), name
        else:
            assert 0.05 < value.std() < 1, name
    assert torch.isfinite(model(*clips_for(model)).logits).all()
    assert len(warnings_logged) == 1
    assert all(name in warnings_logged[0] for name in names)


def test_another_number_of_labels_needs_leave(original: Path) -> None:
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        load(original, num_labels=5)
    model = load(original, num_labels=5, ignore_mismatched_sizes=True)
    assert model(*clips_for(model)).logits.shape == (4, 5)
    saved = load_file(original / "model.safetensors")
    heads = ("classifier.out_proj.", "classifier.statistics.")
    head = {name: value for name, value in model.state_dict().items() if name.startswith(heads)}
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items() if name not in head)
    assert len(head) == 4 and all(value.abs().max() < 2 for value in head.values())
    assert (model.classifier.out_proj.bias == 0).all()


def test_class_weights_go_with_the_head_they_belong_to(original: Path, warnings_logged: list[str]) -> None:
    weights = {"class_weights": [0.5, 1.0, 1.5]}
    assert load(original, **weights).config.class_weights == [0.5, 1.0, 1.5]
    assert not warnings_logged
    model = load(original, num_labels=5, ignore_mismatched_sizes=True, **weights)
    assert len(warnings_logged) == 2 and "class weights of 3 labels" in warnings_logged[1]
    assert model(*clips_for(model, [4, 9]), labels=torch.tensor([4, 0])).loss > 0


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("field", ["dense_size", "hidden_size", "input_size"])
def test_no_other_layer_may_differ_in_size(original: Path, field: str, strict: bool) -> None:
    with pytest.raises(RuntimeError, match=r"SERForAudioClassification\. Weights of another size: "):
        load(original, **{field: 10}, ignore_mismatched_sizes=True, strict=strict)


def test_the_body_reads_a_classifiers_checkpoint(checkpoint: Path, warnings_logged: list[str]) -> None:
    body = SERModel.from_pretrained(checkpoint)
    torch.testing.assert_close(body.state_dict(), load(checkpoint).ser.state_dict(), rtol=0, atol=0)
    assert not warnings_logged
    edit(checkpoint, without=["ser.feature_std"])
    with pytest.raises(RuntimeError, match=r"SERModel\. Weights missing: .*feature_std"):
        SERModel.from_pretrained(checkpoint)


def test_a_classifier_refuses_a_bodys_checkpoint(original: Path, tmp_path: Path) -> None:
    body = SERModel.from_pretrained(original)
    body.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match=r"missing: classifier\.dense\.bias, .*classifier\.out_proj\.weight"):
        load(tmp_path)
    for again in (load(tmp_path, strict=False).ser, SERModel.from_pretrained(tmp_path)):
        torch.testing.assert_close(again.state_dict(), body.state_dict(), rtol=0, atol=0)


def test_weights_stored_in_half_precision_stay_so_unless_asked(checkpoint: Path) -> None:
    load(checkpoint).half().save_pretrained(checkpoint)
    stored = load_file(checkpoint / "model.safetensors")
    half, single = load(checkpoint), load(checkpoint, dtype=torch.float32)
    for name, value in stored.items():
        assert value.dtype == half.state_dict()[name].dtype == torch.float16, name
        assert single.state_dict()[name].dtype == torch.float32, name
        assert torch.equal(single.state_dict()[name], value.float()), name
    batch = clips_for(half)
    torch.testing.assert_close(half(*batch).logits.float(), single(*batch).logits, rtol=0, atol=0.05)


@pytest.mark.parametrize("model_class", [SERModel, SERForAudioClassification])
def test_pickled_weights_are_not_read(checkpoint: Path, model_class: type[SERPreTrainedModel]) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    torch.save(weights, checkpoint / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        model_class.from_pretrained(checkpoint)


def test_a_truncated_file_is_an_error(checkpoint: Path) -> None:
    content = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match="damaged"):
        load(checkpoint)
