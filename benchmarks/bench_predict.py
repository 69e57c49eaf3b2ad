"""Files to emotions with the model that comes along, against what people use; each in a process of its own."""

import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measuring import ROOT, SAMPLING_RATE, in_child, load_clips, ratios, section, spread, table, take_turns
from speech_emotion.pretrained.shipped_model import packaged_model

CLIPS, ROUNDS, BATCH = 32, 3, 8
OURS = "`ser predict`, the model that comes along"
PEERS = {
    "openSMILE eGeMAPS + SVM": "opensmile",
    "transformers, wav2vec 2.0 base classifier": "wav2vec2",
    "transformers, Whisper base classifier (padded to 30 s)": "whisper",
}
COLD = "from speech_emotion.cli.main import main; import sys; sys.exit(main(['predict', sys.argv[1]]))"
IMPORTS = "import torch, transformers"


Score = Callable[[Sequence[str]], object]


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def ours() -> tuple[Score, float]:
    """What scores files, and the MB of the model that has to be fetched for it."""
    from speech_emotion.inference.saved_model import load_saved

    network, extractor = load_saved(str(packaged_model()))
    return partial(network.as_pipeline(extractor), batch_size=BATCH), megabytes(packaged_model())


def opensmile() -> tuple[Score, float]:
    """Functionals and a support vector machine for seven emotions, fitted to noise: only its time counts."""
    import opensmile as engine
    from sklearn.svm import SVC

    smile = engine.Smile(engine.FeatureSet.eGeMAPSv02, engine.FeatureLevel.Functionals)
    random = np.random.default_rng(0)
    machine = SVC().fit(random.normal(size=(700, len(smile.feature_names))), np.arange(700) % 7)

    def score(files: Sequence[str]) -> object:
        sounds = (soundfile.read(file, dtype="float32")[0] for file in files)
        return machine.predict(np.concatenate([smile.process_signal(sound, SAMPLING_RATE) for sound in sounds]))

    return score, megabytes(Path(engine.__file__).parent)


def of_transformers(kind: str) -> tuple[Score, float]:
    """A classifier of transformers, with random weights, by its own pipeline."""
    import transformers

    name = {"wav2vec2": "Wav2Vec2", "whisper": "Whisper"}[kind]
    config = getattr(transformers, f"{name}Config")(num_labels=7)
    if kind == "whisper":
        config.update({"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048})
    head = "ForSequenceClassification" if kind == "wav2vec2" else "ForAudioClassification"
    model = getattr(transformers, name + head)(config)
    extractor = getattr(transformers, f"{name}FeatureExtractor")()
    classify = transformers.pipeline("audio-classification", model=model, feature_extractor=extractor)

    def score(files: Sequence[str]) -> object:  # decoded here: transformers would start ffmpeg for each file
        return classify([soundfile.read(file, dtype="float32")[0] for file in files], batch_size=BATCH)

    return score, model.num_parameters() * 4 / 1e6  # in float32, as they are shared


def measure(kind: str, files: Sequence[str]) -> list[float]:
    """Seconds for the files once all is loaded, peak memory in MB, and the model's MB."""
    makers = {"ours": ours, "opensmile": opensmile}
    score, size = makers[kind]() if kind in makers else of_transformers(kind)
    score(files[:2])
    start = time.perf_counter()
    score(files)
    return [time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, size]


def process_seconds(code: str, *words: str) -> float:
    """Seconds of a process, from its start to its end."""
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, *words], env=environment, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> str:
    """Return the section of RESULTS.md; without the model it says so."""
    title = "Files to emotions"
    try:
        packaged_model()
    except FileNotFoundError as error:
        return section(title, "Not measured.", str(error))
    peers = {name: kind for name, kind in PEERS.items() if kind != "opensmile" or importlib.util.find_spec(kind)}
    clips, what = load_clips(CLIPS)
    with tempfile.TemporaryDirectory(prefix="ser-predict-") as folder:
        files = [str(Path(folder, f"{index}.wav")) for index in range(CLIPS)]
        for file, clip in zip(files, clips, strict=True):
            soundfile.write(file, clip, SAMPLING_RATE)
        contenders = {OURS: "ours", **peers}
        found = take_turns(
            {name: partial(in_child, measure, kind, files) for name, kind in contenders.items()}, ROUNDS
        )
        cold = take_turns(
            {"one file": partial(process_seconds, COLD, files[0]), "imports": partial(process_seconds, IMPORTS)},
            ROUNDS,
        )
    seconds = {name: [run[0] for run in runs] for name, runs in found.items()}
    rows = [
        [
            name,
            f"{CLIPS / statistics.median(seconds[name]):.1f}",
            "" if name == OURS else spread(ratios(seconds[name], seconds[OURS]), 1),
            f"{max(run[1] for run in runs):.0f}",
            f"{runs[0][2]:.0f}",
        ]
        for name, runs in found.items()
    ]
    more = [one - other for one, other in zip(cold["one file"], cold["imports"], strict=True)]
    text = (
        f"{CLIPS} {what} files of {sum(map(len, clips)) / SAMPLING_RATE / CLIPS:.1f} s, read from disk, one thread, "
        f"batches of {BATCH}; the peers with random weights, whose time is that of trained ones. Medians of {ROUNDS} "
        "rounds in which all take turns (least to greatest of the ratios in brackets). MB to "
        "fetch are those of the model, of openSMILE those of its package. "
        f"One file from a cold start takes {spread(more, 1)} s more than importing torch and "
        "transformers alone"
        + ("." if "opensmile" in peers.values() else "; openSMILE was not installed (extra `bench`).")
    )
    return section(
        title, text, table(["", "files a second", "times its time in ours", "peak MB", "MB to fetch"], rows)
    )
