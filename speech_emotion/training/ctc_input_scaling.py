"""Normalized features for a network that takes raw ones: the scaling lives in the first layer's weights."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from feature_extraction import DeepSpeechForCTC


class ScaledLinear(nn.Linear):
    """A linear layer that learns on normalized inputs and is stored as a plain one that takes raw inputs."""

    def __init__(self, mean: torch.Tensor, std: torch.Tensor, out_features: int) -> None:
        super().__init__(len(mean), out_features)
        if not bool((std > 0).all() and std.isfinite().all()):
            raise ValueError("Every deviation must be positive and finite.")
        self.register_buffer("mean", mean.float(), persistent=False)
        self.register_buffer("std", std.float(), persistent=False)

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W, (out_features, in_features), and b, (out_features,), of the plain layer that computes the same."""
        weight = self.weight / self.std
        return weight, self.bias - weight @ self.mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer to raw inputs."""
        # The weights are scaled, not the inputs: they are fewer, and it is then the plain layer's arithmetic.
        return F.linear(x, *self.folded())

    def exact_state(self) -> dict[str, torch.Tensor]:
        """Return V and c, by the names of the parameters that hold them."""
        return {name: parameter.detach().clone() for name, parameter in self.named_parameters()}

    @torch.no_grad()
    def load_exact_state(self, state: dict[str, torch.Tensor]) -> None:
        """Set V and c."""
        for name, parameter in self.named_parameters():
            parameter.copy_(state[name])

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        weight, bias = self.folded()
        if not keep_vars:
            weight, bias = weight.detach(), bias.detach()
        destination[f"{prefix}weight"], destination[f"{prefix}bias"] = weight, bias

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        weight, bias = state_dict.get(f"{prefix}weight"), state_dict.get(f"{prefix}bias")
        if weight is not None and bias is not None:
            scaled = {
                f"{prefix}weight": weight * self.std.to(weight),
                f"{prefix}bias": bias + weight @ self.mean.to(bias),
            }
            state_dict = {**state_dict, **scaled}
        super()._load_from_state_dict(state_dict, prefix, *args)


def scaled_input_layer(model: DeepSpeechForCTC) -> ScaledLinear | None:
    """Return the first layer of a model if `scale_inputs` made it, else `None`."""
    layer = model.deepspeech.layer_1
    return layer if isinstance(layer, ScaledLinear) else None


def scale_inputs(model: DeepSpeechForCTC, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Let a new model learn as on normalized features; DeepSpeech itself takes raw ones."""
    network = model.deepspeech
    places = 2 * model.config.context_size + 1
    layer = ScaledLinear(mean.repeat(places), std.repeat(places), network.layer_1.out_features)
    layer.load_exact_state(dict(network.layer_1.named_parameters()))
    network.layer_1 = layer.to(network.layer_1.weight.device)


def unscale_inputs(model: DeepSpeechForCTC) -> None:
    """Give the model a plain first layer again, which computes the same."""
    scaled = scaled_input_layer(model)
    if scaled is None:
        return
    plain = nn.Linear(scaled.in_features, scaled.out_features).to(scaled.weight.device)
    plain.load_state_dict(scaled.state_dict())
    model.deepspeech.layer_1 = plain.train(scaled.training)
