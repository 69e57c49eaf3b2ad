"""A saved model as one ONNX graph: waveforms in, scores out, its front end inside."""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from feature_extraction import SERFeatureExtractor
from speech_emotion.extras import check_extra
from speech_emotion.files import whole_file

from .graph_front import Features, SpeechPart, within
from .onnx_model import onnx_pipeline

if TYPE_CHECKING:
    from onnx import ModelProto

    from modeling_ser import SEREnsembleForAudioClassification, SERForAudioClassification

INPUTS, OUTPUTS, BETWEEN = ("input_values", "lengths"), ("scores", "logits"), ("waveforms", "counts")
LARGE = 1 << 14  # numbers in a weight that is worth storing in fewer bytes
# What int8 is for: operations, and of which of their inputs along which axis each place has a scale of its own.
PRODUCTS = {"MatMul": {1: -1}, "Conv": {1: 0}, "LSTM": {1: 1, 2: 1}}
# How far the graph's scores may be from torch's, by the features' dtype: of those that are rounded to half precision
# some lie so near to the middle of two halves that the last bit of the arithmetic decides which they become.
TOLERANCES = {"float32": 1e-5, "float16": 1e-4}


def export_onnx(
    network: "SERForAudioClassification | SEREnsembleForAudioClassification",
    extractor: SERFeatureExtractor,
    path: str | Path,
    notes: dict[str, str] | None = None,
    int8: bool = False,
) -> float:
    """Write a model and its feature extractor as one ONNX graph, and compare the two.

    The graph takes `input_values`, waveforms (batch, samples), float32, at the extractor's rate, filled up with
    anything to one length, and `lengths`, how many samples each clip has, (batch,), int64. It gives `scores`,
    calibrated as the pipeline's, and `logits`, both (batch, num_labels). A batch has from 1 to `longest` samples: that
    is 30 s, and stands among the file's metadata beside `labels`, `sampling_rate` and `config`, the model's
    configuration. A clip has the same scores alone and in any batch.

    Args:
        network: The model, on the CPU and in float32.
        extractor: The extractor that it was trained with.
        path: The file to write.
        notes: Further metadata.
        int8: Whether to store large weights as integers from -127 to 127, with a scale for each place of the output.
            The file is smaller and its scores are a little different, though the same alone and in any batch, and on
            every machine: it computes in float32 as ever.

    Returns:
        By how much the graph's scores differ from torch's, at most, over clips of noise, alone and together.

    Raises:
        ModuleNotFoundError: One of onnx, onnxscript and onnxruntime is not installed (the extra `onnx`).
        ValueError: The model reads more than the graph knows.
        RuntimeError: Scores differ by more than 1e-5, or 1e-4 where the extractor rounds features to float16, as the
            recommended recipe does; then there is no file. With `int8` this is asked of the same graph before.

    Example:
        >>> export_onnx(model, extractor, "model.onnx")  # doctest: +SKIP
        2.1e-07
    """
    check_extra("onnx", "Exporting", "onnx", "onnxruntime", "onnxscript")
    import onnx

    features = Features(extractor).eval()
    graph = graph_of(network.eval(), extractor, features)
    config = network.config
    described = {
        "labels": json.dumps([label for _, label in sorted(config.id2label.items())], ensure_ascii=False),
        "sampling_rate": str(extractor.sampling_rate),
        "longest": str(features.longest),
        "config": json.dumps(config.to_dict(), ensure_ascii=False),
        **(notes or {}),
    }
    onnx.helper.set_model_props(graph, described)
    with whole_file(path, "wb") as file:
        file.write(smaller(graph).SerializeToString())
        file.flush()
        difference = largest_difference(network, extractor, Path(file.name), features.longest)
        tolerance = TOLERANCES[extractor.feature_dtype]
        if not difference <= tolerance:
            raise RuntimeError(
                f"The graph's scores differ from torch's by {difference:.1e}, more than {tolerance:g}, so that it was "
                "not kept: it would be another model."
            )
        if int8:
            file.seek(0)
            file.truncate()
            file.write(smaller(graph, int8).SerializeToString())
            file.flush()
            difference = largest_difference(network, extractor, Path(file.name), features.longest)
    return difference


class Front(nn.Module):
    """The first half of the graph: what is done to a clip before anything else."""

    def __init__(self, extractor: SERFeatureExtractor, shortest: int) -> None:
        super().__init__()
        self.part = SpeechPart() if extractor.front == "speech" else None
        self.shortest = shortest

    def forward(self, input_values: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clear what is no clip's, and append zeros enough for the second half."""
        waveforms = input_values.masked_fill(~within(input_values.shape[1], lengths), 0)
        waveforms = nn.functional.pad(waveforms, (0, self.shortest))
        return (waveforms, lengths.clamp(min=0)) if self.part is None else self.part(waveforms, lengths)


class Scorer(nn.Module):
    """The second half: features, logits, and scores as the pipeline makes them."""

    def __init__(self, network: nn.Module, features: Features) -> None:
        super().__init__()
        self.features, self.network = features, network

    def forward(self, waveforms: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Score clips, (batch, samples), zero after each one's end."""
        features, mask = self.features(waveforms, counts)
        config = self.network.config
        logits = self.network(input_features=features, attention_mask=mask, return_dict=True).logits.float()
        if config.problem_type == "regression":
            return logits * 1, logits
        tempered = logits / config.temperature
        single = config.problem_type != "multi_label_classification"
        return tempered.softmax(dim=-1) if single else tempered.sigmoid(), logits


def graph_of(network: nn.Module, extractor: SERFeatureExtractor, features: Features) -> "ModelProto":
    """Export both halves and join them: between them the batch is cut to what of it is left.

    How much that is depends on the samples themselves, which torch.export cannot follow, and ONNX can.
    """
    from onnx import TensorProto, compose, helper

    samples = min(features.longest, 12_000)
    example = (0.1 * torch.randn(2, samples), torch.tensor([samples, samples - 7]))
    first = exported(Front(extractor, features.shortest), example, INPUTS, ("whole", BETWEEN[1]), 1, features.longest)
    second = exported(Scorer(network, features), example, BETWEEN, OUTPUTS, features.shortest, features.longest)
    first = compose.add_prefix(first, "front/", rename_inputs=False, rename_outputs=False)
    for name, value in (("shortest", [features.shortest]), ("from", [0]), ("axis", [1])):
        first.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], value))
    first.graph.node.extend(
        [
            helper.make_node("ReduceMax", [BETWEEN[1]], ["most"], keepdims=1),
            helper.make_node("Max", ["most", "shortest"], ["until"]),
            helper.make_node("Slice", ["whole", "from", "until", "axis"], [BETWEEN[0]]),
        ]
    )
    first.graph.output[0].CopyFrom(helper.make_tensor_value_info(BETWEEN[0], TensorProto.FLOAT, ["batch", "left"]))
    merged = compose.merge_models(first, second, [(name, name) for name in BETWEEN], producer_name="modeling-ser")
    known = {one.domain: one for one in merged.opset_import}  # which halves of one kind name twice
    del merged.opset_import[:]
    merged.opset_import.extend(known.values())
    return merged


def smaller(graph: "ModelProto", int8: bool = False) -> "ModelProto":
    """Copy a graph with large weights stored in fewer bytes, of which it makes float32 again, once, when it is loaded.

    float16 is taken for those that it holds exactly, as are the weights of encoders that come in it; int8 for those
    that much is multiplied by.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    made, nodes = ModelProto(), []
    made.CopyFrom(graph)
    axes = {
        name: PRODUCTS[node.op_type][place]
        for node in graph.graph.node
        for place, name in enumerate(node.input)
        if place in PRODUCTS.get(node.op_type, ())
    }
    for weight in list(made.graph.initializer):
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < LARGE:
            continue
        name, values, scale = weight.name, numpy_helper.to_array(weight), None
        with np.errstate(over="ignore"):
            stored = values.astype(np.float16)
        if int8 and name in axes:
            others = tuple(axis for axis in range(values.ndim) if axis != axes[name] % values.ndim)
            scale = np.abs(values).max(axis=others, keepdims=True) / 127
            scale[scale == 0] = 1
            stored = np.rint(values / scale).astype(np.int8)
            made.graph.initializer.append(numpy_helper.from_array(scale, f"{name}/scale"))
        elif not np.array_equal(stored, values):
            continue
        weight.CopyFrom(numpy_helper.from_array(stored, f"{name}/stored"))
        cast = name if scale is None else f"{name}/whole"
        nodes.append(helper.make_node("Cast", [f"{name}/stored"], [cast], to=TensorProto.FLOAT))
        if scale is not None:
            nodes.append(helper.make_node("Mul", [cast, f"{name}/scale"], [name]))
    nodes += made.graph.node
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def exported(
    module: nn.Module,
    example: tuple[torch.Tensor, torch.Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    shortest: int,
    longest: int,
) -> "ModelProto":
    """Export a half for batches of any number of clips, and of any length between two."""
    batch = torch.export.Dim("batch", min=1)
    samples = torch.export.Dim("samples", min=shortest, max=longest)
    with torch.no_grad(), quiet():
        # Two steps, as torch.onnx alone tries others where one fails, and those fix the size of a batch.
        program = torch.export.export(
            module.eval(),
            example,
            dynamic_shapes=({0: batch, 1: samples}, {0: batch}),
            prefer_deferred_runtime_asserts_over_guards=True,  # of how tensors lie in memory, which ONNX knows not
        )
        graph = torch.onnx.export(
            program, input_names=list(inputs), output_names=list(outputs), external_data=False, verbose=False
        )
    return graph.model_proto


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch's exporter says to its developers to itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def largest_difference(network: nn.Module, extractor: SERFeatureExtractor, path: Path, longest: int) -> float:
    """Score noise that swells and fades by the graph, together and alone, and by the pipeline; compare."""
    random = np.random.default_rng(0)
    sizes = [min(longest, round(seconds * extractor.sampling_rate)) for seconds in (2.3, 0.7, 0.01, 1.1)]
    clips = [
        (0.1 * random.standard_normal(size) * np.hanning(size + 2)[1:-1] ** 4).astype(np.float32) for size in sizes
    ]
    by_torch, by_graph = network.as_pipeline(extractor, device="cpu"), onnx_pipeline(str(path))
    sounds = [{"array": clip, "sampling_rate": extractor.sampling_rate} for clip in clips]
    expected = by_torch(sounds)
    differences = []
    for batch_size in (1, len(clips)):
        for ours, theirs in zip(by_graph(sounds, batch_size=batch_size), expected, strict=True):
            scores = {one["label"]: one["score"] for one in ours}
            differences += [abs(scores[one["label"]] - one["score"]) for one in theirs]
    return max(differences)
