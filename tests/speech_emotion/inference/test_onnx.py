"""Models as ONNX graphs: the same scores as torch's, alone, in batches and over long recordings."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch

from feature_extraction import SERFeatureExtractor
from modeling_ser import SEREnsembleForAudioClassification, SERPipeline, SERPreTrainedModel
from speech_emotion.cli.main import main as ser
from speech_emotion.inference import onnx_export
from speech_emotion.inference.graph_front import Features, SpeechPart
from speech_emotion.inference.onnx_export import export_onnx
from speech_emotion.inference.onnx_model import onnx_pipeline
from tests.feature_extraction.small_encoders import KINDS, saved_encoder, small_model
from tests.modeling_ser.small_models import enlivened, small_config
from tests.modeling_ser.small_models import small_model as small_classifier
from tests.modeling_ser.test_encoder_network import BINS, model_with

RATE = 16000
WINDOW = 12800  # that the small Whisper reads at once


def clip(samples: int, seed: int, before: int = 0, after: int = 0) -> np.ndarray:
    """Make noise that swells and fades, between pauses in which a room is heard."""
    random = np.random.default_rng(seed)
    sound = 0.2 * random.standard_normal(samples) * np.sin(np.linspace(0.1, 9, samples)) ** 2
    return (np.pad(sound, (before, after)) + 1e-4 * random.standard_normal(samples + before + after)).astype(
        np.float32
    )


SILENCE = np.zeros(700, np.float32)
CLIPS = [clip(4800, 0, 2000, 3000), clip(6300, 1), clip(399, 2), clip(1, 3), SILENCE, clip(7000, 4, 0, 5000)]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: str(saved_encoder(kind, tmp_path_factory.mktemp(kind))) for kind in KINDS}


def batch_of(clips: Sequence[np.ndarray], padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(one) for one in clips])
    waveforms = torch.zeros(len(clips), int(lengths.max()) + padding)
    for row, one in zip(waveforms, clips, strict=True):
        row[: len(one)] = torch.from_numpy(one)
    return waveforms, lengths


def check_features(extractor: SERFeatureExtractor) -> None:
    expected = extractor.extract(CLIPS)
    features = Features(extractor)
    waveforms, lengths = batch_of(CLIPS, padding=500)
    if extractor.front == "speech":
        waveforms, lengths = SpeechPart()(waveforms, lengths)
    with torch.no_grad():
        found, mask = features(waveforms, lengths)
    frames = expected["input_features"].shape[1]
    assert torch.equal(mask[:, :frames], expected["attention_mask"]) and not found[:, frames:].any()
    rounding = 2**-10 if extractor.feature_dtype == "float16" else 1e-5
    torch.testing.assert_close(found[:, :frames], expected["input_features"], rtol=rounding, atol=5e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"feature_dtype": "float16"},
        {"front": "speech", "clip_normalization": "level", "dynamic_range": 60.0},
        {"clip_normalization": "band", "n_fft": 1024, "win_length": 800, "hop_length": 320, "num_mel_bins": 40},
        {"streams": ["e"], "encoders": {"e": {"input": "log-mel", "size": 80, "window": 480_000}}},
        {"streams": ["e"], "encoders": {"e": {"input": "waveform", "size": 1, "normalize": True, "shortest": 400}}},
    ],
)
def test_features_of_a_padded_batch_are_the_extractors(settings: dict[str, Any]) -> None:
    check_features(SERFeatureExtractor(**settings))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_so_are_those_of_encoders(encoders: dict[str, str], kind: str) -> None:
    contexts = [{}, {"context": "clip", "layer": [2, 1]}] if kind == "whisper" else [{}]
    for more in contexts:
        entry = {"name_or_path": encoders[kind], **more}
        check_features(SERFeatureExtractor(("mel", "e"), encoders={"e": entry}, front="speech"))


@pytest.mark.parametrize(
    "settings", [("tensorflow", "training"), ("tensorflow", "native"), ("python_speech_features", "native")]
)
def test_so_are_those_of_deepspeechs_other_front_ends(tmp_path: Path, settings: tuple[str, str]) -> None:
    network, extractor = small_model("deepspeech")
    network.save_pretrained(tmp_path)
    type(extractor)(mfcc=settings[0], framing=settings[1]).save_pretrained(tmp_path)
    check_features(SERFeatureExtractor(("e",), encoders={"e": {"name_or_path": str(tmp_path)}}))


def frozen(encoders: dict[str, str]) -> tuple[SERPreTrainedModel, SERFeatureExtractor]:
    """Make a model of every kind of frozen encoder at once."""
    entries = {
        kind: {"name_or_path": encoders[kind], **({"context": "clip"} if kind == "whisper" else {})}
        for kind in ("deepspeech", "wav2vec2", "wavlm", "whisper")
    }
    extractor = SERFeatureExtractor(["mel", *entries], num_mel_bins=8, encoders=entries, front="speech")
    model = small_classifier(input_size=extractor.feature_size, statistics_head=True)
    model.config.temperature = 1.7
    return model, extractor


def trained(encoders: dict[str, str]) -> tuple[SERPreTrainedModel, SERFeatureExtractor]:
    """Make an ensemble of models that have a Whisper of their own."""
    members = [enlivened(model_with("whisper"), seed) for seed in (0, 1)]
    entry = {"input": "log-mel", "size": BINS, "window": WINDOW}
    return SEREnsembleForAudioClassification.from_members(members), SERFeatureExtractor(["e"], encoders={"e": entry})


MAKERS = {"frozen": frozen, "trained": trained}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in MAKERS])
def both(
    request: pytest.FixtureRequest, encoders: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[SERPipeline, Path, Path]:
    """Give a pipeline in torch, the folder that it is saved in, and its graph."""
    network, extractor = MAKERS[request.param](encoders)
    folder = tmp_path_factory.mktemp(request.param)
    network.save_pretrained(folder)
    extractor.save_pretrained(folder)
    assert ser(["export", "onnx", str(folder), "--output", str(folder)]) == 0
    return network.as_pipeline(extractor, device="cpu"), folder, folder / "model.onnx"


def by_label(scores: list[dict[str, Any]]) -> list[float]:
    return [one["score"] for one in sorted(scores, key=lambda one: one["label"])]


def sounds(clips: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    return [{"array": one, "sampling_rate": RATE} for one in clips]


def test_a_graph_scores_as_torch_does(both: tuple[SERPipeline, Path, Path]) -> None:
    classifier, _, file = both
    expected = np.array([by_label(classifier(one)) for one in sounds(CLIPS)])
    assert np.ptp(expected, axis=0).max() > 0.01
    graph = onnx_pipeline(file)
    for batch_size in (1, 4):
        found = [by_label(scores) for scores in graph(sounds(CLIPS), batch_size=batch_size)]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # By onnxruntime alone: what stands after a clip's end is nothing to it, and its scores are the pipeline's.
    waveforms, lengths = batch_of(CLIPS)
    waveforms[torch.arange(waveforms.shape[1]) >= lengths[:, None]] = torch.nan
    session = onnxruntime.InferenceSession(file)
    described = session.get_modelmeta().custom_metadata_map
    assert int(described["longest"]) == WINDOW and int(described["sampling_rate"]) == RATE
    scores, _ = session.run(None, {"input_values": waveforms.numpy(), "lengths": lengths.numpy()})
    order = np.argsort(json.loads(described["labels"]))
    np.testing.assert_allclose(scores[:, order], expected, atol=1e-5)


def test_longer_recordings_are_scored_in_windows(both: tuple[SERPipeline, Path, Path]) -> None:
    classifier, _, file = both
    long = clip(3 * WINDOW + 77, 5)
    (sound,) = sounds([long])
    expected = classifier(sound, chunk_length_s=WINDOW / RATE)["scores"]
    found = onnx_pipeline(file)(sounds([long, CLIPS[0]]), batch_size=2)
    assert by_label(found[0]) == pytest.approx(by_label(expected), abs=1e-5)
    assert by_label(found[1]) == pytest.approx(by_label(classifier(*sounds(CLIPS[:1]))), abs=1e-5)


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
@pytest.mark.parametrize("steepness", [10.0, 1e5])  # the latter's scores are 0 or 1
def test_so_are_those_of_every_problem(tmp_path: Path, problem: str, steepness: float) -> None:
    """A graph whose logits are a clip's sum, its negative, and 0."""
    config = small_config(temperature=1.5)
    config.problem_type = problem
    helper, kinds = onnx.helper, onnx.TensorProto
    factors = np.array([[steepness / WINDOW, -steepness / WINDOW, 0.0]], np.float32)
    nodes = [
        helper.make_node("ReduceSum", ["input_values", "axis"], ["sum"], keepdims=1),
        helper.make_node("MatMul", ["sum", "factors"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input_values", kinds.FLOAT, ["batch", "samples"]),
        helper.make_tensor_value_info("lengths", kinds.INT64, ["batch"]),
    ]
    output = helper.make_tensor_value_info("logits", kinds.FLOAT, ["batch", 3])
    constants = [onnx.numpy_helper.from_array(factors, "factors"), helper.make_tensor("axis", kinds.INT64, [1], [1])]
    model = helper.make_model(
        helper.make_graph(nodes, "sum", inputs, [output], constants),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20)],
    )
    described = {"config": json.dumps(config.to_dict()), "longest": str(WINDOW), "sampling_rate": str(RATE)}
    helper.set_model_props(model, described)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    graph = onnx_pipeline(tmp_path)
    (sound,) = sounds([np.linspace(-0.1, 0.3, 3 * WINDOW + 77, dtype=np.float32)])
    expected = graph(sound, chunk_length_s=WINDOW / RATE)
    assert len(expected["chunks"]) > 3
    assert by_label(graph(sound)) == pytest.approx(by_label(expected["scores"]), rel=1e-4, abs=1e-6)


def test_ser_predict_runs_a_graph(
    both: tuple[SERPipeline, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder, file = both
    for number, one in enumerate(CLIPS[:3]):
        soundfile.write(tmp_path / f"{number}.wav", one, RATE, subtype="FLOAT")
    words = ["predict", str(tmp_path), "--format", "jsonl"]
    told = []
    for more in (["--model", str(folder)], ["--model", str(folder), "--runtime", "onnx"], ["--model", str(file)]):
        assert ser([*words, *more]) == 0
        told.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert len(told[0]) == 3 and told[1] == told[2]
    for by_torch, by_graph in zip(told[0], told[1], strict=True):
        assert by_graph["file"] == by_torch["file"]
        assert by_graph["scores"] == pytest.approx(by_torch["scores"], abs=1.2e-5)
    assert ser([*words, "--model", str(file), "--adapt", "all"]) == 1
    assert "--adapt is of torch" in capsys.readouterr().err
    with pytest.raises(ValueError, match="cannot be adapted"):
        onnx_pipeline(file).adapt(sounds(CLIPS))


def test_weights_take_less_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "LARGE", 300)
    network, extractor = small_classifier(input_size=24), SERFeatureExtractor(num_mel_bins=8)
    half = next(weight for name, weight in network.named_parameters() if weight.numel() >= 300)
    half.data = half.half().float()  # as of an encoder that comes in half precision
    for part in (network, extractor):
        part.save_pretrained(tmp_path)
    graph = onnx_export.graph_of(network.eval(), extractor, Features(extractor))
    monkeypatch.setattr(onnx_export, "graph_of", lambda *_: graph)
    files = {words: tmp_path / f"{len(words)}.onnx" for words in ((), ("--int8",))}
    for words, file in files.items():
        assert ser(["export", "onnx", str(tmp_path), *words, "--output", str(file)]) == 0
    kinds = [{weight.data_type for weight in onnx.load(file).graph.initializer} for file in files.values()]
    assert onnx.TensorProto.FLOAT16 in kinds[0]
    assert [onnx.TensorProto.INT8 in found for found in kinds] == [False, True]
    exact, rounded = map(onnx_pipeline, files.values())
    by_torch = [by_label(one) for one in network.as_pipeline(extractor, device="cpu")(sounds(CLIPS))]
    expected, found = ([by_label(one) for one in graph(sounds(CLIPS), batch_size=4)] for graph in (exact, rounded))
    np.testing.assert_allclose(expected, by_torch, atol=1e-5)
    assert 1e-6 < np.abs(np.subtract(found, expected)).max() < 0.02
    alone = [by_label(rounded(one)) for one in sounds(CLIPS)]
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_an_lstm_takes_less_room(monkeypatch: pytest.MonkeyPatch) -> None:
    helper, kinds, random = onnx.helper, onnx.TensorProto, np.random.default_rng(0)
    monkeypatch.setattr(onnx_export, "LARGE", 40)
    shapes = {"given": (1, 32, 5), "recurrent": (1, 32, 8), "biases": (1, 64)}
    weights = [
        onnx.numpy_helper.from_array(random.normal(size=shapes[name]).astype(np.float32), name) for name in shapes
    ]
    node = helper.make_node("LSTM", ["x", *shapes], ["y"], hidden_size=8)
    x, y = (helper.make_tensor_value_info(name, kinds.FLOAT, None) for name in "xy")
    graph = helper.make_model(
        helper.make_graph([node], "lstm", [x], [y], weights),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20)],
    )
    made = onnx_export.smaller(graph, int8=True)
    stored = {weight.name for weight in made.graph.initializer if weight.data_type == kinds.INT8}
    assert stored == {"given/stored", "recurrent/stored"}
    frames = {"x": random.normal(size=(20, 1, 5)).astype(np.float32)}
    expected, found = (
        onnxruntime.InferenceSession(one.SerializeToString()).run(None, frames)[0] for one in (graph, made)
    )
    assert 0 < np.abs(found - expected).max() < 0.05


def test_what_is_no_graph_of_ours_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    helper, one = onnx.helper, onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    stranger = helper.make_model(helper.make_graph([], "g", [one], [one]), ir_version=10)
    for name, content, message in (
        ("stranger.onnx", stranger.SerializeToString(), "is not of `ser export onnx`"),
        ("page.onnx", b"<html>", "is no ONNX graph"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            onnx_pipeline(tmp_path / name)
    soundfile.write(tmp_path / "clip.wav", CLIPS[0], RATE)
    assert ser(["predict", str(tmp_path), "--runtime", "onnx", "--model", str(tmp_path)]) == 1
    assert "neither a graph nor a folder" in capsys.readouterr().err
    assert ser(["predict", str(tmp_path), "--model", str(tmp_path / "page.onnx"), "--device", "cuda:0"]) == 1
    assert "--device cuda:0 is of torch" in capsys.readouterr().err
    assert ser(["export", "onnx", str(tmp_path), "--output", str(tmp_path / "model.bin")]) == 1
    assert "ends in .onnx" in capsys.readouterr().err


@pytest.mark.parametrize(("dtype", "kept", "refused"), [("float32", 9e-6, 1.1e-5), ("float16", 9e-5, 1.1e-4)])
def test_another_models_graph_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, kept: float, refused: float
) -> None:

    graph = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    monkeypatch.setattr(onnx_export, "graph_of", lambda *_: graph)
    network, extractor = small_classifier(input_size=24), SERFeatureExtractor(num_mel_bins=8, feature_dtype=dtype)
    file = tmp_path / "model.onnx"
    for difference in (refused, float("nan")):
        monkeypatch.setattr(onnx_export, "largest_difference", lambda *_, found=difference: found)
        with pytest.raises(RuntimeError, match="it was not kept"):
            export_onnx(network, extractor, file)
        assert not list(tmp_path.iterdir())
    monkeypatch.setattr(onnx_export, "largest_difference", lambda *_: kept)
    assert export_onnx(network, extractor, file) == kept and list(tmp_path.iterdir()) == [file]
    link = tmp_path / "newest.onnx"
    link.symlink_to(file.name)
    file.write_bytes(b"old")
    export_onnx(network, extractor, link, int8=True)
    assert link.is_symlink() and onnx.load(file).graph.name == "g"
