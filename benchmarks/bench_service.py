"""Many clients at once of `ser serve` on this machine; `python -m benchmarks.bench_service SECONDS` is shorter."""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measuring import ROOT, SAMPLING_RATE, audio_seconds, load_clips, section, table
from speech_emotion.pretrained.shipped_model import packaged_model

CLIENTS, SECONDS, CLIPS = 50, 120.0, 16
HOST, TOKEN = "127.0.0.1", "load"


@contextmanager
def service(model: str) -> Iterator[int]:
    """Start the service, and give its port."""
    command = [sys.executable, "-m", "speech_emotion.cli", "serve", "--port", "0", "--model", model]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "SER_TOKEN": TOKEN}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield int(process.stdout.readline().rpartition(":")[2].split()[0])  # ValueError: no, it did not begin
        finally:
            process.terminate()


def ask(connection: http.client.HTTPConnection, route: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection.request("POST" if body else "GET", route, body, {"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def client(port: int, clips: Sequence[bytes], end: float, times: list[float], failed: Counter[str]) -> None:
    """Send clip after clip, each once the one before is answered, as a client of the Hub's inference does."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    turn = 0
    while time.perf_counter() < end:
        turn, start = turn + 1, time.perf_counter()
        try:
            status, answer = ask(connection, "/", clips[turn % len(clips)])
            if status != 200 or not json.loads(answer):
                failed[f"status {status}"] += 1
        except (OSError, http.client.HTTPException) as error:
            failed[type(error).__name__] += 1
            connection.close()
        times.append(time.perf_counter() - start)


def resident(port: int) -> float:
    """Memory of the service in MB."""
    _, told = ask(http.client.HTTPConnection(HOST, port, timeout=60), "/metrics")
    return float(re.search(rb"^process_resident_memory_bytes (\S+)$", told, re.MULTILINE)[1]) / 1e6


def main(seconds: float = SECONDS) -> str:
    """Return the section of RESULTS.md, of the model that comes along or the one that SER_LOAD_MODEL names."""
    title = "The service under load"
    try:
        model = os.environ.get("SER_LOAD_MODEL") or str(packaged_model())
    except FileNotFoundError as error:
        return section(title, "Not measured.", str(error))
    clips, what = load_clips(CLIPS)
    with tempfile.TemporaryDirectory(prefix="ser-service-") as folder:
        paths = [Path(folder, f"{index}.flac") for index in range(CLIPS)]
        for path, clip in zip(paths, clips, strict=True):
            soundfile.write(path, clip, SAMPLING_RATE)
        bodies = [path.read_bytes() for path in paths]
    alone, times, failed, memory = [], [], Counter(), []
    with service(model) as port:
        client(port, bodies, time.perf_counter() + min(5, seconds), alone, failed)
        start = time.perf_counter()
        words = (port, bodies, start + seconds, times, failed)
        clients = [threading.Thread(target=client, args=words, daemon=True) for _ in range(CLIENTS)]
        for one in clients:
            one.start()
        while any(one.is_alive() for one in clients):
            time.sleep(seconds / 12)
            memory.append(resident(port))
        took = time.perf_counter() - start
    p50, p95 = np.quantile(times, [0.5, 0.95])
    rows = [
        ["requests, and those that were lost", f"{len(times)}, {dict(failed) or 0}"],
        ["a second", f"{len(times) / took:.1f}"],
        ["median, 95th percentile and longest, in s", f"{p50:.2f}, {p95:.2f}, {max(times):.2f}"],
        ["median of one client alone, in s", f"{np.median(alone):.3f}"],
        [
            "memory after a quarter of the time, and at the end, in MB",
            f"{memory[len(memory) // 4]:.0f}, {memory[-1]:.0f}",
        ],
    ]
    text = (
        f"{CLIENTS} clients on the same machine each send {what} clips (FLAC, {audio_seconds(clips) / CLIPS:.1f} s), "
        f"one after another, for {seconds:g} s; `ser serve` computes on one thread."
    )
    return section(title, text, table(["", ""], rows))


if __name__ == "__main__":
    print(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
