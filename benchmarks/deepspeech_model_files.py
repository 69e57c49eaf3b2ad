"""Model files of any size for the original runtimes, from the structure of the small ones among the test fixtures.

The files that TensorFlow's own exporters wrote for 64 units are taken apart, every size that depends on the number of
units is multiplied, and other weights are put in. Nothing of TensorFlow is needed.
"""

import struct
from collections.abc import Mapping

import numpy as np

from feature_extraction.convert.tensorflow_bytes import BYTES, VARINT, WireReader, text
from feature_extraction.convert.tensorflow_graph import FrozenGraph
from feature_extraction.convert.weights import VARIABLES
from tests.feature_extraction.deepspeech_fixtures import container, message

FIXTURE_UNITS = 64
# The gates of the LSTM and its joined inputs; no other size in the fixtures equals one of these.
SCALED = (FIXTURE_UNITS, 2 * FIXTURE_UNITS, 4 * FIXTURE_UNITS)
WINDOW_SIZE, VOCAB_SIZE = 494, 29

Weights = Mapping[str, np.ndarray]
_CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
_LITE_NAMES = {
    **{f"layer_{layer}/weights/transpose": f"w{layer}" for layer in (1, 2, 3, 5, 6)},
    "MatMul_bias": "b1",
    **{f"MatMul_{index}_bias": key for index, key in enumerate(("b2", "b3", "b5", "b6"), 1)},
    f"{_CELL}/kernel/transpose_13": "lstm_kernel",
    f"{_CELL}/MatMul_15_bias": "lstm_bias",
}
# Slots of the fields in TensorFlow Lite's flat buffers.
_TENSOR_SHAPE, _BUFFER_DATA, _QUANTIZATION_SCALE = 4, 4, 8
_INT32, _INT8 = 2, 9


def random_weights(hidden: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw weights in TensorFlow's layout, (in, out): nothing saturates, and every frame has one clear letter."""
    rng = np.random.default_rng(seed)

    def uniform(rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
        limit = gain * (6.0 / (rows + columns)) ** 0.5
        return rng.uniform(-limit, limit, (rows, columns)).astype(np.float32)

    weights = {"w1": uniform(WINDOW_SIZE, hidden, 0.2), "w6": uniform(hidden, VOCAB_SIZE, 40.0)}
    weights |= {f"w{layer}": uniform(hidden, hidden, 1.5) for layer in (2, 3, 5)}
    weights |= {f"b{layer}": np.zeros(hidden, np.float32) for layer in (1, 2, 3, 5)}
    weights |= {"b6": np.zeros(VOCAB_SIZE, np.float32), "lstm_bias": np.zeros(4 * hidden, np.float32)}
    return weights | {"lstm_kernel": uniform(2 * hidden, 4 * hidden, 1.5)}


def frozen_graph(weights: Weights) -> bytes:
    """Write a .pb as release 0.9 exports it, with these weights."""
    content = memoryview(container("v09/output_graph.pb"))
    graph, reader, factor = FrozenGraph(content), WireReader(), _factor(weights)
    constants = {name: weights[key] for key, name in VARIABLES["cudnn_lstm"].items()}
    for node in graph.of_op("Const"):
        value = graph.constant(node.name)
        if node.name not in constants and isinstance(value, np.ndarray):
            grown = _grow_numbers(value, factor) if value.dtype == np.int32 else _grow_zeros(value, factor)
            if grown is not None:
                constants[node.name] = grown
    shapes = {
        node.name: [size * factor if size in SCALED else size for size in graph.shape(node)]
        for node in graph.of_op("Placeholder")
    }
    nodes = []
    for number, kind, value in reader.fields(content):
        if number == 1:
            value = _node(value, constants, shapes, reader)
        nodes.append(_field(number, kind, value))
    return b"".join(nodes)


def lite_model(weights: Weights) -> bytes:
    """Write a .tflite as release 0.9 exports it, its matrices in int8 with one scale each, with these weights."""
    import tflite

    original = container("v09/output_graph.tflite")
    content, factor = bytearray(original), _factor(weights)
    model = tflite.Model.GetRootAs(original)
    graph = model.Subgraphs(0)
    replaced: dict[int, np.ndarray] = {}
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        _scale_in_place(content, tensor.ShapeAsNumpy(), _vector(tensor, _TENSOR_SHAPE), factor)
        buffer, key = tensor.Buffer(), _LITE_NAMES.get(tensor.Name().decode())
        if key is not None:
            replaced[buffer] = value = np.ascontiguousarray(weights[key].T)
            if tensor.Type() == _INT8:
                scale = float(np.abs(value).max()) / 127
                struct.pack_into("<f", content, _vector(tensor.Quantization(), _QUANTIZATION_SCALE), scale)
                replaced[buffer] = np.round(value / scale).astype(np.int8)
        elif tensor.Type() == _INT32 and model.Buffers(buffer).DataLength():
            record = model.Buffers(buffer)
            _scale_in_place(content, record.DataAsNumpy().view("<i4"), _vector(record, _BUFFER_DATA), factor)
    if len(replaced) != len(_LITE_NAMES):
        raise ValueError(f"the fixture has {len(replaced)} of the {len(_LITE_NAMES)} weights of a model")
    # A flat buffer may hold its parts in any order: larger weights go to the end, and the old ones are left unused.
    for buffer, value in replaced.items():
        record = model.Buffers(buffer)._tab
        place = record.Pos + record.Offset(_BUFFER_DATA)
        content += bytes(-(len(content) + 4) % 16)  # the runtimes want values at multiples of 16
        struct.pack_into("<I", content, place, len(content) - place)
        content += struct.pack("<I", value.nbytes) + value.tobytes()
    return bytes(content)


def _factor(weights: Weights) -> int:
    hidden = len(weights["w2"])
    if hidden % FIXTURE_UNITS:
        raise ValueError(f"hidden={hidden}: must be a multiple of {FIXTURE_UNITS}.")
    return hidden // FIXTURE_UNITS


def _grow_numbers(value: np.ndarray, factor: int) -> np.ndarray | None:
    scaled = np.isin(value, SCALED)
    return np.where(scaled, value * factor, value).astype(np.int32) if scaled.any() else None


def _grow_zeros(value: np.ndarray, factor: int) -> np.ndarray | None:
    if not set(value.shape) & set(SCALED):
        return None
    if value.any():
        raise ValueError("the fixture has weights under a name that is not known here")
    return np.zeros([size * factor if size in SCALED else size for size in value.shape], np.float32)


def _scale_in_place(content: bytearray, values: np.ndarray | int, place: int, factor: int) -> None:
    for position, value in enumerate(np.atleast_1d(values)):
        if value in SCALED:
            struct.pack_into("<i", content, place + 4 * position, int(value) * factor)


def _vector(table: object, slot: int) -> int:
    """Where the elements of a vector begin; 0 where the table has none."""
    offset = table._tab.Offset(slot)
    return table._tab.Vector(offset) if offset else 0


def _field(number: int, kind: int, value: int | memoryview | bytes) -> bytes:
    if kind not in (VARINT, BYTES):
        raise ValueError(f"the fixture has a field of wire type {kind} outside of its tensors")
    return message((number, value if isinstance(value, int) else bytes(value)))


def _node(node: memoryview, constants: Weights, shapes: Mapping[str, list[int]], reader: WireReader) -> bytes:
    """Write a node anew, with another constant or another shape where there is one for its name."""
    fields = list(reader.fields(node))
    name = next(text(value, "a name") for number, _, value in fields if number == 1)
    result = []
    for number, kind, value in fields:
        if number == 5:
            entry = reader.last(value)
            attribute = text(entry[1], "an attribute")
            if attribute == "value" and name in constants:
                value = message((1, attribute.encode()), (2, message((8, _tensor(constants[name])))))
            elif attribute == "shape" and name in shapes:
                value = message((1, attribute.encode()), (2, message((7, _shape(shapes[name])))))
        result.append(_field(number, kind, value))
    return b"".join(result)


def _tensor(value: np.ndarray) -> bytes:
    return message((1, 3 if value.dtype == np.int32 else 1), (2, _shape(value.shape)), (4, value.tobytes()))


def _shape(sizes: tuple[int, ...] | list[int]) -> bytes:
    return b"".join(message((2, message((1, int(size))))) for size in sizes)
