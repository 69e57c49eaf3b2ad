"""Transformers' speech encoders at the clips' own lengths, for an encoder that belongs to the model.

A copy of feature_extraction/encoder_layers.py, which the Hub holds without this folder; a test compares them. What it
computes is explained there.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel


def encoder_states(
    network: PreTrainedModel, inputs: torch.Tensor, lengths: torch.Tensor | None, layers: Sequence[int]
) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    """Run an encoder from its inputs to the highest of some layers.

    Args:
        network: Whisper's encoder, or a wav2vec 2.0, HuBERT, WavLM or UniSpeech model without a head.
        inputs: Of Whisper log-mel energies (batch, bins, frames), of the others waveforms (batch, samples).
        lengths: Frames or samples of each clip, (batch,); `None` if all fill the batch.
        layers: Numbers of the layers wanted.

    Returns:
        States of each layer, (batch, states, size), and each clip's number of them, (batch,), or `None` as given.
    """
    states, lengths = first_states(network, inputs, lengths)
    return block_states(network, states, lengths, layers), lengths


def first_states(
    network: PreTrainedModel, inputs: torch.Tensor, lengths: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Compute what enters the first block, and the clips' numbers of states; shapes as of `encoder_states`."""
    read = _whisper_inputs if network.config.model_type == "whisper" else _waveform_inputs
    return read(network, inputs, lengths)


def block_states(
    network: PreTrainedModel,
    states: torch.Tensor,
    lengths: torch.Tensor | None,
    layers: Sequence[int],
    start: int = 0,
) -> list[torch.Tensor]:
    """Run the blocks from the states of one layer to the highest of others.

    Args:
        network: As of `encoder_states`.
        states: Those of layer `start`, (batch, states, size).
        lengths: How many each clip has, (batch,); `None` if all fill the batch.
        layers: Numbers of the layers wanted, none below `start`.
        start: Layer that `states` are of; not Whisper's last, whose states are normalized.

    Returns:
        States of each layer, (batch, states, size).

    Raises:
        ValueError: If a layer lies below `start` or above the last one.
    """
    encoder = network if network.config.model_type == "whisper" else network.encoder
    last = network.config.num_hidden_layers  # of which a network may hold only the lower ones
    if not layers or min(layers) < start or max(layers) > last:
        raise ValueError(f"layers={list(layers)}: choose from {start}, where the states are of, to {last}, the last.")
    kept = real_frames(states, lengths)  # (batch, states) or None
    mask = kept
    if kept is not None and network.config.model_type != "wavlm":  # which adds its own bias by position
        mask = torch.zeros_like(kept, dtype=states.dtype).masked_fill(~kept, torch.finfo(states.dtype).min)
        mask = mask[:, None, None]  # (batch, 1, 1, keys)
    found = {start: states}
    bias = None
    for number, block in enumerate(encoder.layers[start : max(layers)], start=start + 1):
        if network.config.model_type == "wavlm":
            if bias is None:  # the first block owns it
                bias = _wavlm_bias(encoder, states)
            states, bias = block(states, attention_mask=mask, position_bias=bias)
        else:
            states = block(states, attention_mask=mask)
        if number == last and network.config.model_type == "whisper":
            states = encoder.layer_norm(states)
        if number in layers:
            found[number] = states
    return [found[layer] for layer in layers]


def real_frames(states: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor | None:
    """Which states are of their clips and not of the padding, (batch, states); `None` if all are."""
    if lengths is None:
        return None
    return torch.arange(states.shape[1], device=states.device) < lengths.to(states.device)[:, None]


def _whisper_inputs(
    encoder: PreTrainedModel, log_mel: torch.Tensor, lengths: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    # The second convolution has stride 2, and at a clip's end it must read the zeros that it reads when alone.
    states = F.gelu(encoder.conv1(_zeros_after(log_mel, lengths)))  # (batch, size, frames)
    states = F.gelu(encoder.conv2(_zeros_after(states, lengths))).transpose(1, 2)  # (batch, frames / 2, size)
    if states.shape[1] > encoder.config.max_source_positions:
        raise ValueError(
            f"Whisper reads {2 * encoder.config.max_source_positions} frames at once, not {log_mel.shape[2]}; "
            "split the clip into windows."
        )
    states = states + encoder.embed_positions.weight[: states.shape[1]]
    states = F.dropout(states, encoder.dropout, encoder.training)
    return states, None if lengths is None else (lengths + 1) // 2


def _waveform_inputs(
    network: PreTrainedModel, waveforms: torch.Tensor, lengths: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    states = waveforms[:, None]  # (batch, 1, samples)
    for layer in network.feature_extractor.conv_layers:
        if lengths is not None:
            lengths = (lengths - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
        if lengths is not None and isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm):
            states = layer.activation(_normalize_over_time(layer.conv(states), lengths, layer.layer_norm))
        else:
            states = layer(states)  # (batch, channels, frames)
    projected = network.feature_projection(states.transpose(1, 2))  # (batch, frames, size)
    states = projected[0] if isinstance(projected, tuple) else projected
    encoder = network.encoder
    states = _zeros_after(states.transpose(1, 2), lengths).transpose(1, 2)
    states = states + encoder.pos_conv_embed(states)
    if not getattr(network.config, "do_stable_layer_norm", False):
        states = encoder.layer_norm(states)
    return encoder.dropout(states), lengths


def _normalize_over_time(states: torch.Tensor, lengths: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
    """Normalize each channel by its own mean and deviation over the clip's real frames, (batch, channels, frames)."""
    counts = lengths.to(states)[:, None, None]
    centered = states - _zeros_after(states, lengths).sum(dim=2, keepdim=True) / counts
    variance = _zeros_after(centered, lengths).square().sum(dim=2, keepdim=True) / counts  # (batch, channels, 1)
    return centered * torch.rsqrt(variance + norm.eps) * norm.weight[:, None] + norm.bias[:, None]


def _wavlm_bias(encoder: nn.Module, states: torch.Tensor) -> torch.Tensor:
    """WavLM's bias by distance, which its first block has for all of them, (batch × heads, states, states)."""
    bias = encoder.layers[0].attention.compute_bias(states.shape[1], states.shape[1])  # (heads, states, states)
    return bias.repeat(states.shape[0], 1, 1)  # to torch.export `len` is a constant


def _zeros_after(states: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Zeros beyond each clip's end, (batch, channels, frames)."""
    kept = real_frames(states.transpose(1, 2), lengths)
    return states if kept is None else states.masked_fill(~kept[:, None], 0)
