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
from dataset_scripts import load_corpus
from speech_emotion.evaluation import classification_metrics
from speech_emotion.pretrained.shipped_model import packaged_model

CLIPS, ROUNDS, BATCH = 32, 3, 8
OURS = "`ser predict`, the model that comes along"
PEERS = {
    "openSMILE eGeMAPS + SVM": "opensmile",
    "transformers, wav2vec 2.0 base classifier": "wav2vec2",
    "transformers, Whisper base classifier (padded to 30 s)": "whisper",
}
EXPORTED = {
    "`ser predict`": "ours",
    'the same, its encoder in `"dtype": "bfloat16"`': "bfloat16",
    "its export, `ser export onnx`": "model.onnx",
    "its export with `--int8`": "int8.onnx",
}
EVERY = 4  # of so many clips of ASED one is taken
COLD = "from speech_emotion.cli.main import main; import sys; sys.exit(main(['predict', sys.argv[1]]))"
IMPORTS = "import torch, transformers"


Score = Callable[[Sequence[str]], object]


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def ours(precision: str = "float32") -> tuple[Score, float]:
    """What scores files, and the MB of the model that has to be fetched for it."""
    from speech_emotion.inference.saved_model import load_saved

    network, extractor = load_saved(str(packaged_model()))
    if precision != "float32":
        ((stream, entry),) = extractor.encoders.items()
        place = {"name_or_path": str(packaged_model() / stream), "dtype": precision}
        encoders = {stream: place | {key: entry[key] for key in ("layer", "context")}}
        same = {name: getattr(extractor, name) for name in ("streams", "feature_dtype", "front")}
        extractor = type(extractor)(encoders=encoders, **same)
    return partial(network.as_pipeline(extractor), batch_size=BATCH), megabytes(packaged_model())


def graph(file: str) -> tuple[Score, float]:
    """What `ser export onnx` wrote."""
    from speech_emotion.inference.onnx_model import onnx_pipeline

    return partial(onnx_pipeline(file), batch_size=BATCH), Path(file).stat().st_size / 1e6


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


def scorer(kind: str) -> tuple[Score, float]:
    if kind.endswith(".onnx"):
        return graph(kind)
    makers = {"ours": ours, "bfloat16": partial(ours, "bfloat16"), "opensmile": opensmile}
    return makers[kind]() if kind in makers else of_transformers(kind)


def written(clips: Sequence[np.ndarray], folder: str) -> list[str]:
    """Write clips as files."""
    files = [str(Path(folder, f"{index}.wav")) for index in range(len(clips))]
    for file, clip in zip(files, clips, strict=True):
        soundfile.write(file, clip, SAMPLING_RATE)
    return files


def measure(kind: str, files: Sequence[str]) -> list[float]:
    """Seconds for the files once all is loaded, peak memory in MB, the model's MB, and seconds of the processor."""
    score, size = scorer(kind)
    score(files[:2])
    start, busy = time.perf_counter(), time.process_time()
    score(files)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return [seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, size, busy]


def export(folder: str) -> None:
    """Write the model as graphs, in a process of its own, whose memory its children would be said to take."""
    from speech_emotion.inference.onnx_export import export_onnx
    from speech_emotion.inference.saved_model import load_saved

    model = load_saved(str(packaged_model()))
    for name in ("model.onnx", "int8.onnx"):
        export_onnx(*model, Path(folder, name), int8=name == "int8.onnx")


def of_strangers(kind: str) -> list[tuple[str, dict[str, float]]]:
    """The emotion of clips of ASED, whose speakers and language the model has not heard, and the scores it gives."""
    rows = load_corpus("ased")
    rows = rows.select(range(0, len(rows), EVERY))
    score, _ = scorer(kind)
    found = ({one["label"]: one["score"] for one in clip} for clip in score(list(rows["audio"])))
    return list(zip(rows["label"], found, strict=True))


def process_seconds(code: str, *words: str) -> float:
    """Seconds of a process, from its start to its end."""
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, *words], env=environment, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> str:
    """Return the sections of RESULTS.md; without the model they say so."""
    try:
        packaged_model()
    except FileNotFoundError as error:
        return section("Files to emotions", "Not measured.", str(error))
    return f"{against_peers()}\n\n{exported()}"


def against_peers() -> str:
    peers = {name: kind for name, kind in PEERS.items() if kind != "opensmile" or importlib.util.find_spec(kind)}
    clips, what = load_clips(CLIPS)
    with tempfile.TemporaryDirectory(prefix="ser-predict-") as folder:
        files = written(clips, folder)
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
        "Files to emotions",
        text,
        table(["", "files a second", "times its time in ours", "peak MB", "MB to fetch"], rows),
    )


def exported() -> str:
    """What becomes of speed, size and labels in half precision, and where the model is a graph in onnxruntime."""
    clips, what = load_clips(CLIPS)
    with tempfile.TemporaryDirectory(prefix="ser-exported-") as folder:
        files = written(clips, folder)
        in_child(export, folder)
        kinds = {name: str(Path(folder, kind)) if kind.endswith(".onnx") else kind for name, kind in EXPORTED.items()}
        found = take_turns({name: partial(in_child, measure, kind, files) for name, kind in kinds.items()}, ROUNDS)
        try:
            load_corpus("ased")
        except FileNotFoundError as error:
            said, lost = {}, f"What it costs was not measured: {error}"
        else:
            said, lost = {name: in_child(of_strangers, kind) for name, kind in kinds.items()}, ""
    reference = next(iter(EXPORTED))
    seconds = {name: [run[3] for run in runs] for name, runs in found.items()}
    rows = []
    for name, runs in found.items():
        first = name == reference
        row = [
            name,
            f"{CLIPS / statistics.median(seconds[name]):.1f}",
            "" if first else spread(ratios(seconds[name], seconds[reference]), 2),
            f"{max(run[1] for run in runs):.0f}",
            f"{runs[0][2]:.0f}",
        ]
        if said:
            ua, flipped, furthest = cost(said[name], said[reference])
            row += [f"{100 * ua:.1f}", *(["", ""] if first else [f"{100 * flipped:.1f}", f"{furthest:.1e}"])]
        rows.append(row)
    columns = ["", "files a second of the processor", "times the time of the first", "peak MB", "MB to fetch"]
    number = len(said[reference]) if said else 0
    text = f"As above, {CLIPS} {what} files, one thread, batches of {BATCH}, medians of {ROUNDS} rounds. " + (
        f"UA, the labels in per cent that are others than the first's, and the greatest difference of a score, "
        f"on {number} clips of ASED, whose speakers and language the model has not heard."
        if said
        else lost
    )
    columns += ["UA", "labels flipped", "a score differs by"] if said else []
    return section("Its other forms", text, table(columns, rows))


def cost(
    said: Sequence[tuple[str, dict[str, float]]], before: Sequence[tuple[str, dict[str, float]]]
) -> tuple[float, float, float]:
    """UA, the share of labels that are others than before, and by how much a score differs at most."""
    labels = sorted(said[0][1])
    truth = [labels.index(label) for label, _ in said]
    now, then = (np.array([[scores[label] for label in labels] for _, scores in one]) for one in (said, before))
    best = now.argmax(axis=1)
    ua = classification_metrics(truth, best.tolist(), len(labels))["ua"]
    return ua, float(np.mean(best != then.argmax(axis=1))), float(np.abs(now - then).max())
