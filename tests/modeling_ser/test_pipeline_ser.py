"""The pipeline in this process: arguments, errors, and how often it computes features."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import soundfile
import torch
from transformers import ASTConfig, ASTForAudioClassification, BatchFeature
from transformers.pipelines.pt_utils import KeyDataset

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification, SERPipeline
from tests.modeling_ser.small_pipeline import (
    CLIPS,
    LABELS,
    by_label,
    expected_scores,
    logits_of,
    small_classifier,
    write_clips,
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def classifier() -> SERPipeline:
    model, extractor = small_classifier()
    return SERPipeline(model=model, feature_extractor=extractor, device="cpu")


def expected_of(classifier: SERPipeline, waveform: np.ndarray, tolerance: float = 1e-6) -> Any:
    scores = expected_scores(classifier.model, classifier.feature_extractor, waveform)
    return pytest.approx(scores, abs=tolerance)


def test_scores_are_the_models_best_first(classifier: SERPipeline, clips: list[Path]) -> None:
    answers = [classifier(path) for path in clips]
    for answer, waveform in zip(answers, CLIPS.values(), strict=True):
        assert by_label(answer) == expected_of(classifier, waveform)
        assert all(type(item["score"]) is float for item in answer)
    assert np.std([by_label(answer)["anger"] for answer in answers]) > 0.01  # the clips are told apart


def test_tuples_and_nothing(classifier: SERPipeline, clips: list[Path]) -> None:
    assert classifier(tuple(clips[:2])) == classifier(clips[:2])
    assert classifier([]) == []
    assert classifier(()) == []
    assert list(classifier(path for path in [])) == []


@pytest.mark.parametrize("kind", ["iterator", "map", "generator", "streamed column", "KeyDataset"])
def test_streams_are_read_as_they_are_asked_for(classifier: SERPipeline, clips: list[Path], kind: str) -> None:
    read: list[Path] = []

    def reading(path: Path) -> Path:
        read.append(path)
        return path

    rows = datasets.Dataset.from_dict({"audio": [str(path) for path in clips]})
    rows = rows.cast_column("audio", datasets.Audio(decode=False))
    streams = {
        "iterator": iter(clips),
        "map": map(reading, clips),
        "generator": (reading(path) for path in clips),
        "streamed column": rows.to_iterable_dataset()["audio"],
        "KeyDataset": KeyDataset(rows, "audio"),
    }
    answers = classifier(streams[kind], batch_size=2)
    assert not isinstance(answers, list)
    assert len(read) <= 1  # transformers looks at the first, to see what kind of stream it is
    assert list(answers) == classifier(clips, batch_size=2)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_features_are_computed_once_per_batch(
    classifier: SERPipeline, clips: list[Path], monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    expected = [expected_of(classifier, waveform, 1e-5) for waveform in CLIPS.values()]
    batches: list[list[int]] = []
    extract = classifier.feature_extractor.extract

    def counting(waveforms: Sequence[torch.Tensor], device: torch.device | None = None) -> BatchFeature:
        assert device == classifier.device
        batches.append([len(waveform) for waveform in waveforms])
        return extract(waveforms, device)

    monkeypatch.setattr(classifier.feature_extractor, "extract", counting)
    answers = classifier(clips, batch_size=batch_size)
    lengths = [len(waveform) for waveform in CLIPS.values()]
    # Each clip reaches the extractor at its own length, so the deltas never see padding.
    assert batches == [lengths[start : start + batch_size] for start in range(0, 5, batch_size)]
    assert [by_label(answer) for answer in answers] == expected


def test_preprocessing_only_decodes(
    classifier: SERPipeline, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("preprocess computed features")

    monkeypatch.setattr(SERFeatureExtractor, "extract", refuse)
    monkeypatch.setattr(SERFeatureExtractor, "__call__", refuse)
    decoded = classifier.preprocess(clips[0])
    assert decoded.keys() == {"input_values", "attention_mask"}
    np.testing.assert_array_equal(decoded["input_values"], CLIPS["angry"][None])
    assert torch.equal(decoded["attention_mask"], torch.ones(1, len(CLIPS["angry"]), dtype=torch.int64))


def test_one_channel_and_the_longest_sound(classifier: SERPipeline) -> None:
    stereo = {"array": np.stack([CLIPS["angry"], np.roll(CLIPS["angry"], 5000)]), "sampling_rate": 16000}
    second = classifier({"array": stereo["array"][1], "sampling_rate": 16000})
    assert classifier(stereo, channel=1) == second != classifier(stereo)
    assert classifier([stereo, stereo], channel=1) == [second, second]
    with pytest.raises(ValueError, match="array: channel=2 was asked for, and there are channels 0 to 1"):
        classifier(stereo, channel=2)
    wave = io.BytesIO()
    soundfile.write(wave, CLIPS["angry"], 16000, format="WAV")
    with pytest.raises(ValueError, match=r"bytes: holds more than 0\.1 s of sound"):
        classifier(wave.getvalue(), max_seconds=0.1)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_bad_source_among_good_ones_is_named(
    classifier: SERPipeline, clips: list[Path], tmp_path: Path, batch_size: int
) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.wav: no such file"):
        classifier([clips[0], tmp_path / "nowhere.wav", clips[1]], batch_size=batch_size)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        *(({"top_k": value}, "top_k must be a whole number") for value in (0, -1, 1.5, True, "2", [1])),
        *(({"function_to_apply": name}, f"softmax, sigmoid, none, not {name!r}") for name in ("relu", "", "Softmax")),
        ({"topk": 1, "sampling_rate": 8000}, "'sampling_rate', 'topk'"),
    ],
    ids=str,
)
def test_impossible_and_unknown_arguments_are_refused(
    classifier: SERPipeline, clips: list[Path], arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        classifier(clips[0], **arguments)
    with pytest.raises(ValueError, match=named):
        SERPipeline(model=classifier.model, feature_extractor=classifier.feature_extractor, **arguments)


def test_top_k_of_the_call_outranks_that_of_construction(classifier: SERPipeline, clips: list[Path]) -> None:
    whole = classifier(clips[0])
    assert classifier(clips[0], top_k=2) == whole[:2]
    assert classifier(clips[0], top_k=99) == whole
    single = SERPipeline(model=classifier.model, feature_extractor=classifier.feature_extractor, top_k=1)
    assert single(clips[0]) == whole[:1]
    of_batch = single(clips, top_k=2, batch_size=3)[0]
    assert [entry["label"] for entry in of_batch] == [entry["label"] for entry in whole[:2]]
    assert [entry["score"] for entry in of_batch] == pytest.approx([entry["score"] for entry in whole[:2]], abs=1e-5)
    assert single(clips[0], top_k=None) == whole
    assert single(clips[0]) == whole[:1]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("problem", [None, "single_label_classification", "multi_label_classification", "regression"])
def test_functions(classifier: SERPipeline, clips: list[Path], problem: str | None, temperature: float) -> None:
    logits = logits_of(classifier.model, classifier.feature_extractor, CLIPS["angry"])
    classifier.model.config.temperature = temperature
    assert torch.equal(logits, logits_of(classifier.model, classifier.feature_extractor, CLIPS["angry"]))
    tempered = logits / temperature
    functions = {"softmax": tempered.softmax(-1), "sigmoid": tempered.sigmoid(), "none": logits}
    for name, scores in functions.items():
        answer = by_label(classifier(clips[0], function_to_apply=name))
        assert answer == pytest.approx(dict(zip(LABELS, scores.tolist(), strict=True)), abs=1e-6)
    classifier.model.config.problem_type = problem
    default = {"regression": "none", "multi_label_classification": "sigmoid"}.get(problem, "softmax")
    assert classifier(clips[0]) == classifier(clips[0], function_to_apply=default)


def test_models_of_another_kind_and_no_extractor_are_refused(classifier: SERPipeline) -> None:
    config = ASTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, max_length=32)
    with pytest.raises(ValueError, match="'audio-spectrogram-transformer'"):
        SERPipeline(model=ASTForAudioClassification(config), feature_extractor=classifier.feature_extractor)
    with pytest.raises(ValueError, match="feature extractor"):
        SERPipeline(model=classifier.model)


def test_a_model_in_training_is_put_to_evaluation(classifier: SERPipeline, clips: list[Path]) -> None:
    expected = classifier(clips[0])
    classifier.model.train()
    again = classifier.model.as_pipeline(classifier.feature_extractor, top_k=2)
    assert isinstance(again, SERPipeline)
    assert again(clips[0]) == expected[:2]


def test_a_half_precision_model_scores_nearly_the_same(classifier: SERPipeline, clips: list[Path]) -> None:
    expected = by_label(classifier(clips[0]))
    model: SERForAudioClassification = classifier.model.half()
    half = SERPipeline(model=model, feature_extractor=classifier.feature_extractor)
    assert by_label(half(clips[0])) == pytest.approx(expected, abs=0.02)


def test_paths_in_an_array_or_a_series_are_several_clips(classifier: SERPipeline, clips: list[Path]) -> None:
    expected = classifier(clips)
    names = [str(path) for path in clips]
    for paths in (np.array(names), np.array(clips, dtype=object), pandas.Series(names), pandas.Series(clips)):
        assert classifier(paths) == expected
    with pytest.raises(ValueError, match=r"is no waveform; if it holds paths, give list\(…\) of it"):
        classifier([np.array(names)])


def test_a_model_that_returns_tuples_is_read_too(classifier: SERPipeline, clips: list[Path]) -> None:
    expected = classifier(clips[0])
    classifier.model.config.return_dict = False
    assert classifier(clips[0]) == expected


def test_samples_beyond_full_scale_are_told_or_refused(classifier: SERPipeline) -> None:
    with pytest.warns(UserWarning, match="divide them by their full scale"):
        classifier({"array": CLIPS["angry"] * 32768, "sampling_rate": 16000})
    with pytest.raises(ValueError, match=r"array: samples reach .*e\+1\d"):
        classifier({"array": CLIPS["angry"] * np.float32(1e19), "sampling_rate": 16000})
