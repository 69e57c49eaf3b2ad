"""One contender in a process of its own, which does what it is asked and says how long it took.

Every line of standard input is a task, `[name, batch]`; every line of standard output what it gave. Before anything is
loaded the process is bound to as many cores as it may use threads, since the original runtimes offer no other way to
limit them.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

SQUARE = 3072
STEPS = 50


def bind(threads: int) -> None:
    """Limit this process to so many threads, on as many cores where the system can."""
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def timed(work: Callable[[], object]) -> tuple[object, dict[str, float]]:
    """Result of a piece of work; seconds on the clock and of all processors."""
    clock, processors = time.perf_counter(), time.process_time()
    result = work()
    return result, {"seconds": time.perf_counter() - clock, "cpu": time.process_time() - processors}


class Native:
    """An original runtime; clips go in one after another, whatever the batch."""

    def __init__(self, name: str, folder: Path, libraries: list[str]) -> None:
        import numpy as np

        from benchmarks.deepspeech_native import RUNTIMES, NativeModel

        runtime = RUNTIMES[name]
        with np.load(folder / "clips.npz") as clips:
            self.clips = list(clips.values())
        self.model = NativeModel(runtime, [Path(path) for path in libraries], folder / f"model{runtime.model}")

    def run(self, task: str, batch: int) -> dict[str, object]:
        texts, seconds = timed(lambda: [self.model.transcribe(clip) for clip in self.clips])
        return {**seconds, "texts": texts}


class Ours:
    """This project's model, with the same weights, read from the same .pb."""

    def __init__(self, folder: Path, threads: int) -> None:
        import numpy as np
        import torch

        from feature_extraction.configuration_deepspeech import DeepSpeechConfig
        from feature_extraction.convert.deepspeech_graph import read_graph
        from feature_extraction.convert.file_bytes import map_file
        from feature_extraction.convert.torch_model import to_state_dict
        from feature_extraction.feature_extraction_deepspeech import DeepSpeechFeatureExtractor
        from feature_extraction.modeling_deepspeech import DeepSpeechModel
        from feature_extraction.speech_encoders import DeepSpeechEncoder

        torch.set_num_threads(threads)
        facts = read_graph(map_file(folder / "model.pb"))
        self.hidden = facts.weights["w2"].shape[0]
        self.alphabet = facts.alphabet
        self.model = DeepSpeechModel(DeepSpeechConfig(hidden_size=self.hidden, forget_bias=facts.forget_bias)).eval()
        self.model.load_state_dict(to_state_dict(facts.weights, facts.forget_bias))
        # The native clients' framing, so that all contenders compute the same number of frames.
        self.extractor = DeepSpeechFeatureExtractor(mfcc="tensorflow", framing="native")
        self.encoders = {layer: DeepSpeechEncoder(self.model, self.extractor, layer) for layer in (5, 6)}
        with np.load(folder / "clips.npz") as clips:
            self.clips = [torch.from_numpy(clip.astype(np.float32) / 32768) for clip in clips.values()]

    def run(self, task: str, batch: int) -> dict[str, object]:
        if task == "peak":
            return self.peak(batch)
        if task == "layer 5":
            answer, seconds = timed(lambda: self.parts(batch))
            return {**seconds, **answer}
        batches = [self.clips[first : first + batch] for first in range(0, len(self.clips), batch)]
        outputs, seconds = timed(lambda: [clip for waveforms in batches for clip in self.encoders[6](waveforms)])
        return {**seconds, "texts": [self.decode(logits) for logits in outputs]}

    def decode(self, logits: "torch.Tensor") -> str:  # noqa: F821 - torch is loaded after the limit on threads
        """Take the best label of every frame, repetitions and blanks left out."""
        labels = logits.argmax(dim=-1).unique_consecutive().tolist()
        return "".join(self.alphabet[label] for label in labels if label < len(self.alphabet))

    def parts(self, batch: int) -> dict[str, object]:
        """Extract layer 5 of all clips: seconds of each part, and the dense layers' operations in Gflop."""
        marks: list[float] = []
        layers = (self.model.layer_1, self.model.lstm, self.model.layer_5)
        hooks = [layer.register_forward_pre_hook(lambda *_: marks.append(time.perf_counter())) for layer in layers]
        names = ("front end", "layers 1-3", "LSTM", "layer 5")
        totals, rows = dict.fromkeys(names, 0.0), 0
        try:
            for first in range(0, len(self.clips), batch):
                waveforms = self.clips[first : first + batch]
                marks[:] = [time.perf_counter()]
                self.encoders[5](waveforms)
                marks.append(time.perf_counter())
                for name, (start, end) in zip(names, pairwise(marks), strict=True):
                    totals[name] += end - start
                longest = max(map(len, waveforms))
                rows += len(waveforms) * self.extractor.front_end.num_frames(longest)  # padding is computed, too
        finally:
            for hook in hooks:
                hook.remove()
        weights = sum(layer.weight.numel() for layer in (self.model.layer_1, self.model.layer_2, self.model.layer_3))
        weights += self.model.layer_5.weight.numel()
        return {"parts": totals, "dense": 2e-9 * rows * weights}

    def peak(self, batch: int) -> dict[str, object]:
        """Bare matrix products, of the dense layers' size and of a large square, in Gflop/s; the recurrent one.

        The last is what no way to run the LSTM can do without, once per frame: in seconds per frame of a clip.
        """
        import torch

        rows = batch * max(self.extractor.front_end.num_frames(len(clip)) for clip in self.clips)
        rates = {}
        for name, shape in (("same", (rows, self.hidden, self.hidden)), ("square", (SQUARE, SQUARE, SQUARE))):
            left, right = torch.randn(shape[0], shape[1]), torch.randn(shape[1], shape[2])
            repetitions = max(1, round(SQUARE**3 / (shape[0] * shape[1] * shape[2])))
            _, seconds = timed(lambda left=left, right=right, n=repetitions: [torch.mm(left, right) for _ in range(n)])
            rates[name] = 2e-9 * repetitions * shape[0] * shape[1] * shape[2] / seconds["seconds"]
        weights, state = self.model.lstm.weight_hh_l0.detach(), torch.randn(batch, self.hidden)
        _, seconds = timed(lambda: [torch.mm(state, weights.t()) for _ in range(STEPS)])
        return {**rates, "step": seconds["seconds"] / STEPS / batch}


def main() -> None:
    name, folder, threads, *libraries = sys.argv[1:]
    bind(int(threads))
    contender = Ours(Path(folder), int(threads)) if name == "ours" else Native(name, Path(folder), libraries)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(contender.run(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
