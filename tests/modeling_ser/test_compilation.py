"""Gradient checkpointing, torch.compile and torch.export leave the scores as they are."""

import shutil

import pytest
import torch

from modeling_ser import SEREnsembleForAudioClassification, SERForAudioClassification
from tests.modeling_ser.small_models import enlivened, padded, random_clips, small_config

LENGTHS = [5, 1, 12, 8]
STEM = {"input_size": 24, "stem_channels": [3, 4, 2]}


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradient_checkpointing_changes_nothing(dropout: float, use_reentrant: bool) -> None:
    results = []
    for checkpointing in (False, True):
        config = small_config(dropout=0.0, attention_dropout=dropout, fusion="late", stream_sizes=[2, 4])
        model = enlivened(SERForAudioClassification(config)).train()
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
        blocks = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
        assert len(blocks) == (2 if checkpointing else 0)  # the attention of each stream
        torch.manual_seed(3)
        loss = model(*padded(random_clips(LENGTHS)), labels=torch.tensor([0, 1, 2, 1])).loss
        loss.backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        results.append(({"loss": loss.detach()}, gradients, dict(model.named_buffers())))
    # The running statistics are among the buffers: had the batch been normalized twice, they would differ.
    torch.testing.assert_close(*results)


def test_the_attention_is_computed_again_under_checkpointing() -> None:
    model = enlivened(SERForAudioClassification(small_config())).train()
    model.activation_checkpointing_enable()
    passes = []
    model.ser.streams[0].attention.query.register_forward_hook(lambda *_: passes.append("attention"))
    model.ser.streams[0].conv2.norm.register_forward_hook(lambda *_: passes.append("normalization"))
    model(*padded(random_clips(LENGTHS)), labels=torch.tensor([0, 1, 2, 1])).loss.backward()
    assert passes == ["normalization", "attention", "attention"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "fields", [{}, {"pooling": "attention_statistics", "loss": "focal"}, {"pooling": "functionals"}, STEM], ids=str
)
def test_compiled_without_a_graph_break(fields: dict, training: bool) -> None:
    torch.compiler.reset()
    labels = torch.tensor([0, 1, 2, 1])
    results = []
    for compiled in (False, True):
        config = small_config(dropout=0, attention_dropout=0, **fields)
        model = enlivened(SERForAudioClassification(config)).train(training)
        run = torch.compile(model, backend="eager", fullgraph=True, dynamic=True) if compiled else model
        losses = []
        for lengths in (LENGTHS, [3, 20, 4, 9]):  # a second shape, on which the graph must not have been fixed
            loss = run(*padded(random_clips(lengths, model.config.input_size)), labels=labels).loss
            loss.backward()
            losses.append(loss.detach())
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        results.append((losses, gradients, dict(model.named_buffers())))
    torch.testing.assert_close(*results)


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler for inductor")
def test_compiled_by_inductor_for_clips_of_every_length() -> None:
    torch.compiler.reset()
    labels = torch.tensor([0, 1, 2, 1])
    results = []
    for compiled in (False, True):
        model = enlivened(SERForAudioClassification(small_config(dropout=0, attention_dropout=0))).train()
        run = torch.compile(model) if compiled else model
        losses = []
        for frames in (16, 32, 24):  # fixed at first, dynamic from the second on
            loss = run(*padded(random_clips([5, 9, frames, 7])), labels=labels).loss
            loss.backward()
            losses.append(loss.detach())
        results.append((losses, {name: parameter.grad for name, parameter in model.named_parameters()}))
    torch.testing.assert_close(*results)


SHAPES = [
    {},
    {"fusion": "late", "stream_sizes": [2, 4]},
    {"pooling": "attention_statistics"},
    {"pooling": "functionals"},
    {"num_members": 2},
    STEM,
    STEM | {"input_size": 30, "stream_sizes": [24, 6]},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exported_with_dynamic_batch_and_time(shape: dict) -> None:
    kind = SEREnsembleForAudioClassification if "num_members" in shape else SERForAudioClassification
    model = enlivened(kind(small_config(**shape)))
    least = 5 if model.config.stem_channels else 1  # torch.export tells one frame from several, and 5 become 2
    batch, frames = torch.export.Dim("batch", min=1), torch.export.Dim("frames", min=least)
    features, mask = padded(random_clips(LENGTHS, model.config.input_size))
    program = torch.export.export(
        model,
        (),
        {"input_features": features, "attention_mask": mask},
        dynamic_shapes={"input_features": {0: batch, 1: frames}, "attention_mask": {0: batch, 1: frames}},
        strict=False,
    )
    for lengths in ([7], [least], [30, 2, 9], LENGTHS):
        features, mask = padded(random_clips(lengths, model.config.input_size))
        exported = program.module()(input_features=features, attention_mask=mask)
        expected = model(features, mask).logits
        torch.testing.assert_close(exported["logits"], expected, rtol=0, atol=1e-6)
