"""A saved folder in a process that cannot import the project: `transformers.pipeline` and every kind of input."""

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.hub.local_hub import LocalHub
from tests.modeling_ser.small_pipeline import CLIPS, LABELS, logits_of, small_classifier, write_clips
from tests.subprocess_tools import run_python_json

REPOSITORY = "alice/small-classifier"
Scores = list[dict[str, Any]]

PROGRAM = """
import io, json, pathlib, sys, warnings
import datasets, numpy, soundfile, torch
from huggingface_hub import HfApi
from transformers import AutoModel, AutoModelForAudioClassification, pipeline

url, repository = {url!r}, {repository!r}
warnings.simplefilter("ignore")
make = lambda model, **kwargs: pipeline("audio-classification", model=model, trust_remote_code=True, **kwargs)
classify = make("saved")

names = json.loads(pathlib.Path("names.json").read_text())
paths = [f"clips/{{name}}.wav" for name in names]
first, content = paths[0], pathlib.Path(paths[0]).read_bytes()
array, rate = soundfile.read(first, dtype="float32")
low, low_rate = soundfile.read("low.wav", dtype="float32")
column = datasets.Dataset.from_dict({{"audio": paths}}).cast_column("audio", datasets.Audio(decode=False))["audio"]

single = {{
    "str": classify(first),
    "Path": classify(pathlib.Path(first)),
    "bytes": classify(content),
    "file object": classify(io.BytesIO(content)),
    "open file": classify(open(first, "rb")),
    "numpy": classify(array),
    "torch": classify(torch.from_numpy(array)),
    "array": classify({{"array": array, "sampling_rate": rate}}),
    "raw": classify({{"raw": array, "sampling_rate": rate}}),
    "bytes of datasets": classify({{"path": None, "bytes": content}}),
    "path of datasets": classify({{"path": first, "bytes": None}}),
    "value of a column": classify(column[0]),
    "URL": classify(f"{{url}}/{{first}}"),
}}
many = {{
    "list": classify(paths),
    "generator": list(classify(path for path in paths)),
    "column": classify(column),
    "arrays": classify([soundfile.read(path, dtype="float32")[0] for path in paths]),
    **{{f"batch of {{size}}": classify(paths, batch_size=size) for size in (1, 3, 8)}},
    "generator in batches": list(classify((path for path in paths), batch_size=3)),
    "column in batches": classify(column, batch_size=3),
}}
best_two = make("saved", top_k=2)

whole = {{
    "single": single,
    "many": many,
    "8 kHz": [classify({{"raw": low, "sampling_rate": low_rate}}), classify("low.wav")],
    "8 channels at 192 kHz": classify("many.wav"),
    "top_k": {{
        "none": classify(first),
        "call": classify(first, top_k=1),
        "construction": best_two(first),
        "both": best_two(first, top_k=1),
        "construction, in batches": best_two(paths, batch_size=3),
    }},
    "functions": {{name: classify(first, function_to_apply=name) for name in ("softmax", "sigmoid", "none")}},
    "nothing": classify([]),
}}

# Saved again by the copy of the code, and shared, and saved again from there.
classify.save_pretrained("again")
api = HfApi()
api.create_repo(repository)
api.upload_folder(repo_id=repository, folder_path="again")
shared = make(repository)
shared.save_pretrained("from-hub")
AutoModelForAudioClassification.from_pretrained(repository, trust_remote_code=True).save_pretrained("model-only")
AutoModel.from_pretrained(repository, trust_remote_code=True).save_pretrained("body-only")
whole["copies"] = {{name: model(paths) for name, model in (("again", make("again")), ("Hub", shared))}}
whole["copies"]["from the Hub"] = make("from-hub")(paths)
whole["copies"]["model only"] = make("model-only", feature_extractor=classify.feature_extractor)(paths)
whole["body"] = type(AutoModel.from_pretrained("body-only", trust_remote_code=True)).__name__
whole["modules"] = sorted({{"librosa", "matplotlib", "torchcodec", "torchaudio"}} & set(sys.modules))
print(json.dumps(whole))
"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def web_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which it is served."""
    folder = tmp_path_factory.mktemp("saved-pipeline")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def folder(web_folder: tuple[Path, str]) -> Path:
    return web_folder[0]


@pytest.fixture(scope="module")
def answers(web_folder: tuple[Path, str], local_hub: LocalHub) -> dict[str, Any]:
    """What the fresh process said."""
    folder, url = web_folder
    (folder / "clips").mkdir()
    write_clips(folder / "clips")
    (folder / "names.json").write_text(json.dumps(list(CLIPS)))
    half_second = np.arange(4000) / 8000
    soundfile.write(folder / "low.wav", np.sin(2000 * half_second) * np.hanning(4000), 8000, subtype="FLOAT")
    time = np.arange(96_000) / 192_000
    channels = np.stack([0.3 * np.sin(2 * np.pi * (200 + 100 * channel) * time) for channel in range(8)], axis=1)
    soundfile.write(folder / "many.wav", channels, 192_000, subtype="FLOAT")
    model, extractor = small_classifier()
    model.save_pretrained(folder / "saved")
    extractor.save_pretrained(folder / "saved")
    program = PROGRAM.format(url=url, repository=REPOSITORY)
    return run_python_json(program, env=local_hub.env(folder / "home"), cwd=folder)


@pytest.fixture(scope="module")
def expected() -> list[dict[str, float]]:
    """Each clip's scores, without the pipeline."""
    model, extractor = small_classifier()
    logits = [logits_of(model, extractor, waveform) for waveform in CLIPS.values()]
    return [dict(zip(LABELS, row.softmax(-1).tolist(), strict=True)) for row in logits]


def by_label(scores: Scores) -> dict[str, float]:
    assert [item["score"] for item in scores] == sorted((item["score"] for item in scores), reverse=True)
    return {item["label"]: item["score"] for item in scores}


def test_every_kind_of_single_source(answers: dict[str, Any], expected: list[dict[str, float]]) -> None:
    assert len(answers["single"]) == 13
    for kind, scores in answers["single"].items():
        assert by_label(scores) == pytest.approx(expected[0], abs=1e-5), kind


def test_every_kind_of_many_sources(answers: dict[str, Any], expected: list[dict[str, float]]) -> None:
    assert len(answers["many"]) == 9
    assert max(abs(one["anger"] - other["anger"]) for one in expected for other in expected) > 0.02
    for kind, rows in answers["many"].items():
        assert len(rows) == len(expected), kind
        for scores, row in zip(rows, expected, strict=True):
            assert by_label(scores) == pytest.approx(row, abs=1e-5), kind


@pytest.mark.parametrize("name", ["low.wav", "many.wav"])
def test_other_rates_and_channels(answers: dict[str, Any], folder: Path, name: str) -> None:
    model, extractor = small_classifier()
    waveform = extractor.load_audio(folder / name)
    assert waveform.shape == (8000,)
    scores = dict(zip(LABELS, logits_of(model, extractor, waveform).softmax(-1).tolist(), strict=True))
    for answer in answers["8 kHz"] if name == "low.wav" else [answers["8 channels at 192 kHz"]]:
        assert by_label(answer) == pytest.approx(scores, abs=1e-5)


def test_top_k(answers: dict[str, Any]) -> None:
    given = answers["top_k"]
    assert {item["label"] for item in given["none"]} == set(LABELS)
    assert given["call"] == given["both"] == given["none"][:1]
    assert given["construction"] == given["none"][:2]
    assert [len(scores) for scores in given["construction, in batches"]] == [2] * len(CLIPS)


def test_function_to_apply(answers: dict[str, Any]) -> None:
    logits = logits_of(*small_classifier(), CLIPS["angry"])
    functions = {"softmax": logits.softmax(-1), "sigmoid": logits.sigmoid(), "none": logits}
    assert answers["functions"].keys() == functions.keys()
    for name, scores in functions.items():
        row = dict(zip(LABELS, torch.as_tensor(scores).tolist(), strict=True))
        assert by_label(answers["functions"][name]) == pytest.approx(row, abs=1e-5), name


def test_an_empty_list(answers: dict[str, Any]) -> None:
    assert answers["nothing"] == []


def test_copies_of_copies_score_the_same(answers: dict[str, Any], expected: list[dict[str, float]]) -> None:
    assert len(answers["copies"]) == 4
    for copy, rows in answers["copies"].items():
        for scores, row in zip(rows, expected, strict=True):
            assert by_label(scores) == pytest.approx(row, abs=1e-5), copy
    assert answers["body"] == "SERModel"


@pytest.mark.parametrize("copy", ["saved", "again", "from-hub"])
def test_a_copy_holds_the_code_and_points_to_it(answers: dict[str, Any], folder: Path, copy: str) -> None:
    # What a process needs that cannot import the project has been seen above; here, that nothing is lost on the way.
    files = {path.name for path in (folder / copy).iterdir()}
    assert files == {path.name for path in (folder / "saved").iterdir()} >= {"modeling_ser.py", "pipeline_ser.py"}
    assert {name.partition(".")[2] for name in files} == {"json", "py", "safetensors"}
    for name in ("config.json", "preprocessor_config.json"):
        text = (folder / copy / name).read_text()
        assert "--" not in text, f"{copy}/{name} points to another repository"
        assert text == (folder / "saved" / name).read_text()
    for path in (folder / copy).glob("*.py"):
        assert path.read_bytes() == (folder / "saved" / path.name).read_bytes()


def test_only_what_is_needed_was_imported_and_nothing_pickled_was_shared(
    answers: dict[str, Any], local_hub: LocalHub
) -> None:
    assert answers["modules"] == []
    files = local_hub.files(REPOSITORY)
    assert {Path(name).suffix for name in files} <= {".json", ".py", ".safetensors", ".gitattributes", ""}
