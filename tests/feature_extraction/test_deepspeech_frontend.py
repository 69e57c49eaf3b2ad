"""DeepSpeech's two front ends against TensorFlow, python_speech_features and native clients, and their extractor."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.fingerprint import Hasher

from feature_extraction import DeepSpeechFeatureExtractor, frontend_deepspeech
from feature_extraction.frontend_deepspeech import FrontEnd, SpeechFeaturesMFCC, TensorFlowMFCC
from tests.feature_extraction.deepspeech_fixtures import CLIPS, expected, largest_difference, waveform

NATIVE_V04 = "native_v04/output_graph.pb"


def features_of(front_end: FrontEnd, clip: str) -> np.ndarray:
    features, lengths = front_end([torch.from_numpy(waveform(clip))])
    assert features.dtype == torch.float32
    assert features.shape == (1, lengths[0], 26)
    return features[0].numpy()


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(
    ("front_end", "name"),
    [
        (SpeechFeaturesMFCC(), "v04/{}/mfcc"),
        (TensorFlowMFCC(), "v09/{}/mfcc"),
        (TensorFlowMFCC(upper_frequency=4000.0), "v09/{}/mfcc_upper4000"),
        (TensorFlowMFCC(framing="native"), "v09/{}/mfcc_native"),
    ],
)
def test_features_are_those_of_the_training_code(front_end: FrontEnd, name: str, clip: str) -> None:
    assert largest_difference(features_of(front_end, clip), expected()[name.format(clip)]) < 1e-5


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(
    ("front_end", "source"),
    [
        (SpeechFeaturesMFCC(framing="native", floor="native"), NATIVE_V04),
        (TensorFlowMFCC(framing="native"), "native_v09"),
    ],
)
def test_features_are_those_of_the_native_clients(front_end: FrontEnd, source: str, clip: str) -> None:
    features, native = features_of(front_end, clip), expected()
    whole = native[f"{source}/{clip}/mfcc_full_windows"]
    assert len(features) == len(whole) + 1
    assert largest_difference(features[:-1], whole.reshape(-1, 26)) < 2e-4
    # The client's buffer at the end: nine frames of context, of which the last is real here, and nine zeros.
    assert largest_difference(features[-1], native[f"{source}/{clip}/mfcc_last18"][8]) < 2e-4


@pytest.mark.parametrize(
    ("mfcc", "frames"), [("python_speech_features", [75, 50, 1, 1]), ("tensorflow", [74, 50, 1, 1])]
)
def test_a_clip_is_the_same_in_batches_and_in_pieces(
    mfcc: str, frames: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = DeepSpeechFeatureExtractor(mfcc=mfcc)
    batch = extractor([waveform(clip) for clip in CLIPS], 16000, padding=True, return_tensors="pt")
    features = batch["input_features"]
    assert batch["attention_mask"].sum(dim=1).tolist() == frames
    assert features.dtype == torch.float32
    for row, clip, length in zip(features, CLIPS, frames, strict=True):
        alone = extractor(waveform(clip), 16000)["input_features"]
        assert np.array_equal(row[None, :length].numpy(), alone)
        assert not row[length:].any()
    assert np.array_equal(features_of(extractor.front_end, CLIPS[0]), features[0, : frames[0]].numpy())
    monkeypatch.setattr(frontend_deepspeech, "FRAMES_PER_PIECE", 7)
    assert largest_difference(features_of(extractor.front_end, CLIPS[0]), features[0, : frames[0]].numpy()) < 1e-6


@pytest.mark.parametrize(
    ("samples", "frames"),  # of release 0.4 in training and in its native client, then of TensorFlow
    [
        (1, [1, 1, 0, 1]),
        (511, [1, 1, 0, 1]),
        (512, [1, 2, 1, 2]),
        (513, [2, 2, 1, 2]),
        (832, [2, 3, 2, 3]),
        (833, [3, 3, 2, 3]),
        (16000, [50, 50, 49, 50]),
    ],
)
def test_number_of_frames(samples: int, frames: list[int]) -> None:
    kinds = itertools.product((SpeechFeaturesMFCC, TensorFlowMFCC), ("training", "native"))
    assert [kind(framing=framing).num_frames(samples) for kind, framing in kinds] == frames


@pytest.mark.parametrize(("floor", "log"), [("training", -36.0437), ("native", -87.3365)])
def test_silence_lies_at_the_floor(floor: str, log: float) -> None:
    features, _ = SpeechFeaturesMFCC(floor=floor)([torch.zeros(4000)])
    assert torch.allclose(features[..., 0], torch.tensor(log), atol=1e-3)


def test_loudness_moves_only_the_energy_of_release_04() -> None:
    samples = torch.from_numpy(waveform("b_16192"))
    (loud, soft), _ = SpeechFeaturesMFCC()([samples, samples / 2])
    kept = loud[:, 0] > -30  # without the frames of digital silence
    assert torch.allclose((loud - soft)[kept, 0], torch.tensor(2 * np.log(2), dtype=torch.float32), atol=1e-4)
    # Not exactly the same: the floor is absolute, but only exact zeros meet it.
    assert torch.allclose(loud[kept, 1:], soft[kept, 1:], atol=1e-3)


def test_other_rates_have_other_filters() -> None:
    front_end = TensorFlowMFCC(sampling_rate=8000, win_length=256, hop_length=160)
    assert front_end.upper_frequency == 4000.0
    features, lengths = front_end([torch.randn(8000)])
    assert lengths == [49]
    assert features.isfinite().all()


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SpeechFeaturesMFCC, {"framing": "centered"}, "framing='centered'"),
        (SpeechFeaturesMFCC, {"floor": "deep"}, "floor='deep'"),
        (SpeechFeaturesMFCC, {"num_coefficients": 27}, "at most 26"),
        (SpeechFeaturesMFCC, {"hop_length": 513}, "samples are lost"),
        (SpeechFeaturesMFCC, {"win_length": 0}, "win_length=0"),
        (TensorFlowMFCC, {"upper_frequency": 9000.0}, "8000 Hz"),
        (TensorFlowMFCC, {"lower_frequency": 8000.0}, "must ascend"),
        (TensorFlowMFCC, {"num_mel_bins": 20}, "at most num_mel_bins=20"),
        (TensorFlowMFCC, {"num_mel_bins": True}, "num_mel_bins=True"),
        (DeepSpeechFeatureExtractor, {"mfcc": "kaldi"}, "mfcc='kaldi'"),
        (DeepSpeechFeatureExtractor, {"numcep": 13}, "'numcep'"),
        (DeepSpeechFeatureExtractor, {"padding_side": "left"}, "padding_side='left'"),
        (DeepSpeechFeatureExtractor, {"framing": "native", "floor": "none"}, "floor='none'"),
    ],
)
def test_impossible_settings_are_refused(kind: type, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_saved_settings_come_back(tmp_path: Path) -> None:
    extractor = DeepSpeechFeatureExtractor(mfcc="tensorflow", upper_frequency=4000.0, framing="native")
    extractor.save_pretrained(tmp_path)
    again = DeepSpeechFeatureExtractor.from_pretrained(tmp_path)
    assert again.front_end == extractor.front_end
    assert Hasher.hash(again) == Hasher.hash(extractor) != Hasher.hash(DeepSpeechFeatureExtractor())
    code = {path.stem for path in tmp_path.glob("*.py")}
    assert {"audio_decoding", "feature_extraction_deepspeech", "frontend_deepspeech", "waveform_extractor"} <= code
    assert not code & {"modeling_deepspeech", "speech_encoders", "feature_extraction_ser"}  # nor what others need
