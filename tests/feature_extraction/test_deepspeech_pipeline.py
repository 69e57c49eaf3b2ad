"""A converted model as its user has it: `pipeline()` on a folder, in a process that has nothing of the project."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from feature_extraction.configuration_deepspeech import DeepSpeechConfig
from feature_extraction.convert.deepspeech import convert_deepspeech
from feature_extraction.feature_extraction_deepspeech import DeepSpeechFeatureExtractor
from feature_extraction.modeling_deepspeech import DeepSpeechForCTC
from feature_extraction.pipeline_deepspeech import DeepSpeechPipeline
from feature_extraction.tokenizer_deepspeech import ENGLISH, build_tokenizer
from tests.feature_extraction.deepspeech_fixtures import CLIPS, FIXTURES, expected, waveform, write_container
from tests.subprocess_tools import offline_environment, run_python_json

SCRIPT = """
import json, pathlib, sys
import soundfile
from transformers import AutoFeatureExtractor, AutoModel, pipeline

answers = []
for folder, clips in CASES:
    clips = [pathlib.Path(path) for path in clips]
    transcriber = pipeline("automatic-speech-recognition", model=folder, trust_remote_code=True)
    single = [transcriber(path)["text"] for path in clips]
    assert [answer["text"] for answer in transcriber([str(path) for path in clips], batch_size=4)] == single
    assert [transcriber(path.read_bytes())["text"] for path in clips] == single
    array, rate = soundfile.read(clips[0])
    assert transcriber({"array": array, "sampling_rate": rate})["text"] == single[0]
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    layer_5 = model(**extractor(array, sampling_rate=rate, return_tensors="pt"), last_layer=5).last_hidden_state
    answers.append({"texts": single, "shape": layer_5.shape, "class": type(transcriber).__name__})
assert not any(name == "librosa" or name.startswith("tensorflow") for name in sys.modules)
print(json.dumps(answers))
"""


def greedy(probabilities: np.ndarray) -> str:
    """Decode greedily: merge repetitions, drop blanks."""
    best = probabilities.argmax(-1)
    kept = [label for label, before in zip(best, [-1, *best[:-1]], strict=True) if label != before and label != 28]
    return "".join(ENGLISH[label] for label in kept).strip()


def test_pipeline_gives_the_greedy_text_without_the_project(tmp_path: Path) -> None:
    cases, wanted = [], []
    for name in ("v04/output_graph.pbmm", "v09/output_graph.pb"):
        release = name.split("/")[0]
        source = write_container(tmp_path, name)
        folder = convert_deepspeech(source, tmp_path / f"model-{release}", alphabet=FIXTURES / "alphabet.txt")
        softmax = {clip: expected().get(f"{release}/{clip}/softmax") for clip in CLIPS}
        softmax = {clip: values for clip, values in softmax.items() if values is not None}
        cases.append((str(folder), [str(FIXTURES / f"{clip}.wav") for clip in softmax]))
        texts = [greedy(values) for values in softmax.values()]
        assert len(texts[0]) > 5
        wanted.append({"texts": texts, "shape": [1, len(softmax["a_24137"]), 64], "class": "DeepSpeechPipeline"})
    environment = offline_environment(tmp_path / "home")
    assert run_python_json(f"CASES = {cases!r}\n{SCRIPT}", env=environment, cwd=tmp_path) == wanted


@pytest.fixture(scope="module")
def transcriber() -> DeepSpeechPipeline:
    torch.manual_seed(0)
    model = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16))
    # Random weights hardly ever change their mind: this makes the answer depend on the frame.
    model.deepspeech.layer_6.weight.data *= 20
    return model.as_pipeline(DeepSpeechFeatureExtractor(), build_tokenizer(ENGLISH))


def test_timestamps_are_those_of_the_frames(transcriber: DeepSpeechPipeline) -> None:
    clip = {"array": waveform("a_24137"), "sampling_rate": 16000}
    answer = transcriber(clip, return_timestamps="word")
    assert [word["text"] for word in answer["chunks"]] == answer["text"].split() != []
    assert 0 <= answer["chunks"][0]["timestamp"][0] < answer["chunks"][-1]["timestamp"][1] <= 1.52
    assert transcriber(clip) == {"text": answer["text"]}
    # "h" for two frames, the blank, then "e", a space, the blank and "a"; each frame is 20 ms.
    frames = {"labels": torch.tensor([[8, 8, 28, 5, 0, 28, 1]])}
    expected = {
        "char": {"h": (0.0, 0.04), "e": (0.06, 0.08), " ": (0.08, 0.10), "a": (0.12, 0.14)},
        "word": {"he": (0.0, 0.08), "a": (0.12, 0.14)},
    }
    for kind, times in expected.items():
        answer = transcriber.postprocess(frames, return_timestamps=kind)
        assert answer["text"] == "he a"
        assert [chunk["text"] for chunk in answer["chunks"]] == list(times)
        assert [chunk["timestamp"] for chunk in answer["chunks"]] == [pytest.approx(time) for time in times.values()]


def test_lists_generators_columns_and_batches(transcriber: DeepSpeechPipeline) -> None:
    clips = [{"array": waveform(clip), "sampling_rate": 16000} for clip in CLIPS]
    single = [transcriber(clip) for clip in clips]
    assert list(transcriber(clip for clip in clips)) == list(transcriber(iter(clips))) == single
    rows = datasets.Dataset.from_list([{"audio": clip} for clip in clips])
    assert transcriber(rows["audio"]) == list(transcriber(rows.to_iterable_dataset()["audio"])) == single
    assert transcriber([]) == []
    assert transcriber(clips, batch_size=3) == single
    runs = []
    hook = transcriber.model.register_forward_hook(lambda *_: runs.append(1))
    transcriber(clips, batch_size=4)
    hook.remove()
    assert len(runs) == 1


def test_mistakes_are_refused(transcriber: DeepSpeechPipeline) -> None:
    for mistake in ({"chunk_length_s": 10}, {"return_timestamps": "line"}):
        with pytest.raises(ValueError, match=next(iter(mistake))):
            transcriber(waveform("a_24137"), **mistake)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.wav"):
        transcriber("nowhere.wav")
    with pytest.raises(ValueError, match="tokenizer"):
        DeepSpeechPipeline(model=transcriber.model, feature_extractor=transcriber.feature_extractor)
