"""Checkpoints with holes, leftovers or other sizes: refused by default, and never loaded with garbage."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_ser import SERForAudioClassification, SERModel, SERPreTrainedModel
from modeling_ser.modeling_ser import logger
from tests.modeling_ser.small_models import enlivened, padded, random_clips, small_config

STREAM = "ser.streams.0."
BUFFERS = [
    "ser.feature_mean",
    "ser.feature_std",
    STREAM + "conv1.norm.running_mean",
    STREAM + "conv2.norm.running_var",
]
WEIGHTS = [
    STREAM + "conv1.conv.weight",
    STREAM + "conv2.norm.weight",
    STREAM + "conv2.norm.bias",
    STREAM + "attention.key.weight",
    STREAM + "attention.output.bias",
    "classifier.dense.bias",
    "classifier.out_proj.weight",
]
FRESH_ONES = ("norm.weight", "running_var", "feature_std")
FRESH_ZEROS = ("bias", "running_mean", "feature_mean")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "original"
    enlivened(SERForAudioClassification(small_config(attention_bias=True))).save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(original: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "checkpoint"))


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def remove(folder: Path, names: list[str]) -> None:
    edit(folder, lambda weights: [weights.pop(name) for name in names])


@pytest.fixture
def warnings_logged() -> Iterator[list[str]]:
    """What the model's own logger says; transformers' loggers do not propagate, so `caplog` hears nothing."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def test_a_whole_checkpoint_loads_exactly(original: Path) -> None:
    assert [path.name for path in original.glob("*model*") if path.suffix != ".py"] == ["model.safetensors"]
    model = SERForAudioClassification.from_pretrained(original)
    saved = enlivened(SERForAudioClassification(small_config(attention_bias=True)))
    assert not model.training
    torch.testing.assert_close(model.state_dict(), saved.state_dict(), rtol=0, atol=0)
    batch = padded(random_clips([4, 9]))
    assert torch.equal(model(*batch).logits, saved(*batch).logits)


def test_loading_info_is_returned_on_demand(original: Path) -> None:
    model, info = SERForAudioClassification.from_pretrained(original, output_loading_info=True)
    assert isinstance(model, SERForAudioClassification)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


@pytest.mark.parametrize("name", BUFFERS + WEIGHTS)
def test_a_missing_weight_or_buffer_is_an_error(checkpoint: Path, name: str) -> None:
    remove(checkpoint, [name])
    with pytest.raises(RuntimeError, match=rf"does not fit SERForAudioClassification. Weights missing: {name}\."):
        SERForAudioClassification.from_pretrained(checkpoint)


def test_everything_wrong_is_listed_at_once(checkpoint: Path) -> None:
    def damage(weights: dict[str, torch.Tensor]) -> None:
        for name in ("ser.feature_mean", STREAM + "conv1.norm.running_var"):
            del weights[name]
        weights["decoder.weight"] = torch.zeros(2)
        weights["lstm.bias"] = torch.zeros(2)
        weights["classifier.dense.bias"] = torch.zeros(7)

    edit(checkpoint, damage)
    with pytest.raises(RuntimeError) as caught:
        SERForAudioClassification.from_pretrained(checkpoint, ignore_mismatched_sizes=True)
    message = str(caught.value)
    assert "of another size: classifier.dense.bias;" in message
    assert f"missing: ser.feature_mean, {STREAM}conv1.norm.running_var;" in message
    assert "unexpected: decoder.weight, lstm.bias." in message
    assert str(checkpoint) in message


def test_an_unexpected_weight_is_an_error(checkpoint: Path) -> None:
    edit(checkpoint, lambda weights: weights.update({"decoder.weight": torch.zeros(2)}))
    with pytest.raises(RuntimeError, match=r"Weights unexpected: decoder\.weight"):
        SERForAudioClassification.from_pretrained(checkpoint)


def test_an_unexpected_part_of_the_head_is_an_error(checkpoint: Path) -> None:
    edit(checkpoint, lambda weights: weights.update({"classifier.third.weight": torch.zeros(2)}))
    with pytest.raises(RuntimeError, match=r"Weights unexpected: classifier\.third\.weight"):
        SERForAudioClassification.from_pretrained(checkpoint)
    SERModel.from_pretrained(checkpoint)  # which needs no head


def test_the_weights_of_one_pooling_do_not_fit_the_other(original: Path) -> None:
    with pytest.raises(RuntimeError, match=r"classifier\.dense\.weight; missing: ser\.poolings\.0\.hidden\.bias, "):
        SERForAudioClassification.from_pretrained(
            original, pooling="attention_statistics", ignore_mismatched_sizes=True
        )


@pytest.mark.parametrize("names", [[name] for name in BUFFERS + WEIGHTS] + [BUFFERS + WEIGHTS], ids=lambda n: n[-1])
def test_without_strict_what_is_missing_is_fresh(
    checkpoint: Path, names: list[str], warnings_logged: list[str]
) -> None:
    remove(checkpoint, names)
    model = SERForAudioClassification.from_pretrained(checkpoint, strict=False)
    saved = load_file(checkpoint / "model.safetensors")
    for name, value in model.state_dict().items():
        if name in saved:
            assert torch.equal(value, saved[name]), name
        elif name.endswith(FRESH_ONES):
            assert (value == 1).all(), name
        elif name.endswith(FRESH_ZEROS):
            assert (value == 0).all(), name
        else:
            assert 0.05 < value.std() < 1, name
    assert torch.isfinite(model(*padded(random_clips([4, 9]))).logits).all()
    assert len(warnings_logged) == 1
    assert all(name in warnings_logged[0] for name in names)


def test_without_strict_what_is_unexpected_is_named(checkpoint: Path, warnings_logged: list[str]) -> None:
    edit(checkpoint, lambda weights: weights.update({"decoder.weight": torch.zeros(2)}))
    SERForAudioClassification.from_pretrained(checkpoint, strict=False)
    assert warnings_logged == ["strict=False: fresh values for nothing; ignored ['decoder.weight']."]


def test_another_number_of_labels_needs_leave(original: Path) -> None:
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        SERForAudioClassification.from_pretrained(original, num_labels=5)
    model = SERForAudioClassification.from_pretrained(original, num_labels=5, ignore_mismatched_sizes=True)
    assert model(*padded(random_clips([4, 9]))).logits.shape == (2, 5)
    saved = load_file(original / "model.safetensors")
    for name, value in model.state_dict().items():
        if name.startswith("classifier.out_proj."):
            assert torch.isfinite(value).all()
            assert value.abs().max() < 2
        else:
            assert torch.equal(value, saved[name]), name
    assert (model.classifier.out_proj.bias == 0).all()


def test_class_weights_go_with_the_head_they_belong_to(original: Path, warnings_logged: list[str]) -> None:
    weights = {"class_weights": [0.5, 1.0, 1.5]}
    kept = SERForAudioClassification.from_pretrained(original, **weights)
    assert kept.config.class_weights == [0.5, 1.0, 1.5]
    model = SERForAudioClassification.from_pretrained(original, num_labels=5, ignore_mismatched_sizes=True, **weights)
    assert warnings_logged == ["The class weights of 3 labels are dropped with the old head."]
    assert model(*padded(random_clips([4, 9])), labels=torch.tensor([4, 0])).loss > 0


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("field", ["dense_size", "hidden_size", "input_size"])
def test_no_other_layer_may_differ_in_size(original: Path, field: str, strict: bool) -> None:
    with pytest.raises(RuntimeError, match=r"does not fit SERForAudioClassification\. Weights of another size: "):
        SERForAudioClassification.from_pretrained(original, **{field: 10}, ignore_mismatched_sizes=True, strict=strict)


def test_the_body_reads_a_classifiers_checkpoint(original: Path, warnings_logged: list[str]) -> None:
    body = SERModel.from_pretrained(original)
    whole = SERForAudioClassification.from_pretrained(original)
    torch.testing.assert_close(body.state_dict(), whole.ser.state_dict(), rtol=0, atol=0)
    assert not warnings_logged


def test_a_body_without_its_statistics_is_refused(checkpoint: Path) -> None:
    remove(checkpoint, ["ser.feature_std"])
    with pytest.raises(RuntimeError, match=r"does not fit SERModel\. Weights missing: .*feature_std"):
        SERModel.from_pretrained(checkpoint)


def test_a_classifier_refuses_a_bodys_checkpoint(original: Path, tmp_path: Path) -> None:
    body = SERModel.from_pretrained(original)
    body.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match=r"missing: classifier\.dense\.bias, .*classifier\.out_proj\.weight"):
        SERForAudioClassification.from_pretrained(tmp_path)
    classifier = SERForAudioClassification.from_pretrained(tmp_path, strict=False)
    torch.testing.assert_close(classifier.ser.state_dict(), body.state_dict(), rtol=0, atol=0)
    again = SERModel.from_pretrained(tmp_path)
    torch.testing.assert_close(again.state_dict(), body.state_dict(), rtol=0, atol=0)


def test_weights_stored_in_half_precision_stay_so_unless_asked(checkpoint: Path) -> None:
    SERForAudioClassification.from_pretrained(checkpoint).half().save_pretrained(checkpoint)
    stored = load_file(checkpoint / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    half = SERForAudioClassification.from_pretrained(checkpoint)
    single = SERForAudioClassification.from_pretrained(checkpoint, dtype=torch.float32)
    for name, value in stored.items():
        assert half.state_dict()[name].dtype == torch.float16, name
        assert single.state_dict()[name].dtype == torch.float32, name
        assert torch.equal(single.state_dict()[name], value.float()), name
    batch = padded(random_clips([4, 9]))
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
    with pytest.raises(Exception, match=r"(?i)incomplete|invalid|deserializ"):
        SERForAudioClassification.from_pretrained(checkpoint)
