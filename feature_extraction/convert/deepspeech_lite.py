"""TensorFlow Lite models of DeepSpeech (.tflite) → weights and facts.

Names of tensors differ from release to release, so weights are told by the order of the operators. The recurrence is
unrolled: all of its steps share one matrix.
"""

from functools import partial

import numpy as np

from .alphabet import unpack_alphabet
from .file_bytes import ModelFileError
from .model_facts import SAMPLING_RATE, ModelFacts, front_end_of, input_sizes, only_value, releases_with, relu_limit
from .tensorflow_bytes import scalar
from .tensorflow_lite import LiteModel, Operator, option

# The schema's numbers of the operations that matter.
ADD, FULLY_CONNECTED, LOGISTIC, TANH, SPLIT, MINIMUM = 0, 9, 14, 28, 49, 57
# What a model with layer normalization holds besides; DeepSpeech 0.9 and Coqui STT can be trained so.
NORMALIZING = {40: "MEAN", 41: "SUB", 42: "DIV", 75: "SQRT", 76: "RSQRT", 99: "SQUARED_DIFFERENCE"}
LAYERS = ("1", "2", "3", "lstm", "5", "6")


def read_lite(buffer: memoryview) -> ModelFacts:
    """Read a .tflite file, float or with quantized weights."""
    model = LiteModel(buffer)
    _check_plain(model)
    weights = _read_weights(model)
    _check_gates(model)
    inputs = {model.name(tensor): tensor for tensor in model.inputs}
    if "input_node" not in inputs:
        raise ModelFileError("the model has no input 'input_node': it was not exported by DeepSpeech")
    input_size, context_size = input_sizes(model.shape(inputs["input_node"]))
    outputs = {model.name(tensor): tensor for tensor in model.outputs}
    front_end = _front_end(model, outputs)
    wanted = "python_speech_features" if front_end is None else "tensorflow"
    packed = outputs.get("metadata_alphabet")
    return ModelFacts(
        weights=weights,
        releases=releases_with("mfcc", wanted),
        forget_bias=_forget_bias(model),
        relu_clip=_relu_clip(model),
        input_size=input_size,
        context_size=context_size,
        front_end=front_end,
        alphabet=None if packed is None else unpack_alphabet(model.value(packed)),
    )


def _check_plain(model: LiteModel) -> None:
    """Refuse layer normalization, which the network here does not have: without it, other values would come out."""
    found = sorted({NORMALIZING[operator.code] for operator in model.operators if operator.code in NORMALIZING})
    if found:
        raise ModelFileError(
            f"the model normalizes its layers ({', '.join(found)}), which is not supported; take a model that was "
            "trained without --layer_norm"
        )


def _read_weights(model: LiteModel) -> dict[str, np.ndarray]:
    found: dict[int, Operator] = {}
    for operator in _of_code(model, FULLY_CONNECTED):
        if len(operator.inputs) != 3:
            raise ModelFileError("a layer of the model has no bias, as in all releases of DeepSpeech it has")
        found.setdefault(model.buffer_number(operator.inputs[1]), operator)
    if len(found) != len(LAYERS):
        raise ModelFileError(f"the model has {len(found)} different layers instead of DeepSpeech's {len(LAYERS)}")
    weights = {}
    for layer, operator in zip(LAYERS, found.values(), strict=True):
        weight, bias = model.value(operator.inputs[1]), model.value(operator.inputs[2])
        if not isinstance(weight, np.ndarray) or not isinstance(bias, np.ndarray):
            raise ModelFileError(f"the weights of layer {layer} are no constants; the file is damaged")
        names = ("lstm_kernel", "lstm_bias") if layer == "lstm" else (f"w{layer}", f"b{layer}")
        weights |= dict(zip(names, (weight.T, bias), strict=True))
    return weights


def _check_gates(model: LiteModel) -> None:
    """Check that the gates stand in the order i, j, f, o: of each split's four parts only the second meets a tanh."""
    read_by_tanh = {tensor for operator in _of_code(model, TANH) for tensor in operator.inputs}
    splits = _of_code(model, SPLIT)
    if not splits:
        raise ModelFileError("the model has no LSTM of the kind that DeepSpeech exports")
    for operator in splits:
        if [tensor in read_by_tanh for tensor in operator.outputs] != [False, True, False, False]:
            raise ModelFileError("the gates of the model's LSTM stand in another order than DeepSpeech's")


def _forget_bias(model: LiteModel) -> float:
    """Read what is added to the forget gate before its sigmoid; where nothing is, that is 0."""
    read_by_sigmoid = {tensor for operator in _of_code(model, LOGISTIC) for tensor in operator.inputs}
    sums = [operator for operator in _of_code(model, ADD) if operator.outputs[0] in read_by_sigmoid]
    added = [model.scalar(tensor) for operator in sums for tensor in operator.inputs]
    found = [value for value in added if value is not None]
    return only_value(found, "forget bias") if found else 0.0


def _relu_clip(model: LiteModel) -> float:
    return relu_limit([model.scalar(tensor) for operator in _of_code(model, MINIMUM) for tensor in operator.inputs])


def _front_end(model: LiteModel, outputs: dict[str, int]) -> dict[str, object] | None:
    options = {operator.custom: operator.options for operator in model.operators if operator.custom}
    kernels = [options[name] for name in ("AudioSpectrogram", "Mfcc") if name in options]
    if not kernels:
        return None  # release 0.4, whose features its clients compute
    if len(kernels) == 1:
        raise ModelFileError("the model computes only half of its features; the file is damaged")
    rate = scalar(model.value(outputs["metadata_sample_rate"])) if "metadata_sample_rate" in outputs else None
    return front_end_of(SAMPLING_RATE if rate is None else rate, *(partial(option, kernel) for kernel in kernels))


def _of_code(model: LiteModel, code: int) -> list[Operator]:
    operators = [operator for operator in model.operators if operator.code == code]
    if any(not operator.inputs or not operator.outputs for operator in operators):
        raise ModelFileError("an operator of the model reads or writes nothing; the file is damaged")
    return operators
