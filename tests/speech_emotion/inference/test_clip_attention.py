"""What a saved model attends to in one clip: the heads' names, their weights, and where frames stand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC, SERFeatureExtractor
from modeling_ser import SERConfig, SEREnsembleForAudioClassification, SERForAudioClassification
from speech_emotion.cli.main import main as ser
from speech_emotion.inference.clip_attention import clip_attention, head_places
from tests.synthetic import speech_like, write_polish

CLIP = {"array": speech_like(seconds=0.5), "sampling_rate": 16000}


def test_heads_of_several_streams_are_named_after_them() -> None:
    config = SERConfig(num_attention_heads=2, hidden_size=8, input_size=6, fusion="late", stream_sizes=[4, 2])
    names = list(head_places(SERForAudioClassification(config), ["mel", "deepspeech"]))
    assert names == ["mel 1", "mel 2", "deepspeech 1", "deepspeech 2"]


def test_a_clips_attention_is_drawn_with_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    clip = write_polish(tmp_path / "polish") / "m1.a_nie_1.wav"
    model = SERForAudioClassification(SERConfig(hidden_size=8)).eval()
    for part in (model, SERFeatureExtractor()):
        part.save_pretrained(tmp_path / "model")
    words = ["figures", "attention", "--model", str(tmp_path / "model")]
    assert ser([*words, "--file", str(clip), "--output", str(tmp_path / "a.svg")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "a.svg"), str(tmp_path / "a.json")]
    numbers = json.loads((tmp_path / "a.json").read_text())
    features = SERFeatureExtractor().extract([SERFeatureExtractor().load_audio(clip)])["input_features"]
    output = model(features, output_attentions=True)
    assert list(numbers["attention_received"]) == ["1", "2", "3", "4"]
    received = features.shape[1] * output.attentions[0][0].mean(dim=1)
    np.testing.assert_allclose(list(numbers["attention_received"].values()), received.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numbers["times"], 0.025 * np.arange(features.shape[1]))
    assert sum(numbers["scores"].values()) == pytest.approx(1)
    assert ser([*words, "--file", str(tmp_path / "no.wav")]) == 1
    assert "no.wav" in capsys.readouterr().err


def test_frames_of_a_model_2_stand_where_the_encoder_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16)).save_pretrained(tmp_path)
    DeepSpeechFeatureExtractor().save_pretrained(tmp_path)
    extractor = SERFeatureExtractor(streams=("deepspeech",), encoders={"deepspeech": {"name_or_path": str(tmp_path)}})
    model = SERForAudioClassification(SERConfig(input_size=16, hidden_size=8, num_labels=3))
    found = clip_attention(model, extractor, CLIP)
    np.testing.assert_allclose(found.times, (320 * np.arange(25) + 256) / 16000)
    assert found.attention.shape == (4, 25, 25)
    assert found.log_mel.shape == (21, 128)
    np.testing.assert_allclose(found.attention.sum(axis=-1), 1, atol=1e-6)


def test_heads_of_an_ensemble_are_those_of_its_members() -> None:
    members = [SERForAudioClassification(SERConfig(hidden_size=8, num_attention_heads=2)).eval() for _ in range(2)]
    ensemble = SEREnsembleForAudioClassification.from_members(members)
    ensemble.config.temperature = 3.0
    found = clip_attention(ensemble, SERFeatureExtractor(), CLIP)
    classified = ensemble.as_pipeline(SERFeatureExtractor())(CLIP)
    assert found.scores == pytest.approx({one["label"]: one["score"] for one in classified}, abs=1e-6)
    assert found.head_names == ["member 1 head 1", "member 1 head 2", "member 2 head 1", "member 2 head 2"]
    for number, member in enumerate(members):
        alone = clip_attention(member, SERFeatureExtractor(), CLIP)
        np.testing.assert_array_equal(found.attention[2 * number : 2 * number + 2], alone.attention)
