"""A speech encoder that belongs to the model: from its cheap input, or from a layer's states, to the layers read."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .configuration_ser import SERConfig
from .encoder_blocks import block_states, encoder_states, real_frames


class EncoderNetwork(nn.Module):
    """An encoder of transformers up to the highest layer that the model reads; blocks above it are left out.

    Args:
        config: The configuration; `encoder_config` says which encoder, `encoder_layers` which of its layers are read.

    Raises:
        ValueError: If the encoder is of a kind that is not known here, lacks a layer, or has another size than
            `config.input_size` says.

    Source: ours; the encoders are those of Radford et al., 2022, Baevski et al., 2020, Hsu et al., 2021, and Chen et
        al., 2022, as transformers has them.
    """

    def __init__(self, config: SERConfig) -> None:
        super().__init__()
        settings = AutoConfig.for_model(**config.encoder_config)
        self.layers = list(config.encoder_layers)
        if max(self.layers) > settings.num_hidden_layers:
            raise ValueError(
                f"encoder_layers {self.layers}: the encoder has the layers 0 to {settings.num_hidden_layers}."
            )
        if settings.hidden_size * len(self.layers) != config.input_size:
            raise ValueError(
                f"input_size must be {settings.hidden_size * len(self.layers)}, {len(self.layers)} layers of "
                f"{settings.hidden_size} each, not {config.input_size}."
            )
        self.size = settings.hidden_size
        self.network = _trimmed(_new_network(settings), max(self.layers))

    @property
    def reads_log_mel(self) -> bool:
        """Whether its input are log-mel energies, as Whisper's; else it is a waveform."""
        return self.network.config.model_type == "whisper"

    @property
    def input_size(self) -> int:
        """Features of a frame of its input: mel bins, or 1 for the samples of a waveform."""
        return self.network.config.num_mel_bins if self.reads_log_mel else 1

    @property
    def frame_stride(self) -> int:
        """Frames of its input for each frame of its layers."""
        return 2 if self.reads_log_mel else math.prod(self.network.config.conv_stride)

    def forward(
        self, inputs: torch.Tensor, mask: torch.Tensor | None, given_layers: Sequence[int] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Compute the layers that the model reads.

        Args:
            inputs: Log-mel energies or waveforms, (batch, frames, input_size); or states of some layers side by side,
                (batch, states, size × layers).
            mask: 1 for real frames, (batch, frames); `None` when all are real.
            given_layers: Which layers the states are of; the network starts at the highest of them. `None` where the
                inputs are the encoder's own.

        Returns:
            The layers side by side, (batch, states, size × layers read), and the mask of the states, (batch, states).
        """
        inputs = inputs.to(next(self.parameters()).dtype)
        lengths = None if mask is None else mask.sum(dim=1)
        if given_layers is not None:
            joined = torch.cat(self._from_states(inputs, lengths, list(given_layers)), dim=-1)
        elif self.reads_log_mel and inputs.shape[1] > 2 * self.network.config.max_source_positions:
            joined, lengths = self._in_windows(inputs, lengths)
        else:
            own = inputs.transpose(1, 2) if self.reads_log_mel else inputs.squeeze(-1)
            states, lengths = encoder_states(self.network, own, lengths, self.layers)
            joined = torch.cat(states, dim=-1)  # (batch, states, size × layers)
        kept = real_frames(joined, lengths)
        return joined, None if kept is None else kept.long()

    def _from_states(self, inputs: torch.Tensor, lengths: torch.Tensor | None, given: list[int]) -> list[torch.Tensor]:
        """Go on from the highest layer that is given; layers below it come from what is given, too."""
        start = max(given)
        missing = sorted({layer for layer in self.layers if layer < start} - set(given))
        if missing or inputs.shape[-1] != self.size * len(given):
            raise ValueError(
                f"States of the layers {given} came, {inputs.shape[-1]} features wide, where the model reads the "
                f"layers {self.layers} of {self.size} each."
            )
        found = dict(zip(given, inputs.chunk(len(given), dim=-1), strict=True))
        above = [layer for layer in self.layers if layer > start]
        if above:
            found |= zip(above, block_states(self.network, found[start], lengths, above, start), strict=True)
        return [found[layer] for layer in self.layers]

    def _in_windows(self, log_mel: torch.Tensor, lengths: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Read clips that are longer than Whisper's 30 s window by window, as the extractor does."""
        size = 2 * self.network.config.max_source_positions  # frames of a window
        if lengths is None:
            lengths = torch.full(log_mel.shape[:1], log_mel.shape[1], device=log_mel.device)
        parts: list[torch.Tensor] = []  # layers joined window by window, so that of an hour there are fewer copies
        for number, window in enumerate(log_mel.split(size, dim=1)):
            inside = (lengths - number * size).clamp(0, window.shape[1])  # (batch,)
            rows = inside.nonzero().squeeze(1)  # clips that reach into this window
            states, _ = encoder_states(self.network, window[rows].transpose(1, 2), inside[rows], self.layers)
            joined = torch.cat(states, dim=-1)  # (rows, states, size × layers)
            parts.append(joined.new_zeros(len(log_mel), *joined.shape[1:]).index_copy(0, rows, joined))
        return torch.cat(parts, dim=1), (lengths + 1) // 2

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's blocks; block k - 1 gives layer k."""
        return self.network.layers if self.reads_log_mel else self.network.encoder.layers

    def front_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters outside of the blocks by name: convolutions, positions and normalizations."""
        of_blocks = {id(one) for one in self.blocks.parameters()}
        return {name: one for name, one in self.named_parameters() if id(one) not in of_blocks}

    def train(self, mode: bool = True) -> Self:
        """Switch to training; what is frozen stays as it is in use, without dropout."""
        self.training = mode
        front = mode and any(one.requires_grad for one in self.front_parameters().values())
        self.network.train(front)
        for block in self.blocks:
            block.train(mode and any(one.requires_grad for one in block.parameters()))
        return self


def _new_network(settings: PreTrainedConfig) -> PreTrainedModel:
    """Make an encoder without what only pretraining or a recognizer needs."""
    if settings.model_type == "whisper":
        return WhisperEncoder(settings)
    if hasattr(settings, "add_adapter"):
        settings.add_adapter = False  # it comes after the layers that are read
    network = AutoModel.from_config(settings)
    if hasattr(network, "masked_spec_embed"):
        del network.masked_spec_embed
    return network


def _trimmed(network: PreTrainedModel, highest: int) -> PreTrainedModel:
    """Leave out the blocks above a layer, and a last normalization that none of the layers has passed."""
    whisper = network.config.model_type == "whisper"
    encoder = network if whisper else network.encoder
    unread = highest < len(encoder.layers) if whisper else getattr(network.config, "do_stable_layer_norm", False)
    if unread:
        del encoder.layer_norm
    encoder.layers = encoder.layers[:highest]
    return network
