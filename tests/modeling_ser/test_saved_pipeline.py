"""Saved folders in processes that cannot import the project: `transformers.pipeline` and every kind of input."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

from feature_extraction import SERFeatureExtractor
from modeling_ser import SEREnsembleForAudioClassification, SERPreTrainedModel
from tests.hub.local_hub import LocalHub
from tests.modeling_ser.small_pipeline import (
    CLIPS,
    by_label,
    expected_scores,
    small_classifier,
    three_classifiers,
    write_clips,
)
from tests.subprocess_tools import run_python_json

PROGRAM = """
import io, json, pathlib, sys, warnings
import datasets, numpy, soundfile, torch
from huggingface_hub import HfApi
from transformers import AutoModelForAudioClassification, pipeline

warnings.simplefilter("ignore")
make = lambda model, **kwargs: pipeline("audio-classification", model=model, trust_remote_code=True, **kwargs)
classify = make("saved")

paths = [f"clips/{name}.wav" for name in names]
first, content = paths[0], pathlib.Path(paths[0]).read_bytes()
array, rate = soundfile.read(first, dtype="float32")
low, low_rate = soundfile.read("low.wav", dtype="float32")
column = datasets.Dataset.from_dict({"audio": paths}).cast_column("audio", datasets.Audio(decode=False))["audio"]

single = {
    "str": classify(first),
    "Path": classify(pathlib.Path(first)),
    "bytes": classify(content),
    "file object": classify(io.BytesIO(content)),
    "open file": classify(open(first, "rb")),
    "numpy": classify(array),
    "torch": classify(torch.from_numpy(array)),
    "array": classify({"array": array, "sampling_rate": rate}),
    "raw": classify({"raw": array, "sampling_rate": rate}),
    "bytes of datasets": classify({"path": None, "bytes": content}),
    "path of datasets": classify({"path": first, "bytes": None}),
    "value of a column": classify(column[0]),
}
many = {
    "list": classify(paths),
    "generator": list(classify(path for path in paths)),
    "column": classify(column),
    "arrays": classify([soundfile.read(path, dtype="float32")[0] for path in paths]),
    **{f"batch of {size}": classify(paths, batch_size=size) for size in (1, 3, 8)},
    "generator in batches": list(classify((path for path in paths), batch_size=3)),
    "column in batches": classify(column, batch_size=3),
}
whole = {
    "kind": [type(classify).__name__, type(classify.model).__name__],
    "single": single,
    "many": many,
    "8 kHz": [classify({"raw": low, "sampling_rate": low_rate}), classify("low.wav")],
    "nothing": classify([]),
}

# Saved again by the copy of the code, and shared, and saved again from there.
classify.save_pretrained("again")
api = HfApi()
api.create_repo(repository)
api.upload_folder(repo_id=repository, folder_path="again")
shared = make(repository)
shared.save_pretrained("from-hub")
model = AutoModelForAudioClassification.from_pretrained(repository, trust_remote_code=True)
model.save_pretrained("model-only")
whole["copies"] = {name: model(paths) for name, model in (("again", make("again")), ("Hub", shared))}
whole["copies"]["from the Hub"] = make("from-hub")(paths)
whole["copies"]["model only"] = make("model-only", feature_extractor=classify.feature_extractor)(paths)
if hasattr(model, "members"):
    joined = type(model).from_members(list(model.members))
    whole["copies"]["joined again"] = joined.as_pipeline(classify.feature_extractor)(paths)
else:
    from transformers import AutoModel

    AutoModel.from_pretrained(repository, trust_remote_code=True).save_pretrained("body-only")
    assert type(AutoModel.from_pretrained("body-only", trust_remote_code=True)).__name__ == "SERModel"
whole["modules"] = sorted({"librosa", "matplotlib", "torchcodec", "torchaudio"} & set(sys.modules))
print(json.dumps(whole))
"""


class Saved(NamedTuple):
    """A model, where it was saved and shared, and what the fresh process said about it."""

    model: SERPreTrainedModel
    extractor: SERFeatureExtractor
    folder: Path
    repository: str
    answers: dict[str, Any]

    def scores_of(self, waveform: np.ndarray) -> Any:
        return pytest.approx(expected_scores(self.model, self.extractor, waveform), abs=1e-5)


@pytest.fixture(scope="module", params=["classifier", "ensemble"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, local_hub: LocalHub) -> Saved:
    kind = request.param
    folder, repository = tmp_path_factory.mktemp(kind), f"alice/small-{kind}"
    (folder / "clips").mkdir()
    write_clips(folder / "clips")
    half_second = np.arange(4000) / 8000
    soundfile.write(folder / "low.wav", np.sin(2000 * half_second) * np.hanning(4000), 8000, subtype="FLOAT")
    model, extractor = small_classifier()
    if kind == "ensemble":
        model = SEREnsembleForAudioClassification.from_members(three_classifiers()[0])
    model.save_pretrained(folder / "saved")
    extractor.save_pretrained(folder / "saved")
    program = f"repository, names = {repository!r}, {list(CLIPS)!r}\n{PROGRAM}"
    answers = run_python_json(program, env=local_hub.env(folder / "home"), cwd=folder)
    return Saved(model, extractor, folder, repository, answers)


def test_every_kind_of_single_source(saved: Saved) -> None:
    assert saved.answers["kind"] == ["SERPipeline", type(saved.model).__name__]
    assert len(saved.answers["single"]) == 12
    for kind, scores in saved.answers["single"].items():
        assert by_label(scores) == saved.scores_of(CLIPS["angry"]), kind


@pytest.mark.parametrize(("part", "ways"), [("many", 9), ("copies", 4)])
def test_every_kind_of_many_sources_and_copies_of_copies(saved: Saved, part: str, ways: int) -> None:
    expected = [saved.scores_of(waveform) for waveform in CLIPS.values()]
    answers = saved.answers[part]
    assert len(answers) >= ways
    for kind, rows in answers.items():
        assert [by_label(scores) for scores in rows] == expected, kind
        angers = [by_label(scores)["anger"] for scores in rows]
        assert max(angers) - min(angers) > 0.01  # the clips are told apart
    assert saved.answers["nothing"] == []


def test_another_rate(saved: Saved) -> None:
    waveform = saved.extractor.load_audio(saved.folder / "low.wav")
    assert waveform.shape == (8000,)
    for answer in saved.answers["8 kHz"]:
        assert by_label(answer) == saved.scores_of(waveform)


@pytest.mark.parametrize("copy", ["again", "from-hub"])
def test_a_copy_holds_the_code_and_points_to_it(saved: Saved, copy: str) -> None:
    # What a process needs that cannot import the project has been seen above; here, that nothing changes on the way.
    first, second = (
        {path.name: path.read_bytes() for path in (saved.folder / name).iterdir()} for name in ("saved", copy)
    )
    assert first == second
    assert {name.partition(".")[2] for name in first} == {"json", "py", "safetensors"}
    for name in ("config.json", "preprocessor_config.json"):
        assert b"--" not in first[name], f"{name} points to another repository"
    for code in json.loads(first["config.json"])["auto_map"].values():
        assert f"{code.partition('.')[0]}.py" in first


def test_only_what_is_needed_was_imported_and_nothing_pickled_was_shared(saved: Saved, local_hub: LocalHub) -> None:
    assert saved.answers["modules"] == []
    files = local_hub.files(saved.repository)
    assert {Path(name).suffix for name in files} <= {".json", ".py", ".safetensors", ".gitattributes", ""}
