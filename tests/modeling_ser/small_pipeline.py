"""A small classifier of mel features whose scores depend on the clip, and clips for it."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification
from tests.modeling_ser.small_models import small_config
from tests.synthetic import speech_like

LABELS = ("anger", "fear", "neutral")
CLIPS = {
    "angry": speech_like("angry", seconds=0.9),
    "fearful": speech_like("fearful", seconds=0.4, seed=1),
    "neutral": speech_like("neutral", seconds=0.6, seed=2),
    "short": speech_like("sad", seconds=0.03, seed=3),
    "surprised": speech_like("surprised", seconds=1.3, seed=4),
}


def small_classifier() -> tuple[SERForAudioClassification, SERFeatureExtractor]:
    """Make the pair; with 16 mel bins, 48 features a frame."""
    torch.manual_seed(0)
    id2label = dict(enumerate(LABELS))
    config = small_config(input_size=48, id2label=id2label, label2id={name: index for index, name in id2label.items()})
    model = SERForAudioClassification(config).eval()
    mean = torch.tensor([-30.0, 0.0, 0.0]).repeat_interleave(16)
    std = torch.tensor([15.0, 2.0, 1.0]).repeat_interleave(16)
    model.ser.set_normalization(mean, std)
    return model, SERFeatureExtractor(num_mel_bins=16)


def three_classifiers() -> tuple[list[SERForAudioClassification], SERFeatureExtractor]:
    """Make three classifiers of mel features and one extractor for them."""
    first, extractor = small_classifier()
    others = [SERForAudioClassification(first.config) for _ in range(2)]
    for factor, other in enumerate(others, 2):
        other.ser.set_normalization(first.ser.feature_mean * factor, first.ser.feature_std * factor)
    return [first, *others], extractor


def by_label(scores: list[dict[str, Any]]) -> dict[str, float]:
    """Check that the best comes first, and give each label's score."""
    assert [item["score"] for item in scores] == sorted((item["score"] for item in scores), reverse=True)
    return {item["label"]: item["score"] for item in scores}


def expected_scores(
    model: SERForAudioClassification, extractor: SERFeatureExtractor, waveform: np.ndarray
) -> dict[str, float]:
    """Score one waveform (samples,) at 16 kHz without the pipeline."""
    return dict(zip(LABELS, logits_of(model, extractor, waveform).softmax(-1).tolist(), strict=True))


def logits_of(model: SERForAudioClassification, extractor: SERFeatureExtractor, waveform: np.ndarray) -> torch.Tensor:
    """Score one waveform (samples,) at 16 kHz without the pipeline; returns (labels,)."""
    features = extractor(waveform, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        return model(**features).logits[0]


def write_clips(folder: Path) -> list[Path]:
    """Write the clips as wav of floats, which hold the very samples."""
    paths = [folder / f"{name}.wav" for name in CLIPS]
    for path, waveform in zip(paths, CLIPS.values(), strict=True):
        soundfile.write(path, waveform, 16000, subtype="FLOAT")
    return paths
