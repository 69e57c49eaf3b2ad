"""Hostile files, one trick each: lengths beyond the file, endless numbers, cycles, huge shapes; and random ones."""

import struct
from pathlib import Path

import numpy as np
import pytest

from feature_extraction.convert.deepspeech import read_model
from feature_extraction.convert.file_bytes import ModelFileError, array, cut
from feature_extraction.convert.tensorflow_bytes import WireReader, varint
from feature_extraction.convert.tensorflow_checkpoint import Checkpoint, find_prefix
from feature_extraction.convert.tensorflow_graph import PACKAGE, FrozenGraph
from feature_extraction.convert.weights import VARIABLES
from tests.feature_extraction.convert.deepspeech_fuzz import TARGETS, attempts
from tests.feature_extraction.deepspeech_fixtures import (
    container,
    message,
    shape,
    table,
    weights,
    write_bundle,
    write_checkpoint,
    write_container,
)
from tests.feature_extraction.deepspeech_fixtures import varint as write_varint
from tests.fuzzing import fuzz


def graph(*nodes: bytes) -> memoryview:
    return memoryview(b"".join(message((1, node)) for node in nodes))


def constant(name: str, tensor: bytes) -> bytes:
    value = message((1, b"value"), (2, message((8, tensor))))
    return message((1, name.encode()), (2, b"Const"), (5, value))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\x08", "runs past the end"),
        (b"\x08" + b"\xff" * 11, "longer than 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "longer than 64 bits"),
        (b"\x0a\x05abc", "would lie at bytes 2 to 7 of 5"),
        (b"\x0a" + write_varint(2**63), "truncated"),
        (b"\x0d\0\0", "truncated"),
        (b"\x0b", "wire type 3"),
        (b"\x02\0", "number 0"),
    ],
)
def test_broken_messages(content: bytes, error: str) -> None:
    with pytest.raises(ModelFileError, match=error):
        list(WireReader().fields(memoryview(content)))


def test_fields_and_names_are_bounded() -> None:
    bomb = memoryview(b"\x0a\x00" * 2000)  # empty nodes, two bytes each
    with pytest.raises(ModelFileError, match="the file is refused"):
        list(WireReader(budget=1000).fields(bomb))
    packed = memoryview(b"\x01" * 2000)
    with pytest.raises(ModelFileError, match="the file is refused"):
        WireReader(budget=1000).numbers(packed)
    with pytest.raises(ModelFileError, match="5000 bytes"):
        FrozenGraph(graph(message((1, b"x" * 5000))))


def test_numbers_of_variable_length() -> None:
    for number in (0, 1, 127, 128, 300, 2**32, 2**64 - 1):
        content = write_varint(number)
        assert varint(memoryview(content), 0) == (number, len(content))


def test_parts_and_arrays_stay_inside() -> None:
    buffer = memoryview(bytes(8))
    for offset, length in ((-1, 2), (0, 9), (8, 1), (2**64, 1), (0, -1)):
        with pytest.raises(ModelFileError, match="truncated or damaged"):
            cut(buffer, offset, length, "it")
    for sizes in ((3,), (2**40, 2**40), (-1,), (1,) * 9):
        with pytest.raises(ModelFileError):
            array(buffer, np.dtype("<f4"), sizes, "it")
    assert not array(buffer, np.dtype("<f4"), (2,), "it").flags.writeable


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (message((1, 1), (2, shape(2**31, 2**31)), (4, bytes(16))), "would lie at bytes"),
        (message((1, 1), (2, shape(2**62)), (5, struct.pack("<f", 1.0))), "but 1 values"),
        (message((1, 1), (2, shape(-5)), (4, bytes(16))), "impossible shape"),
        (message((1, 1), (2, shape(*[1] * 40)), (4, bytes(16))), "impossible shape"),
        (message((1, 99), (4, bytes(16))), "type number 99"),
        (message((1, 1), (2, shape(2)), (5, b"abc")), "broken list of floats"),
        (message((1, 1), (2, shape(2)), (4, 7)), "a number where bytes belong"),
    ],
)
def test_hostile_constants(tensor: bytes, error: str) -> None:
    with pytest.raises(ModelFileError, match=error):
        FrozenGraph(graph(constant("h1", tensor))).constant("h1")


def test_constants_in_all_their_spellings() -> None:
    pair, three = struct.pack("<2f", 1, 2), struct.pack("<f", 3)
    spellings = {
        "bytes": (message((1, 1), (2, shape(2)), (4, pair)), [1, 2]),
        "list": (message((1, 1), (2, shape(2)), (5, pair)), [1, 2]),
        "repeated": (message((1, 1), (2, shape(2, 2)), (5, three)), [[3, 3], [3, 3]]),
        "scalar": (message((1, 3), (7, 16000)), 16000),
        "negative": (message((1, 3), (2, shape(1)), (7, write_varint(2**64 - 5))), [-5]),
    }
    text = constant("text", message((1, 7), (8, b"abc")))
    found = FrozenGraph(graph(*(constant(name, tensor) for name, (tensor, _) in spellings.items()), text))
    for name, (_, value) in spellings.items():
        assert found.constant(f"{name}:0").tolist() == found.constant(name).tolist() == value
    assert (found.constant("text"), found.constant("missing")) == ([b"abc"], None)


def mapped(*entries: tuple[tuple[int, int | bytes], ...], before: bytes) -> memoryview:
    directory = b"".join(message((1, message(*entry))) for entry in entries)
    return memoryview(before + directory + struct.pack("<Q", len(before)))


@pytest.mark.parametrize("lengths", [True, False], ids=["with lengths", "without"])
def test_both_kinds_of_memory_mapped_graphs(lengths: bool) -> None:
    """TensorFlow writes the lengths of regions since 1.14 only; the fixtures have one of each kind."""
    attributes = {b"dtype": (6, 1), b"shape": (7, shape(2))}
    attributes[b"memory_region_name"] = (2, f"{PACKAGE}h1".encode())
    values = (message((1, name), (2, message(value))) for name, value in attributes.items())
    nodes = message((1, message((1, b"h1"), (2, b"ImmutableConst"), *((5, value) for value in values))))
    region = struct.pack("<2f", 1, 2) + bytes(56)
    entries = [(1, 0), (2, f"{PACKAGE}h1".encode())], [(1, len(region)), (2, f"{PACKAGE}.".encode())]
    if lengths:
        entries[0].append((3, 8))
        entries[1].append((3, len(nodes)))
    content = mapped(*entries, before=region + nodes)
    assert FrozenGraph(content).constant("h1").tolist() == [1, 2]
    for wrong in (2**63 - 1, 3):
        with pytest.raises(ModelFileError):
            FrozenGraph(memoryview(bytes(content[:-8]) + struct.pack("<Q", wrong))).constant("h1")


def test_regions_beyond_the_file_are_refused() -> None:
    for offset, length in ((2**40, 8), (0, 2**40), (-8, 16)):
        entries = ((1, offset), (2, f"{PACKAGE}h1".encode()), (3, length)), ((2, f"{PACKAGE}.".encode()),)
        with pytest.raises(ModelFileError, match=r"region .*truncated or damaged"):
            FrozenGraph(mapped(*entries, before=bytes(64)))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"offset": 2**40}, "truncated or damaged"),
        ({"offset": 4}, "checksum"),
        ({"size": 2**40}, "the index is damaged"),
        ({"shard": 5}, "shard 5 of 1"),
        ({"dtype": 14}, "type number 14"),
        ({"crc": 1}, "checksum"),
    ],
)
def test_hostile_checkpoint_entries(changes: dict[str, int], error: str, tmp_path: Path) -> None:
    variables = {name: weights("v04")[key] for key, name in VARIABLES["h1"].items()}
    with pytest.raises(ModelFileError, match=error):
        read_model(write_bundle(tmp_path, variables, **changes))


def flipped(position: int) -> bytes:
    content = bytearray(container("v04/checkpoint/model.v0.4.1.index"))
    content[position] ^= 1
    return bytes(content)


ENTRIES = {f"v{number:03}".encode(): message((1, 1)) for number in range(39)}


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (table({b"": message((1, 0))}), "0 shards"),
        (table({b"": message((1, 2**40))}), "shards"),
        (table({b"": message((1, 1), (2, 1))}), "big-endian"),
        (table({}, repetitions=60_000), "blocks, which no DeepSpeech model has"),
        (table(ENTRIES, repetitions=60_000), "variables, which no DeepSpeech model has"),
        (flipped(0), "checksum"),
        (flipped(200), "checksum"),
        (flipped(-1), "no footer"),
    ],
    ids=range(8),
)
def test_hostile_indexes(index: bytes, error: str, tmp_path: Path) -> None:
    write_container(tmp_path, "model.index", index)
    with pytest.raises(ModelFileError, match=error):
        Checkpoint(tmp_path / "model")


@pytest.mark.parametrize("position", [-10, -48])
def test_padding_and_the_handle_of_a_block_that_nobody_reads_do_not_count(position: int, tmp_path: Path) -> None:
    write_container(tmp_path, "model.index", flipped(position))
    assert len(Checkpoint(tmp_path / "model").entries) == 39


def test_folders_of_checkpoints(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "v09")
    # The text file holds an absolute path of the machine that trained the model.
    assert find_prefix(folder) == folder / "best_dev-1467"
    (folder / "best_dev_checkpoint").write_text('model_checkpoint_path: "C:\\\\models\\\\best_dev-1467"\n')
    assert find_prefix(folder) == folder / "best_dev-1467"
    (folder / "best_dev_checkpoint").write_text("nothing")
    with pytest.raises(ModelFileError, match="names no checkpoint"):
        find_prefix(folder)
    (folder / "best_dev_checkpoint").unlink()
    (folder / "other.index").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"best_dev-1467\.index, other\.index"):
        find_prefix(folder)
    assert find_prefix(tmp_path / "nowhere") is None


def test_a_reshape_that_reads_itself_ends(tmp_path: Path) -> None:
    """The alphabet stands behind operators; one whose input is its own output must not be followed forever."""
    import tflite

    content = bytearray(container("v09/output_graph.tflite"))
    graph_ = tflite.Model.GetRootAs(bytes(content)).Subgraphs(0)
    turned = 0
    for index in range(graph_.OperatorsLength()):
        operator = graph_.Operators(index)
        produced = operator.Outputs(0)
        if graph_.Tensors(produced).Name().startswith(b"metadata_"):
            inputs = operator._tab.Vector(operator._tab.Offset(6))
            content[inputs : inputs + 4] = struct.pack("<i", produced)
            turned += 1
    assert turned
    with pytest.raises(ModelFileError, match="alphabet is no string"):
        read_model(write_container(tmp_path, "cycle.tflite", bytes(content)))


def test_mutated_files_load_or_give_our_error(tmp_path: Path) -> None:
    found = fuzz(attempts(tmp_path), range(30 * len(TARGETS)), seed=1)
    loaded, refused = (sum(found[f"{name} {kind}"] for name in TARGETS) for kind in ("loaded", "ModelFileError"))
    assert refused > loaded > 0
