"""TensorFlow Lite models: the flat buffers of .tflite files, where every failing access becomes a clear error.

The package `tflite` reads in place and trusts every offset; Python then raises whatever the bytes lead to. All of that
means one thing, a damaged file, and is said so in one place (`damaged_file`).
"""

import itertools
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .file_bytes import MOST_DIMENSIONS, ModelFileError, array, count
from .tensorflow_bytes import scalar

if TYPE_CHECKING:
    import tflite

IDENTIFIER = b"TFL3"
MOST_ITEMS = 100_000  # operators, tensors, buffers, and what operators read; a released model has some hundreds
MOST_NAME_BYTES = 1024
MOST_OPTION_BYTES = 4096
MOST_OUTPUTS = 64
MOST_STEPS_BACK = 16
# The schema's numbers.
FLOAT32, INT32, UINT8, STRING, INT8 = 0, 2, 3, 5, 9
DTYPES = {FLOAT32: np.dtype("<f4"), INT32: np.dtype("<i4"), UINT8: np.dtype("u1"), INT8: np.dtype("i1")}
CUSTOM = 32


@dataclass(frozen=True)
class Operator:
    """One step of a model."""

    code: int  # the schema's number of the operation
    custom: str  # name of a custom operation, else empty
    inputs: list[int]  # numbers of the tensors that it reads; -1 for one that is left out
    outputs: list[int]  # numbers of the tensors that it writes
    options: bytes  # options of a custom operation, a flexbuffer


@contextmanager
def damaged_file(what: str) -> Iterator[None]:
    """Turn what reading damaged flat buffers raises into a `ModelFileError`."""
    try:
        yield
    except ModelFileError:
        raise
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError, struct.error) as error:
        raise ModelFileError(f"{what} cannot be read ({error}); the file is truncated or damaged") from error


class LiteModel:
    """The operators and constants of a .tflite file.

    Source: TensorFlow 1.12 to 2.18, `lite/schema/schema.fbs`.
    """

    def __init__(self, buffer: memoryview) -> None:
        try:
            import tflite
        except ImportError as error:
            raise ModuleNotFoundError(
                "Reading .tflite files needs the package tflite: pip install 'modeling-ser[convert]'"
            ) from error
        # The package slices and compares the way bytes do; a view of the map would not.
        with damaged_file("the model"):
            self._model = tflite.Model.GetRootAs(bytes(buffer))
            if self._model.SubgraphsLength() != 1:
                raise ModelFileError(f"the model has {self._model.SubgraphsLength()} graphs instead of one")
            self._graph = self._model.Subgraphs(0)
            number = _check_count(self._model.OperatorCodesLength())
            _check_count(self._model.BuffersLength())
            _check_count(self._graph.TensorsLength())
            codes = [_read_code(self._model.OperatorCodes(index)) for index in range(number)]
            self.operators = self._read_operators(codes)
            self.inputs = _numbers(self._graph.InputsAsNumpy(), MOST_OUTPUTS)
            self.outputs = _numbers(self._graph.OutputsAsNumpy(), MOST_OUTPUTS)
        self._producers = {tensor: operator for operator in self.operators for tensor in operator.outputs}

    @damaged_file("the name of a tensor")
    def name(self, tensor: int) -> str:
        """Return the name of a tensor."""
        return _name(self._tensor(tensor).Name())

    @damaged_file("the shape of a tensor")
    def shape(self, tensor: int) -> list[int]:
        """Return the shape of a tensor."""
        return _numbers(self._tensor(tensor).ShapeAsNumpy(), MOST_DIMENSIONS)

    @damaged_file("a tensor")
    def buffer_number(self, tensor: int) -> int:
        """Return the number of a tensor's buffer; tensors of one buffer are one constant."""
        return int(self._tensor(tensor).Buffer())

    def constant(self, tensor: int) -> np.ndarray | list[bytes] | None:
        """Return the value of a constant."""
        what = f"the constant {tensor}"
        with damaged_file(what):
            record = self._tensor(tensor)
            content = self._model.Buffers(record.Buffer()).DataAsNumpy()
            if isinstance(content, int) or len(content) == 0:
                return None
            kind = record.Type()
            if kind == STRING:
                return _read_strings(memoryview(content), what)
            if kind not in DTYPES:
                raise ModelFileError(f"{what} is of the schema's type number {kind}, which is not known here")
            shape, scale = self.shape(tensor), _scale(record, what)
            # TensorFlow up to 1.13 labels the bytes of quantized weights unsigned although they are signed.
            values = array(memoryview(content), DTYPES[INT8 if scale and kind == UINT8 else kind], shape, what)
            if len(content) != values.nbytes:
                raise ModelFileError(f"{what} has the shape {shape} but {len(content)} bytes; the file is damaged")
            return values * np.float32(scale) if scale else values

    def value(self, tensor: int) -> np.ndarray | list[bytes] | None:
        """Return the value of a constant, also of one behind operators that only reshape it."""
        for _ in range(MOST_STEPS_BACK):
            value = self.constant(tensor)
            if value is not None or tensor not in self._producers or not self._producers[tensor].inputs:
                return value
            tensor = self._producers[tensor].inputs[0]
        return None

    def scalar(self, tensor: int) -> float | None:
        """Return the value of a constant with one element; None if it is something else, or left out."""
        # The shape first: what is large is not even read.
        if tensor < 0 or count(self.shape(tensor), f"the constant {tensor}") != 1:
            return None
        return scalar(self.constant(tensor))

    def _read_operators(self, codes: list[tuple[int, str]]) -> list[Operator]:
        operators, left = [], MOST_ITEMS
        for index in range(_check_count(self._graph.OperatorsLength())):
            # All of a hostile file's operators may point to one long list: it counts every time.
            operators.append(_read_operator(self._graph.Operators(index), codes, left))
            left -= len(operators[-1].inputs) + len(operators[-1].outputs)
        return operators

    def _tensor(self, number: int) -> "tflite.Tensor":
        if not 0 <= number < self._graph.TensorsLength():
            raise ModelFileError(f"tensor {number} of {self._graph.TensorsLength()} is asked for; the file is damaged")
        return self._graph.Tensors(number)


def option(options: bytes, name: str) -> float:
    """Read a number from the options of a custom operator."""
    from flatbuffers import flexbuffers

    with damaged_file(f"the option {name!r} of a custom operator"):
        value = flexbuffers.GetRoot(options).AsMap[name]  # no more of the map is read: a hostile one could be endless
        if value.IsBool:
            return float(value.AsBool)
        return float(value.AsFloat if value.IsFloat else value.AsInt)


def _check_count(items: int) -> int:
    if items > MOST_ITEMS:
        raise ModelFileError(f"the model states {items} parts, which no DeepSpeech model has; the file is damaged")
    return items


def _numbers(values: Any, most: int) -> list[int]:
    if isinstance(values, int):  # what the package returns for a missing list
        return []
    if len(values) > most:
        raise ModelFileError(f"a list of {len(values)} numbers is longer than in any DeepSpeech model")
    return [int(value) for value in values]


def _read_code(code: "tflite.OperatorCode") -> tuple[int, str]:
    # Since TensorFlow 2.4 the number stands in a wider field, and the older one holds its low part.
    number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    return number, _name(code.CustomCode()) if number == CUSTOM else ""


def _name(name: bytes | None) -> str:
    if name is not None and len(name) > MOST_NAME_BYTES:
        raise ModelFileError(f"a name has {len(name)} bytes, which none in a DeepSpeech model has")
    return (name or b"").decode()


def _read_operator(operator: "tflite.Operator", codes: list[tuple[int, str]], left: int) -> Operator:
    number, custom = codes[operator.OpcodeIndex()]
    options = operator.CustomOptionsAsNumpy() if custom else 0
    if not isinstance(options, int) and len(options) > MOST_OPTION_BYTES:
        raise ModelFileError(f"the operator {custom!r} has {len(options)} bytes of options; the file is damaged")
    inputs = _numbers(operator.InputsAsNumpy(), left)
    return Operator(
        code=number,
        custom=custom,
        inputs=inputs,
        outputs=_numbers(operator.OutputsAsNumpy(), left - len(inputs)),
        options=b"" if isinstance(options, int) else options.tobytes(),
    )


def _read_strings(content: memoryview, what: str) -> list[bytes]:
    """Read TensorFlow Lite's strings: their number, their offsets and the end, then their bytes."""
    number = int.from_bytes(content[:4], "little", signed=True)
    _check_count(number)
    offsets = [int(offset) for offset in array(content[4:], DTYPES[INT32], (number + 1,), what)]
    if any(begin > end for begin, end in itertools.pairwise(offsets)) or offsets[-1] > len(content):
        raise ModelFileError(f"{what} holds strings that do not lie inside of it; the file is damaged")
    return [bytes(content[begin:end]) for begin, end in itertools.pairwise(offsets)]


def _scale(tensor: "tflite.Tensor", what: str) -> float:
    """Return the scale of a quantized tensor, 0 for one that is not quantized."""
    quantization = tensor.Quantization()
    if quantization is None or quantization.ScaleLength() == 0:
        return 0.0
    zero_points = [quantization.ZeroPoint(index) for index in range(min(2, quantization.ZeroPointLength()))]
    scale = float(quantization.Scale(0))
    if quantization.ScaleLength() > 1 or any(zero_points) or not 0 < scale < float("inf"):
        raise ModelFileError(
            f"{what} is not quantized with one scale and no zero point, as releases of DeepSpeech are"
        )
    return scale
