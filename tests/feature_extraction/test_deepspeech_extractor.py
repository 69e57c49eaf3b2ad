"""The Hub's face of DeepSpeech's front ends: arguments, padding, saving."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.fingerprint import Hasher

from feature_extraction.feature_extraction_deepspeech import DeepSpeechFeatureExtractor
from tests.feature_extraction.deepspeech_fixtures import CLIPS, expected, largest_difference, waveform


@pytest.mark.parametrize("mfcc", ["python_speech_features", "tensorflow"])
def test_batch_mask_and_short_clips(mfcc: str) -> None:
    extractor = DeepSpeechFeatureExtractor(mfcc=mfcc)
    batch = extractor([waveform(clip) for clip in CLIPS], 16000, return_tensors="pt")
    frames = batch["attention_mask"].sum(dim=1).tolist()
    assert frames == ([75, 50, 1, 1] if mfcc == "python_speech_features" else [74, 50, 1, 1])
    assert batch["input_features"].dtype == torch.float32
    assert not batch["input_features"][batch["attention_mask"] == 0].any()
    for row, clip, length in zip(batch["input_features"], CLIPS, frames, strict=True):
        alone = extractor(waveform(clip), 16000)["input_features"]
        assert alone.shape == (1, length, 26)
        assert np.array_equal(alone[0], row[:length].numpy())


def test_a_short_clip_is_as_release_04_has_it() -> None:
    features = DeepSpeechFeatureExtractor()(waveform("c_300"), 16000)["input_features"]
    assert largest_difference(features[0], expected()["v04/c_300/mfcc"]) < 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mfcc": "kaldi"}, "mfcc='kaldi'"),
        ({"numcep": 13}, "'numcep'"),
        ({"padding_side": "left"}, "padding_side='left'"),
        ({"framing": "native", "floor": "none"}, "floor='none'"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepSpeechFeatureExtractor(**settings)


def test_saved_settings_come_back(tmp_path: Path) -> None:
    extractor = DeepSpeechFeatureExtractor(mfcc="tensorflow", upper_frequency=4000.0, framing="native")
    extractor.save_pretrained(tmp_path)
    again = DeepSpeechFeatureExtractor.from_pretrained(tmp_path)
    assert again.front_end == extractor.front_end
    assert Hasher.hash(again) == Hasher.hash(extractor)
    assert Hasher.hash(DeepSpeechFeatureExtractor()) != Hasher.hash(extractor)
    files = {path.name for path in tmp_path.glob("*.py")}
    own = {"feature_extraction_deepspeech.py", "frontend_deepspeech.py"}
    assert files == own | {"audio_decoding.py", "audio_download.py", "waveform_extractor.py"}
