"""A saved ensemble in a process that cannot import the project, shared on a Hub, and saved again from there."""

import json
from pathlib import Path
from typing import Any

import pytest

from modeling_ser import SEREnsembleForAudioClassification
from tests.hub.local_hub import LocalHub
from tests.modeling_ser.small_pipeline import CLIPS, write_clips
from tests.modeling_ser.test_ensemble import three_classifiers
from tests.subprocess_tools import run_python_json

REPOSITORY = "alice/small-ensemble"

PROGRAM = """
import json, pathlib, warnings
import soundfile
from huggingface_hub import HfApi
from transformers import AutoModelForAudioClassification, pipeline

repository = {repository!r}
warnings.simplefilter("ignore")
make = lambda model, **kwargs: pipeline("audio-classification", model=model, trust_remote_code=True, **kwargs)
classify = make("saved")
paths = [f"clips/{{name}}.wav" for name in json.loads(pathlib.Path("names.json").read_text())]
array = soundfile.read(paths[0], dtype="float32")[0]
answers = {{
    "kind": [type(classify).__name__, type(classify.model).__name__, len(classify.model.members)],
    "paths": classify(paths),
    "batches": classify(paths, batch_size=3),
    "bytes": [classify(pathlib.Path(path).read_bytes()) for path in paths],
    "array": classify(array),
    "best": classify(paths[0], top_k=1),
}}
classify.save_pretrained("again")
api = HfApi()
api.create_repo(repository)
api.upload_folder(repo_id=repository, folder_path="again")
shared = make(repository)
answers["Hub"] = shared(paths)
shared.save_pretrained("from-hub")
answers["from the Hub"] = make("from-hub")(paths)
model = AutoModelForAudioClassification.from_pretrained(repository, trust_remote_code=True)
answers["joined again"] = type(model).from_members(list(model.members)).as_pipeline(classify.feature_extractor)(paths)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved-ensemble")
    (folder / "clips").mkdir()
    write_clips(folder / "clips")
    (folder / "names.json").write_text(json.dumps(list(CLIPS)))
    members, extractor = three_classifiers()
    SEREnsembleForAudioClassification.from_members(members).save_pretrained(folder / "saved")
    extractor.save_pretrained(folder / "saved")
    return folder


@pytest.fixture(scope="module")
def answers(folder: Path, local_hub: LocalHub) -> dict[str, Any]:
    """What the fresh process said."""
    return run_python_json(PROGRAM.format(repository=REPOSITORY), env=local_hub.env(folder / "home"), cwd=folder)


def by_label(scores: list[dict[str, Any]]) -> dict[str, float]:
    return {item["label"]: item["score"] for item in scores}


def test_a_fresh_process_and_the_hub_give_the_scores_of_the_mean_posterior(
    answers: dict[str, Any], folder: Path
) -> None:
    ensemble = SEREnsembleForAudioClassification.from_pretrained(folder / "saved")
    _, extractor = three_classifiers()
    classify = ensemble.as_pipeline(extractor)
    clips = [{"array": waveform, "sampling_rate": 16000} for waveform in CLIPS.values()]
    expected = [by_label(scores) for scores in classify(clips)]
    assert answers["kind"] == ["SERPipeline", "SEREnsembleForAudioClassification", 3]
    for way in ("paths", "batches", "bytes", "Hub", "from the Hub", "joined again"):
        assert len(answers[way]) == len(expected)
        for scores, row in zip(answers[way], expected, strict=True):
            assert by_label(scores) == pytest.approx(row, abs=1e-5), way
    assert by_label(answers["array"]) == pytest.approx(expected[0], abs=1e-5)
    assert answers["best"] == answers["paths"][0][:1]


@pytest.mark.parametrize("copy", ["saved", "again", "from-hub"])
def test_a_copy_holds_the_ensembles_code_and_points_to_it(answers: dict[str, Any], folder: Path, copy: str) -> None:
    files = {path.name for path in (folder / copy).iterdir()}
    assert files == {path.name for path in (folder / "saved").iterdir()} >= {"modeling_ser_ensemble.py"}
    text = (folder / copy / "config.json").read_text()
    assert "--" not in text
    assert text == (folder / "saved" / "config.json").read_text()
    assert json.loads(text)["auto_map"] == {
        "AutoConfig": "configuration_ser.SERConfig",
        "AutoModelForAudioClassification": "modeling_ser_ensemble.SEREnsembleForAudioClassification",
    }
    for name in files:
        assert (folder / copy / name).read_bytes() == (folder / "saved" / name).read_bytes()


def test_nothing_pickled_was_shared(answers: dict[str, Any], local_hub: LocalHub) -> None:
    files = local_hub.files(REPOSITORY)
    assert {Path(name).suffix for name in files} <= {".json", ".py", ".safetensors", ".gitattributes", ""}
