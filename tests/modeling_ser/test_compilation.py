"""Gradient checkpointing, torch.compile and torch.export leave the scores as they are."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch

from modeling_ser import SEREnsembleForAudioClassification, SERForAudioClassification
from tests.modeling_ser.small_models import (
    EMOTIONS,
    FUNCTIONALS,
    HEAD,
    LATE,
    LENGTHS,
    STATISTICS,
    STEM,
    STEM_AND_LAYERS,
    clips_for,
    enlivened,
    small_config,
    small_model,
)


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradient_checkpointing_changes_nothing(dropout: float, use_reentrant: bool) -> None:
    results = []
    for checkpointing in (False, True):
        model = small_model(dropout=0.0, attention_dropout=dropout, **LATE).train()
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
        blocks = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
        assert len(blocks) == (2 if checkpointing else 0)  # the attention of each stream
        torch.manual_seed(3)
        loss = model(*clips_for(model), labels=EMOTIONS).loss
        loss.backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        results.append(({"loss": loss.detach()}, gradients, dict(model.named_buffers())))
    # The running statistics are among the buffers: had the batch been normalized twice, they would differ.
    torch.testing.assert_close(*results)


def test_the_attention_is_computed_again_under_checkpointing() -> None:
    model = small_model().train()
    model.activation_checkpointing_enable()
    passes = []
    model.ser.streams[0].attention.query.register_forward_hook(lambda *_: passes.append("attention"))
    model.ser.streams[0].conv2.norm.register_forward_hook(lambda *_: passes.append("normalization"))
    model(*clips_for(model), labels=EMOTIONS).loss.backward()
    assert passes == ["normalization", "attention", "attention"]


def losses_and_state(model: torch.nn.Module, run: Callable[..., Any], batches: list[list[int]]) -> list[Any]:
    """Go forward and back on clips of some lengths: losses, gradients and statistics."""
    losses = []
    for lengths in batches:
        loss = run(*clips_for(model, lengths), labels=EMOTIONS).loss
        loss.backward()
        losses.append(loss.detach())
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return [losses, gradients, dict(model.named_buffers())]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fields", [{}, STATISTICS | {"loss": "focal"}, FUNCTIONALS, STEM], ids=str)
def test_compiled_without_a_graph_break(fields: dict, training: bool) -> None:
    torch.compiler.reset()
    plain, compiled = (small_model(dropout=0, attention_dropout=0, **fields).train(training) for _ in range(2))
    run = torch.compile(compiled, backend="eager", fullgraph=True, dynamic=True)
    batches = [LENGTHS, [3, 20, 4, 9]]  # a second shape, on which the graph must not have been fixed
    torch.testing.assert_close(losses_and_state(compiled, run, batches), losses_and_state(plain, plain, batches))


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler for inductor")
def test_compiled_by_inductor_for_clips_of_every_length() -> None:
    torch.compiler.reset()
    plain, compiled = (small_model(dropout=0, attention_dropout=0).train() for _ in range(2))
    batches = [[5, 9, frames, 7] for frames in (16, 32)]
    run = torch.compile(compiled, dynamic=True)
    torch.testing.assert_close(losses_and_state(compiled, run, batches), losses_and_state(plain, plain, batches))


@pytest.mark.parametrize(
    "shape", [{}, LATE, STATISTICS, FUNCTIONALS, {"num_members": 2}, STEM, STEM_AND_LAYERS, HEAD], ids=str
)
def test_exported_with_dynamic_batch_and_time(shape: dict) -> None:
    kind = SEREnsembleForAudioClassification if "num_members" in shape else SERForAudioClassification
    model = enlivened(kind(small_config(**shape)))
    least = 5 if model.config.stem_channels else 1  # torch.export tells one frame from several, and 5 become 2
    batch, frames = torch.export.Dim("batch", min=1), torch.export.Dim("frames", min=least)
    features, mask = clips_for(model)
    program = torch.export.export(
        model,
        (),
        {"input_features": features, "attention_mask": mask},
        dynamic_shapes={"input_features": {0: batch, 1: frames}, "attention_mask": {0: batch, 1: frames}},
        strict=False,
    )
    for lengths in ([7], [least], [30, 2, 9], LENGTHS):
        features, mask = clips_for(model, lengths)
        exported = program.module()(input_features=features, attention_mask=mask)
        expected = model(features, mask).logits
        torch.testing.assert_close(exported["logits"], expected, rtol=0, atol=1e-6)
