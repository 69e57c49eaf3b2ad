"""TensorFlow Lite models of DeepSpeech (.tflite) → weights and facts.

Names of tensors differ from release to release, so weights are told by the order of the operators. The recurrence is
unrolled: all of its steps share one matrix.
"""

import numpy as np

from .alphabet import unpack_alphabet
from .model_facts import SAMPLING_RATE, ModelFacts, front_end_of, input_sizes, only_value, releases_with, relu_limit
from .tensorflow_bytes import ModelFileError
from .tensorflow_lite import LiteModel, Operator, option
from .weights import check_weights

# The schema's numbers of the operations that matter.
ADD, FULLY_CONNECTED, LOGISTIC, TANH, SPLIT, MINIMUM = 0, 9, 14, 28, 49, 57
# What a model with layer normalization holds besides; DeepSpeech 0.9 and Coqui STT can be trained so.
NORMALIZING = {40: "MEAN", 41: "SUB", 42: "DIV", 75: "SQRT", 76: "RSQRT", 99: "SQUARED_DIFFERENCE"}
LAYERS = ("1", "2", "3", "lstm", "5", "6")
MFCC_OPTIONS = (
    "upper_frequency_limit",
    "lower_frequency_limit",
    "filterbank_channel_count",
    "dct_coefficient_count",
)


def read_lite(buffer: memoryview) -> ModelFacts:
    """Read a .tflite file, float or with quantized weights."""
    model = LiteModel(buffer)
    _check_plain(model)
    weights = _read_weights(model)
    check_weights(weights)
    _check_gates(model)
    inputs = {model.name(tensor): tensor for tensor in model.inputs}
    if "input_node" not in inputs:
        raise ModelFileError("the model has no input 'input_node': it was not exported by DeepSpeech")
    input_size, context_size = input_sizes(model.shape(inputs["input_node"]))
    outputs = {model.name(tensor): tensor for tensor in model.outputs}
    front_end = _front_end(model, outputs)
    wanted = "python_speech_features" if front_end is None else "tensorflow"
    return ModelFacts(
        weights=weights,
        releases=releases_with("mfcc", wanted),
        forget_bias=_forget_bias(model),
        relu_clip=_relu_clip(model),
        input_size=input_size,
        context_size=context_size,
        front_end=front_end,
        alphabet=_alphabet(model, outputs),
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
    added = [_scalars(model, operator) for operator in _of_code(model, ADD) if operator.outputs[0] in read_by_sigmoid]
    return only_value([value for values in added for value in values], "forget bias") if any(added) else 0.0


def _relu_clip(model: LiteModel) -> float:
    return relu_limit([value for operator in _of_code(model, MINIMUM) for value in _scalars(model, operator)])


def _front_end(model: LiteModel, outputs: dict[str, int]) -> dict[str, object] | None:
    custom = {operator.custom: operator for operator in model.operators if operator.custom}
    if "AudioSpectrogram" not in custom and "Mfcc" not in custom:
        return None  # release 0.4, whose features its clients compute
    if "AudioSpectrogram" not in custom or "Mfcc" not in custom:
        raise ModelFileError("the model computes only half of its features; the file is damaged")
    spectrogram, mfcc = custom["AudioSpectrogram"].options, custom["Mfcc"].options
    stated = model.value(outputs["metadata_sample_rate"]) if "metadata_sample_rate" in outputs else None
    return front_end_of(
        sampling_rate=float(stated.item()) if isinstance(stated, np.ndarray) and stated.size == 1 else SAMPLING_RATE,
        window=option(spectrogram, "window_size"),
        step=option(spectrogram, "stride"),
        squared=option(spectrogram, "magnitude_squared"),
        mfcc={name: option(mfcc, name) for name in MFCC_OPTIONS},
    )


def _alphabet(model: LiteModel, outputs: dict[str, int]) -> list[str] | None:
    tensor = outputs.get("metadata_alphabet")
    return None if tensor is None else unpack_alphabet(model.value(tensor))


def _of_code(model: LiteModel, code: int) -> list[Operator]:
    operators = [operator for operator in model.operators if operator.code == code]
    if any(not operator.inputs or not operator.outputs for operator in operators):
        raise ModelFileError("an operator of the model reads or writes nothing; the file is damaged")
    return operators


def _scalars(model: LiteModel, operator: Operator) -> list[float]:
    values = [model.scalar(tensor) for tensor in operator.inputs if tensor >= 0]
    return [value for value in values if value is not None]
