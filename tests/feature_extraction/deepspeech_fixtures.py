"""The DeepSpeech fixtures: original containers, what the original software makes of four clips, and small writers."""

import json
import struct
from functools import cache
from pathlib import Path

import google_crc32c
import numpy as np
import soundfile
import torch

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "deepspeech"
CLIPS = ("a_24137", "b_16192", "c_300", "d_512")
LAYERS = ("layer_1", "layer_2", "layer_3", "rnn_output", "layer_5", "layer_6")
CHECKPOINTS = {"v04": "v04/checkpoint/model.v0.4.1", "v09": "v09/checkpoint/best_dev-1467"}
VERSIONS = {"v04": "0.4.1", "v09": "0.9.3"}
FRONT_ENDS = {"v04": "python_speech_features", "v09": "tensorflow"}


@cache
def expected() -> dict[str, np.ndarray]:
    """Read what the original software gave, by `source/clip/kind`."""
    return dict(np.load(FIXTURES / "expected.npz", allow_pickle=False))


@cache
def waveform(clip: str) -> np.ndarray:
    """Read a clip, (samples,) float32."""
    return soundfile.read(FIXTURES / f"{clip}.wav", dtype="float32")[0]


@cache
def weights(release: str) -> dict[str, np.ndarray]:
    """Read the weights that all containers of a release hold, in TensorFlow's layout."""
    return dict(np.load(FIXTURES / f"weights_{release}.npz", allow_pickle=False))


@cache
def hashes() -> dict[str, str]:
    """Read the SHA-256 of every original container."""
    return json.loads((FIXTURES / "sha256.json").read_text())


@cache
def places(name: str) -> np.ndarray:
    """Return where in a container weights stand: (weights, 3) of offset, number of the weight, transposed."""
    return np.load(FIXTURES / "containers.npz", allow_pickle=False)[f"{name}:places"]


@cache
def container(name: str) -> bytes:
    """Put a container together, byte for byte the original one."""
    content = bytearray(np.load(FIXTURES / "containers.npz", allow_pickle=False)[name].tobytes())
    values = list(weights(name.split("/")[0]).values())
    for offset, number, turned in places(name).tolist():
        weight = (values[number].T if turned else values[number]).tobytes()
        content[offset : offset + len(weight)] = weight
    return bytes(content)


def write_container(folder: Path, name: str, content: bytes | None = None) -> Path:
    """Write a container, or other bytes in its place, and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(container(name) if content is None else content)
    return path


def write_checkpoint(folder: Path, release: str) -> Path:
    """Write a release's whole checkpoint and return its folder."""
    for name in hashes():
        if name.startswith(f"{release}/checkpoint/"):
            write_container(folder, name)
    return folder / release / "checkpoint"


def largest_difference(found: np.ndarray | torch.Tensor, wanted: np.ndarray) -> float:
    """Compare two arrays of one shape."""
    found = np.asarray(found, np.float64)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max()) if found.size else 0.0


# Writers of containers that no fixture has


def varint(number: int) -> bytes:
    """Write a number as protocol buffers do."""
    result = bytearray()
    while True:
        number, low = number >> 7, number & 127
        result.append(low | (128 if number else 0))
        if not number:
            return bytes(result)


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """Write a protocol buffer of (number, integer or bytes)."""
    result = b""
    for number, value in fields:
        if isinstance(value, int):
            result += varint(number << 3) + varint(value % 2**64)
        else:
            result += varint(number << 3 | 2) + varint(len(value)) + value
    return result


def masked_crc(content: bytes) -> int:
    """Compute TensorFlow's checksum."""
    crc = google_crc32c.value(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def shape(*sizes: int) -> bytes:
    """Write a shape."""
    return b"".join(message((2, message((1, size)))) for size in sizes)


def write_bundle(folder: Path, variables: dict[str, np.ndarray], **changes: int) -> Path:
    """Write a checkpoint of one shard and return its prefix.

    Args:
        folder: Where to.
        variables: The values by name.
        changes: Fields of every entry to be replaced (`offset`, `size`, `shard`, `dtype`, `crc`).
    """
    entries, data = {b"": message((1, 1))}, b""
    for name, value in sorted(variables.items()):
        content = value.tobytes()
        entry = {"dtype": 1, "shard": 0, "offset": len(data), "size": len(content), "crc": masked_crc(content)}
        entry |= changes
        fields = (1, entry["dtype"]), (2, shape(*value.shape)), (3, entry["shard"]), (4, entry["offset"])
        entries[name.encode()] = message(*fields, (5, entry["size"])) + struct.pack("<BI", 6 << 3 | 5, entry["crc"])
        data += content
    write_container(folder, "model.index", table(entries))
    return write_container(folder, "model.data-00000-of-00001", data).with_name("model")


def table(entries: dict[bytes, bytes], repetitions: int = 1) -> bytes:
    """Write a sorted string table of one block, to which its index points so many times."""

    def block(pairs: dict[bytes, bytes]) -> bytes:
        body = b"".join(
            varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in pairs.items()
        )
        body += struct.pack("<II", 0, 1)  # one restart, at the beginning
        return body + b"\0" + struct.pack("<I", masked_crc(body + b"\0"))

    first = block(entries)
    handle = varint(0) + varint(len(first) - 5)
    second = block({b"~%05d" % number: handle for number in range(repetitions)})
    footer = varint(0) + varint(0) + varint(len(first)) + varint(len(second) - 5)
    return first + second + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
