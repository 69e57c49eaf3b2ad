"""DeepSpeech's weights: under which names the original keeps them, and whether they fit each other."""

from collections.abc import Collection, Mapping

import numpy as np

from .file_bytes import ModelFileError

DENSE_LAYERS = (1, 2, 3, 5, 6)
MOST_UNITS = 1 << 14
_CUDNN_CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"


def _names(weight: str, bias: str, cell: str) -> dict[str, str]:
    names = {f"w{layer}": weight.format(layer) for layer in DENSE_LAYERS}
    names |= {f"b{layer}": bias.format(layer) for layer in DENSE_LAYERS}
    return names | {"lstm_kernel": f"{cell}/kernel", "lstm_bias": f"{cell}/bias"}


# TensorFlow's names of the variables, by the release that introduced them; the first key is the telling one.
VARIABLES = {
    "h1": _names("h{}", "b{}", "lstm_fused_cell"),  # 0.2 to 0.4
    "layer_1": _names("layer_{}/weights", "layer_{}/bias", "lstm_fused_cell"),  # 0.5
    "cudnn_lstm": _names("layer_{}/weights", "layer_{}/bias", _CUDNN_CELL),  # since 0.6
}


def find_variables(present: Collection[str]) -> tuple[str, dict[str, str]]:
    """Find out which names a file uses."""
    if any("LayerNorm" in name for name in present):
        raise ModelFileError("the model has layer normalization (--layer_norm), which is not supported")
    for style, names in VARIABLES.items():
        if all(name in present for name in names.values()):
            return style, names
    some = ", ".join(sorted(present)[:8])
    raise ModelFileError(f"the file's variables are not those of a DeepSpeech model of release 0.4 or later: {some}")


def check_weights(weights: Mapping[str, np.ndarray]) -> tuple[int, int, int]:
    """Check that the weights fit each other."""
    for name in ("w1", "w2", "w6"):
        if weights[name].ndim != 2:
            raise ModelFileError(f"{name} has the shape {weights[name].shape}, which no DeepSpeech model has")
    window, hidden, outputs = weights["w1"].shape[0], weights["w2"].shape[0], weights["w6"].shape[1]
    if not 0 < hidden <= MOST_UNITS or not 0 < window <= MOST_UNITS or not 1 < outputs <= 1 << 16:
        raise ModelFileError(f"{window} inputs, {hidden} units and {outputs} outputs: no DeepSpeech model has these")
    expected = {"lstm_kernel": (2 * hidden, 4 * hidden), "lstm_bias": (4 * hidden,)}
    for layer in DENSE_LAYERS:
        size = outputs if layer == 6 else hidden
        expected[f"w{layer}"], expected[f"b{layer}"] = (window if layer == 1 else hidden, size), (size,)
    for name, shape in expected.items():
        weight = weights[name]
        if weight.shape != shape:
            raise ModelFileError(f"{name} has the shape {weight.shape} instead of {shape}; the file is damaged")
        if weight.dtype != np.float32:
            raise ModelFileError(f"{name} is of type {weight.dtype} instead of float32, which is not supported")
        if not np.isfinite(weight).all():
            raise ModelFileError(f"{name} has values that are NaN or infinite; the file is damaged")
    return window, hidden, outputs
