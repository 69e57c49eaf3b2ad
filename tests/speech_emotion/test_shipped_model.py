"""The model that comes along: found where its distribution is installed, and told how to install where it is not."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from speech_emotion.checkpoint.assembly import card
from speech_emotion.checkpoint.no_speech import TESTED, make_sound
from speech_emotion.cli.main import main
from speech_emotion.inference.saved_model import load_saved
from speech_emotion.pretrained import is_pretrained, pretrained_path, shipped_model
from tests.modeling_ser.small_pipeline import CLIPS, by_label, small_classifier, write_clips
from tests.subprocess_tools import offline_environment, run_python_json

PROGRAM = """
import json
from transformers import pipeline
classify = pipeline("audio-classification", model=folder, trust_remote_code=True)
print(json.dumps(classify(clip)))
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a small model as the distribution would; returns its folder."""
    package = tmp_path / "site" / shipped_model.PACKAGE
    model, extractor = small_classifier()
    folder = package / shipped_model.EMOTIONS
    model.as_pipeline(extractor).save_pretrained(folder)
    for code in folder.glob("*.py"):
        code.unlink()
    (folder / "README.md").write_text("card")
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    monkeypatch.delitem(sys.modules, shipped_model.PACKAGE, raising=False)
    return folder


def made_clips(folder: Path) -> Path:
    (folder / "clips").mkdir()
    write_clips(folder / "clips")
    return folder / "clips"


def test_by_its_name_it_scores_as_from_its_folder_here_and_elsewhere(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = made_clips(tmp_path)
    clip = clips / "angry.wav"
    model, extractor = small_classifier()
    expected = by_label(model.as_pipeline(extractor)(str(clip)))
    network, own = load_saved("emotions")
    assert by_label(network.as_pipeline(own)(str(clip))) == pytest.approx(expected, abs=1e-6)
    assert capsys.readouterr().err.startswith("The model 'emotions': CC BY-NC-SA 4.0, no commercial use; ")
    folder = pretrained_path("emotions")
    assert folder == pretrained_path("emotions") and folder.name == "emotions" and (folder / "README.md").is_file()
    # In a process without this library: what the folder needs lies in it.
    places = f"folder, clip = {str(folder)!r}, {str(clip)!r}"
    elsewhere = run_python_json(places + PROGRAM, env=offline_environment(tmp_path), cwd=tmp_path)
    assert by_label(elsewhere) == pytest.approx(expected, abs=1e-6)


def test_a_folder_for_other_code_or_another_model_is_made_anew(installed: Path) -> None:
    first = pretrained_path("emotions")
    (installed / "README.md").write_text("another card")
    second = pretrained_path("emotions")
    assert second != first and (second / "README.md").read_text() == "another card"
    assert (first / "README.md").read_text() == "card"


def test_predict_takes_it_where_no_other_is_named(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = made_clips(tmp_path)
    assert main(["predict", str(clips)]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[0].startswith("The model 'emotions'") and f"{installed}/README.md" in err.splitlines()[0]
    assert len(out.splitlines()) == 2 + len(CLIPS)


def test_where_it_is_not_installed_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipped_model, "PACKAGE", "not_installed_here")
    with pytest.raises(FileNotFoundError, match=r"pip install \./weights/emotions"):
        pretrained_path("emotions")
    clips = made_clips(tmp_path)
    assert main(["predict", str(clips)]) == 1
    assert "pip install ./weights/emotions" in capsys.readouterr().err
    assert not is_pretrained("emotions")  # which are encoders


@pytest.mark.skipif(
    importlib.util.find_spec(shipped_model.PACKAGE) is None, reason="not installed: pip install ./weights/emotions"
)
class TestOfThisRepository:
    """The model itself."""

    def test_it_is_small_safe_and_says_what_it_is_worth(self) -> None:
        folder = shipped_model.packaged_model()
        files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
        assert sum(file.stat().st_size for file in files.values()) < 45e6
        assert {Path(name).suffix for name in files} == {".json", ".md", ".safetensors"}
        measures = json.loads(files["results.json"].read_text(encoding="utf-8"))["measures"]
        assert files["README.md"].read_text(encoding="utf-8") == card(measures)
        told = [row["no_speech"][0] for row in measures["sounds"]]
        assert sum(told) / len(told) > 0.95
        assert all(row["no_speech"][0] < 0.01 for row in measures["strangers"] + measures["left_out"])

    def test_sounds_of_kinds_that_it_has_not_heard_get_no_emotion(self) -> None:
        network, extractor = load_saved("emotions")
        sounds = [make_sound(kind, 200 + number) for kind in TESTED for number in range(2)]
        sounds.append(np.zeros(16_000, np.float32))
        clips = [{"array": sound, "sampling_rate": 16_000} for sound in sounds]
        found = [scores[0]["label"] for scores in network.as_pipeline(extractor)(clips, batch_size=4)]
        assert sum(label == "no_speech" for label in found) >= len(found) - 1
