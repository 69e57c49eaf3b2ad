"""Frozen graphs of DeepSpeech (.pb, .pbmm) → weights and facts."""

import numpy as np

from .alphabet import unpack_alphabet
from .model_facts import SAMPLING_RATE, ModelFacts, front_end_of, input_sizes, only_value, releases_with, relu_limit
from .tensorflow_bytes import ModelFileError
from .tensorflow_graph import CONSTANTS, FrozenGraph, Node
from .weights import check_weights, find_variables

# What TensorFlow takes where an attribute is not written.
BLOCK_LSTM_DEFAULTS = {"forget_bias": 1.0, "cell_clip": 3.0, "use_peephole": 0.0}
MFCC_DEFAULTS = {
    "upper_frequency_limit": 4000.0,
    "lower_frequency_limit": 20.0,
    "filterbank_channel_count": 40.0,
    "dct_coefficient_count": 13.0,
}


def read_graph(buffer: memoryview) -> ModelFacts:
    """Read a .pb or .pbmm file."""
    graph = FrozenGraph(buffer)
    constants = [node.name for node in graph.of_op(*CONSTANTS)]
    style, names = find_variables(constants)
    weights = {}
    for key, name in names.items():
        value = graph.constant(name)
        if not isinstance(value, np.ndarray):
            raise ModelFileError(f"the weights {name!r} are no numbers; the file is damaged")
        weights[key] = value
    check_weights(weights)
    if "input_node" not in graph.by_name:
        raise ModelFileError("the graph has no 'input_node': it was not exported by DeepSpeech")
    input_size, context_size = input_sizes(graph.shape(graph.by_name["input_node"]))
    return ModelFacts(
        weights=weights,
        releases=releases_with("variables", style),
        forget_bias=_forget_bias(graph),
        relu_clip=_relu_clip(graph),
        input_size=input_size,
        context_size=context_size,
        front_end=_front_end(graph, style),
        alphabet=_alphabet(graph),
    )


def _forget_bias(graph: FrozenGraph) -> float:
    cells = graph.of_op("BlockLSTM")
    if not cells:
        kinds = ", ".join(sorted({node.op for node in graph.nodes if "LSTM" in node.op})) or "none"
        raise ModelFileError(f"the graph has no LSTM of the kind that DeepSpeech exports (BlockLSTM), but {kinds}")
    values = {
        name: only_value([graph.number(cell, name, default) for cell in cells], name)
        for name, default in BLOCK_LSTM_DEFAULTS.items()
    }
    if values["use_peephole"] or values["cell_clip"] > 0:
        raise ModelFileError("the graph's LSTM has peepholes or clips its cells, as no release of DeepSpeech does")
    return values["forget_bias"]


def _relu_clip(graph: FrozenGraph) -> float:
    limits = []
    for node in graph.of_op("Minimum"):
        constants = [graph.constant(name) for name in node.inputs]
        limits += [float(value.item()) for value in constants if isinstance(value, np.ndarray) and value.size == 1]
    return relu_limit(limits)


def _front_end(graph: FrozenGraph, style: str) -> dict[str, object] | None:
    spectrograms, cepstra = graph.of_op("AudioSpectrogram"), graph.of_op("Mfcc")
    if not spectrograms and not cepstra:
        if style != "h1":
            raise ModelFileError("the graph computes no features, as exported graphs since release 0.5 do")
        return None  # release 0.4, whose features its clients compute
    if len(spectrograms) != 1 or len(cepstra) != 1:
        raise ModelFileError("the graph computes its features more than once, as no release of DeepSpeech does")
    spectrogram, mfcc = spectrograms[0], cepstra[0]
    return front_end_of(
        sampling_rate=_sampling_rate(graph),
        window=graph.number(spectrogram, "window_size", 0.0),
        step=graph.number(spectrogram, "stride", 0.0),
        squared=graph.number(spectrogram, "magnitude_squared", 0.0),
        mfcc={name: graph.number(mfcc, name, default) for name, default in MFCC_DEFAULTS.items()},
    )


def _sampling_rate(graph: FrozenGraph) -> float:
    stated = graph.constant("metadata_sample_rate")
    if isinstance(stated, np.ndarray) and stated.size == 1:
        return float(stated.item())
    described = graph.by_name.get("model_metadata", Node("", ""))  # release 0.5
    return graph.number(described, "sample_rate", SAMPLING_RATE)


def _alphabet(graph: FrozenGraph) -> list[str] | None:
    packed = graph.constant("metadata_alphabet")
    return None if packed is None else unpack_alphabet(packed)
