"""Frozen graphs of DeepSpeech (.pb, .pbmm) → weights and facts."""

from functools import partial

import numpy as np

from .alphabet import unpack_alphabet
from .file_bytes import ModelFileError
from .model_facts import SAMPLING_RATE, ModelFacts, front_end_of, input_sizes, only_value, releases_with, relu_limit
from .tensorflow_bytes import scalar
from .tensorflow_graph import CONSTANTS, FrozenGraph, Node
from .weights import find_variables

# What TensorFlow takes where an attribute is not written; all others are 0 then.
DEFAULTS = {
    "forget_bias": 1.0,
    "cell_clip": 3.0,
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
    weights: dict[str, np.ndarray] = {}
    for key, name in names.items():
        value = graph.constant(name)
        if not isinstance(value, np.ndarray):
            raise ModelFileError(f"the weights {name!r} are no numbers; the file is damaged")
        weights[key] = value
    if "input_node" not in graph.by_name:
        raise ModelFileError("the graph has no 'input_node': it was not exported by DeepSpeech")
    input_size, context_size = input_sizes(graph.shape(graph.by_name["input_node"]))
    packed = graph.constant("metadata_alphabet")
    return ModelFacts(
        weights=weights,
        releases=releases_with("variables", style),
        forget_bias=_forget_bias(graph),
        relu_clip=_relu_clip(graph),
        input_size=input_size,
        context_size=context_size,
        front_end=_front_end(graph, style),
        alphabet=None if packed is None else unpack_alphabet(packed),
    )


def _forget_bias(graph: FrozenGraph) -> float:
    cells = graph.of_op("BlockLSTM")
    if not cells:
        kinds = ", ".join(sorted({node.op for node in graph.nodes if "LSTM" in node.op})) or "none"
        raise ModelFileError(f"the graph has no LSTM of the kind that DeepSpeech exports (BlockLSTM), but {kinds}")
    forget_bias, cell_clip, use_peephole = (
        only_value([_number(graph, cell, name) for cell in cells], name)
        for name in ("forget_bias", "cell_clip", "use_peephole")
    )
    if use_peephole or cell_clip > 0:
        raise ModelFileError("the graph's LSTM has peepholes or clips its cells, as no release of DeepSpeech does")
    return forget_bias


def _relu_clip(graph: FrozenGraph) -> float:
    return relu_limit([scalar(graph.constant(name)) for node in graph.of_op("Minimum") for name in node.inputs])


def _front_end(graph: FrozenGraph, style: str) -> dict[str, object] | None:
    spectrograms, cepstra = graph.of_op("AudioSpectrogram"), graph.of_op("Mfcc")
    if not spectrograms and not cepstra:
        if style != "h1":
            raise ModelFileError("the graph computes no features, as exported graphs since release 0.5 do")
        return None  # release 0.4, whose features its clients compute
    if len(spectrograms) != 1 or len(cepstra) != 1:
        raise ModelFileError("the graph computes its features more than once, as no release of DeepSpeech does")
    rate = scalar(graph.constant("metadata_sample_rate"))
    if rate is None:
        described = graph.by_name.get("model_metadata", Node("", ""))  # release 0.5
        rate = graph.number(described, "sample_rate", SAMPLING_RATE)
    return front_end_of(rate, partial(_number, graph, spectrograms[0]), partial(_number, graph, cepstra[0]))


def _number(graph: FrozenGraph, node: Node, name: str) -> float:
    return graph.number(node, name, DEFAULTS.get(name, 0.0))
