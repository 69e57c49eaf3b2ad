"""What was read from a model file becomes a network, its feature extractor and its tokenizer."""

from collections.abc import Mapping

import numpy as np
import torch
from transformers import Wav2Vec2CTCTokenizer

from ..configuration_deepspeech import DeepSpeechConfig
from ..feature_extraction_deepspeech import DeepSpeechFeatureExtractor
from ..modeling_deepspeech import DeepSpeechForCTC
from ..tokenizer_deepspeech import build_tokenizer
from .model_facts import ModelFacts
from .weights import DENSE_LAYERS


def build_model(
    facts: ModelFacts,
) -> tuple[DeepSpeechForCTC, DeepSpeechFeatureExtractor, Wav2Vec2CTCTokenizer]:
    """Build what a converted folder holds."""
    config = DeepSpeechConfig(
        input_size=facts.input_size,
        context_size=facts.context_size,
        hidden_size=facts.hidden_size,
        vocab_size=facts.outputs,
        relu_clip=facts.relu_clip,
        forget_bias=facts.forget_bias,
    )
    # Fresh weights would take longer to draw than everything else together.
    with torch.device("meta"):
        model = DeepSpeechForCTC(config)
    state = to_state_dict(facts.weights, facts.forget_bias)
    model.load_state_dict({f"deepspeech.{name}": value for name, value in state.items()}, strict=True, assign=True)
    return model.eval(), DeepSpeechFeatureExtractor(**facts.front_end), build_tokenizer(facts.alphabet)


def to_state_dict(weights: Mapping[str, np.ndarray], forget_bias: float) -> dict[str, torch.Tensor]:
    """Bring checked weights into torch's layout."""
    state = {}
    for layer in DENSE_LAYERS:
        state[f"layer_{layer}.weight"] = _tensor(weights[f"w{layer}"].T)
        state[f"layer_{layer}.bias"] = _tensor(weights[f"b{layer}"])
    i, j, f, o = np.split(weights["lstm_kernel"], 4, axis=1)  # (2 * hidden, hidden) each
    bias_i, bias_j, bias_f, bias_o = np.split(weights["lstm_bias"], 4)
    kernel = np.concatenate((i, f, j, o), axis=1).T  # (4 * hidden, 2 * hidden)
    hidden = kernel.shape[1] // 2
    state["lstm.weight_ih_l0"] = _tensor(kernel[:, :hidden])
    state["lstm.weight_hh_l0"] = _tensor(kernel[:, hidden:])
    state["lstm.bias_ih_l0"] = _tensor(np.concatenate((bias_i, bias_f + np.float32(forget_bias), bias_j, bias_o)))
    state["lstm.bias_hh_l0"] = torch.zeros(4 * hidden)
    return state


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32, order="C"))
