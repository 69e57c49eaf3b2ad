"""`ser predict` and `ser demo` where no training is needed to tell."""

import json
from pathlib import Path

import pytest

from modeling_ser import SEREnsembleForAudioClassification
from speech_emotion.cli import predict
from speech_emotion.cli.demo import earlier_run
from speech_emotion.cli.main import main as ser
from tests.modeling_ser.small_pipeline import CLIPS, LABELS, small_classifier, write_clips


@pytest.fixture
def ensemble(tmp_path: Path) -> Path:
    member, extractor = small_classifier()
    other, _ = small_classifier()
    other.classifier.out_proj.bias.data += 1.0 * other.classifier.out_proj.weight.data.new_tensor([1, 0, -1])
    folder = tmp_path / "ensemble"
    SEREnsembleForAudioClassification.from_members([member, other]).save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def test_an_ensemble_predicts_too(ensemble: Path, tmp_path: Path) -> None:
    (tmp_path / "clips" / "folder.wav").mkdir(parents=True)  # whose name is no reason to decode it
    write_clips(tmp_path / "clips")
    output = tmp_path / "scores.csv"
    assert ser(["predict", str(tmp_path / "clips"), "--model", str(ensemble), "--output", str(output)]) == 0
    header, *lines = output.read_text().splitlines()
    assert header == f"file,prediction,{','.join(LABELS)}" and len(lines) == len(CLIPS)
    model = SEREnsembleForAudioClassification.from_pretrained(ensemble)
    classifier = model.as_pipeline(small_classifier()[1])
    for line in lines:
        file, _, *scores = line.split(",")
        expected = {entry["label"]: entry["score"] for entry in classifier(file)}
        assert [float(score) for score in scores] == pytest.approx([expected[name] for name in LABELS], abs=2e-6)


@pytest.mark.parametrize(("name", "message"), [("gone/scores.csv", "no folder .*gone"), (".", "is a folder")])
def test_where_the_scores_go_is_checked_before_the_work(
    name: str,
    message: str,
    ensemble: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(predict, "load_classifier", lambda *args: pytest.fail("it went to work"))
    clip = write_clips(tmp_path)[0]
    assert ser(["predict", str(clip), "--model", str(ensemble), "--output", str(tmp_path / name)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message.split(".*")[0] in error and message.split(".*")[-1] in error


@pytest.mark.parametrize("content", ["{", "{}", json.dumps({"train": {}, "validation": {}, "test": {}})])
def test_a_demo_takes_no_report_of_another_form(content: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "results.json").write_text(content)
    assert earlier_run(tmp_path, 42, ["mel"]) is None
