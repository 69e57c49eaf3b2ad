"""Low-rank adapters (LoRA) in an encoder's blocks, by the package peft: plain weights wherever they are saved.

Source: Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

STATE = "low_rank.safetensors"  # beside a checkpoint's weights, what an exact resumption needs
RANK = 8
NAME = "default"  # of the adapters, as peft calls them
# Linear layers of a block, by transformers' names; WavLM's attention reads the weights of its own past their layers.
FEED_FORWARD = ["fc1", "fc2", "intermediate_dense", "output_dense"]
ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]


def add_low_rank(blocks: nn.ModuleList, rank: int | None = None) -> None:
    """Put adapters beside the linear layers of blocks, which are themselves frozen; they give nothing at first.

    The layers' weights are saved and loaded as plain ones, with what the adapters add.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(
            "--train_encoder lora needs the package peft: pip install 'modeling-ser[lora]'. Whoever loads the model "
            "needs it no more."
        ) from error
    rank = RANK if rank is None else rank
    relative = any(name.endswith("rel_attn_embed") for name, _ in blocks.named_modules())  # WavLM
    targets = FEED_FORWARD if relative else ATTENTION + FEED_FORWARD
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), blocks, NAME)
    for layer in low_rank_layers(blocks).values():
        layer.register_state_dict_post_hook(_write_plain)
        layer.register_load_state_dict_pre_hook(_read_plain)


def low_rank_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that have adapters, by name."""
    return {name: layer for name, layer in network.named_modules() if hasattr(layer, "lora_A")}


def exact_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return weights and adapters apart, as they learn: added up they would be rounded."""
    return {
        f"{name}.{parameter}": value.detach().clone()
        for name, layer in low_rank_layers(network).items()
        for parameter, value in layer.named_parameters()
    }


def save_exact_state(network: nn.Module, folder: Path) -> None:
    """Save weights and adapters apart, if there are adapters."""
    if state := exact_state(network):
        save_file(state, folder / STATE)


@torch.no_grad()
def load_exact_state(network: nn.Module, folder: Path) -> None:
    """Load them again."""
    layers = low_rank_layers(network)
    if not layers:
        return
    if not (folder / STATE).is_file():
        raise FileNotFoundError(f"{folder} cannot be resumed exactly: it has no {STATE}.")
    state = load_file(folder / STATE)
    for name, layer in layers.items():
        for parameter, value in layer.named_parameters():
            value.copy_(state[f"{name}.{parameter}"])


@torch.no_grad()
def merge_low_rank(network: nn.Module) -> None:
    """Put a plain layer, with what the adapters add, in the place of each that has some."""
    for name, layer in low_rank_layers(network).items():
        plain = layer.get_base_layer()
        plain.weight.copy_(_merged(layer))
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, plain)


def _merged(layer: nn.Module) -> torch.Tensor:
    weight = layer.get_base_layer().weight
    return weight + layer.get_delta_weight(NAME).to(weight.dtype)


@torch.no_grad()
def _write_plain(layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give the names and values of a plain layer in place of those of its parts."""
    base = layer.get_base_layer()
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]
    state[f"{prefix}weight"] = _merged(layer).detach()
    if base.bias is not None:
        state[f"{prefix}bias"] = base.bias.detach()


def _read_plain(layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Take the weights of a plain layer as the layer's own, to which the adapters add nothing."""
    for name in ("weight", "bias"):
        if f"{prefix}{name}" in state:
            state[f"{prefix}base_layer.{name}"] = state.pop(f"{prefix}{name}")
    state[f"{prefix}lora_A.{NAME}.weight"] = layer.lora_A[NAME].weight.detach()
    state[f"{prefix}lora_B.{NAME}.weight"] = torch.zeros_like(layer.lora_B[NAME].weight)
