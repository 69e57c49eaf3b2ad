"""Frozen TensorFlow graphs: .pb (one GraphDef) and .pbmm (a GraphDef whose large tensors lie beside it)."""

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .file_bytes import ModelFileError, array, count, cut
from .tensorflow_bytes import BYTES, FIXED32, Value, WireReader, as_bytes, as_float, as_int, data_type, text

PACKAGE = "memmapped_package://"
STRING = 7
CONSTANTS = ("Const", "ImmutableConst")
MOST_NODES = 100_000
# A constant may state one value for all of its elements; so few bytes may not grow into more than this many.
MOST_REPEATED = 1 << 16


@dataclass
class Node:
    """One operation of a graph."""

    name: str  # its own
    op: str  # what it does
    inputs: list[str] = field(default_factory=list)  # names of the nodes that it reads
    attributes: dict[str, memoryview] = field(default_factory=dict)  # name → AttrValue, not yet read


class FrozenGraph:
    """A frozen graph, .pb or .pbmm, told apart by content.

    Source: TensorFlow 1.15 `core/framework/{graph,node_def,attr_value,tensor}.proto`,
        `core/util/memmapped_file_system.{h,cc,proto}`.
    """

    def __init__(self, buffer: memoryview) -> None:
        self._reader = WireReader()
        self._constants: dict[str, np.ndarray | list[bytes]] = {}
        self._regions = self._read_directory(buffer)
        self.nodes = self._read_nodes(self._regions.get(PACKAGE + ".", buffer))

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    def of_op(self, *ops: str) -> list[Node]:
        """Return the nodes that do one of these operations."""
        return [node for node in self.nodes if node.op in ops]

    def constant(self, name: str) -> np.ndarray | list[bytes] | None:
        """Return the value of a constant."""
        node = self.by_name.get(name.removesuffix(":0"))
        if node is None or node.op not in CONSTANTS:
            return None
        # A hostile graph may read one constant from very many nodes: it is parsed once.
        if node.name not in self._constants:
            if node.op == "Const":
                value = self._tensor(self._attribute(node, "value").get(8), f"the constant {node.name!r}")
            else:
                value = self._region_tensor(node)
            self._constants[node.name] = value
        return self._constants[node.name]

    def number(self, node: Node, name: str, default: float) -> float:
        """Return a node's attribute that is a number or a truth value; the default where it is not written."""
        value = self._attribute(node, name)
        what = f"attribute {name!r} of {node.name!r}"
        if 4 in value:
            return as_float(value[4], what)
        if 3 in value or 5 in value:
            return as_int(value.get(3, value.get(5)), what)
        return default

    def shape(self, node: Node) -> list[int]:
        """Return a node's shape as its attribute states it; -1 stands for an unknown dimension."""
        value = self._attribute(node, "shape").get(7)
        return [] if value is None else self._reader.shape(value, f"the shape of {node.name!r}")

    def _read_nodes(self, graph: memoryview) -> list[Node]:
        nodes = []
        for number, kind, value in self._reader.fields(graph):
            if number == 1:
                if kind != BYTES or len(nodes) == MOST_NODES:
                    raise ModelFileError("no graph of a DeepSpeech model")
                nodes.append(self._read_node(value))
        if not nodes:
            raise ModelFileError("no node of a TensorFlow graph was found; the file is of another format")
        return nodes

    def _read_node(self, message: memoryview) -> Node:
        node = Node("", "")
        for number, _, value in self._reader.fields(message):
            if number == 1:
                node.name = text(value, "the name of a node")
            elif number == 2:
                node.op = text(value, "the operation of a node")
            elif number == 3:
                node.inputs.append(text(value, "an input of a node"))
            elif number == 5:
                entry = self._reader.last(as_bytes(value, "an attribute"))
                node.attributes[text(entry.get(1), "an attribute's name")] = as_bytes(
                    entry.get(2, memoryview(b"")), "an attribute's value"
                )
        return node

    def _attribute(self, node: Node, name: str) -> dict[int, Value]:
        return self._reader.last(node.attributes.get(name, memoryview(b"")))

    def _tensor(self, message: Value | None, what: str) -> np.ndarray | list[bytes]:
        """Read a TensorProto, whose values stand either in one piece of bytes or in a list of their type."""
        if message is None:
            raise ModelFileError(f"{what} has no value; the file is damaged")
        code, shape, content, strings = 0, [], None, []
        values: list[np.ndarray] = []
        for number, kind, value in self._reader.fields(as_bytes(message, what)):
            if number == 1:
                code = as_int(value, what)
            elif number == 2:
                shape = self._reader.shape(value, what)
            elif number == 4:
                content = as_bytes(value, what)
            elif number == 8:
                strings.append(bytes(as_bytes(value, what)))
            elif number == 5:
                floats = as_bytes(value, what)
                if kind != FIXED32 and len(floats) % 4:
                    raise ModelFileError(f"{what} holds a broken list of floats; the file is damaged")
                values.append(np.frombuffer(floats, "<f4"))
            elif number in (7, 10):
                values.append(np.array(self._reader.numbers(value), np.int64))
        if code == STRING:
            return strings
        dtype = data_type(code, what)
        if content is not None and len(content):
            return array(content, dtype, shape, what)
        return _spread(values, dtype, shape, what)

    def _region_tensor(self, node: Node) -> np.ndarray:
        what = f"the constant {node.name!r}"
        region = text(self._attribute(node, "memory_region_name").get(2), f"the region of {what}")
        if region not in self._regions:
            raise ModelFileError(f"{what} lies in the region {region!r}, which the file has not")
        code = as_int(self._attribute(node, "dtype").get(6), what)
        return array(self._regions[region], data_type(code, what), self.shape(node), what)

    def _read_directory(self, buffer: memoryview) -> dict[str, memoryview]:
        """Read the directory at the end of a .pbmm; empty for a .pb."""
        if len(buffer) < 9:
            return {}
        start = int.from_bytes(buffer[-8:], "little")
        if not 0 < start < len(buffer) - 8:
            return {}
        directory = buffer[start:-8]
        # A cheap look before the search: the graph's name always stands in the directory.
        if (PACKAGE + ".").encode() not in bytes(directory[: 1 << 20]):
            return {}
        entries = []
        for number, _, value in self._reader.fields(directory):
            if number == 1:
                entry = self._reader.last(as_bytes(value, "an entry of the directory"))
                offset = as_int(entry.get(1), "the offset of a region")
                length = as_int(entry.get(3), "the length of a region")
                entries.append((text(entry.get(2), "the name of a region"), offset, length))
        # TensorFlow writes lengths since 1.14 only; before, a region ends where the next one begins.
        ends = [*sorted(offset for _, offset, _ in entries), start]
        rest = {offset: end - offset for offset, end in itertools.pairwise(ends) if end > offset}
        return {
            name: cut(buffer[:start], offset, length or rest.get(offset, 0), f"the region {name!r}")
            for name, offset, length in entries
        }


def _spread(values: list[np.ndarray], dtype: np.dtype, shape: list[int], what: str) -> np.ndarray:
    """Make a tensor of a list of values, of which the last one repeats to the end."""
    size = count(shape, what)
    flat = np.concatenate(values) if values else np.zeros(1)
    if len(flat) == 0 or size > max(len(flat), MOST_REPEATED):
        raise ModelFileError(f"{what} has the shape {shape} but {len(flat)} values; the file is damaged")
    return np.concatenate((flat, np.full(max(0, size - len(flat)), flat[-1])))[:size].astype(dtype).reshape(shape)
