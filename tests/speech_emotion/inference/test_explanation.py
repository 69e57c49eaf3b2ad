"""Why a clip gets its label: heads, what muting does, words, parts of recordings, and the command."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import pipeline

from feature_extraction import DeepSpeechConfig, DeepSpeechFeatureExtractor, DeepSpeechForCTC, SERFeatureExtractor
from feature_extraction.convert.whisper import convert_whisper
from modeling_ser import SERConfig, SEREnsembleForAudioClassification, SERForAudioClassification, SERPipeline
from speech_emotion.cli.main import main as ser
from speech_emotion.inference import explain, spoken_words
from speech_emotion.inference.explanation import Explanation, head_places
from tests.feature_extraction.convert.ctranslate2_fixtures import pack, tiny_whisper, variables_of, write_model
from tests.modeling_ser.small_pipeline import LABELS, by_label, small_classifier, three_classifiers
from tests.synthetic import speech_like

RATE = 16000
SPEECH = speech_like(seconds=0.5)
# Speech between digital silences.
CLIP = np.concatenate([np.zeros(4000), SPEECH, np.zeros(8000)]).astype(np.float32)


def undecided() -> tuple[SERForAudioClassification, SERFeatureExtractor]:
    """Make a classifier whose scores can fall, and its extractor."""
    model, extractor = small_classifier()
    model.config.temperature = 4.0
    return model, extractor


@pytest.fixture(scope="module")
def classifier() -> SERPipeline:
    model, extractor = undecided()
    return model.as_pipeline(extractor, device="cpu")


def sound(clip: np.ndarray) -> dict[str, Any]:
    return {"array": clip, "sampling_rate": RATE}


def scores_of(classifier: SERPipeline, clip: np.ndarray) -> dict[str, float]:
    return by_label(classifier(sound(clip)))


@pytest.mark.parametrize("front", ["none", "speech"])
def test_a_fall_is_the_score_less_that_of_the_clip_without(front: str) -> None:
    model, _ = undecided()
    classifier = model.as_pipeline(SERFeatureExtractor(num_mel_bins=16, front=front), device="cpu")
    found, scores = explain(classifier, sound(CLIP), stretch_s=0.25, batch_size=3), scores_of(classifier, CLIP)
    assert found.scores == pytest.approx(scores, abs=1e-6)
    assert found.label == next(iter(found.scores)) == next(iter(scores))
    assert (found.start, found.end) == (0, 1.25)
    spans = [(one.start, one.end) for one in found.stretches]
    np.testing.assert_allclose(spans, [(start, start + 0.25) for start in np.arange(0, 1.01, 0.125)])
    quiet = 10**-1.5
    ramp = np.linspace(1, quiet, 80)
    for start, one in zip(range(0, 16001, 2000), found.stretches, strict=True):
        without = CLIP.copy()
        without[start : start + 4000] *= np.concatenate([ramp, np.full(4000 - 160, quiet), ramp[::-1]])
        assert one.scores == pytest.approx(scores_of(classifier, without), abs=1e-5)
        assert one.fall == pytest.approx(scores[found.label] - one.scores[found.label], abs=1e-5)
        assert one.fall == pytest.approx(0, abs=1e-6) or (without != CLIP).any()  # silence cannot be muted
    assert max(abs(one.fall) for one in found.stretches) > 0.01


@pytest.mark.parametrize(
    ("seconds", "stretch", "number"), [(0.4, 0.1, 7), (4.0, 0.2, 39), (20.0, 0.4, 99), (0.11, 0.0275, 7)]
)
def test_stretches_cover_a_clip_of_any_length(
    classifier: SERPipeline, seconds: float, stretch: float, number: int
) -> None:
    found = explain(classifier, sound(np.resize(SPEECH, round(seconds * RATE))))
    spans = np.array([(one.start, one.end) for one in found.stretches])
    assert len(spans) == number and spans[0, 0] == 0 and spans[-1, 1] == found.end
    np.testing.assert_allclose(spans[:, 1] - spans[:, 0], stretch)
    np.testing.assert_allclose(np.diff(spans[:-1, 0]), stretch / 2)


def test_a_part_is_explained_as_if_it_were_cut_out(classifier: SERPipeline, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.resize(SPEECH, 45 * RATE), RATE, subtype="FLOAT")
    part = explain(classifier, tmp_path / "a.wav", start=40.03, end=40.7, label="fear")
    alone = explain(classifier, sound(np.resize(SPEECH, 45 * RATE)[640480:651200]), label="fear")
    assert part.label == "fear" and part.scores == pytest.approx(alone.scores, abs=1e-6)
    assert (part.start, part.end) == pytest.approx((40.03, 40.7))
    np.testing.assert_allclose(part.times, 40.03 + alone.times)
    for here, there in zip(part.stretches, alone.stretches, strict=True):
        assert (here.start - 40.03, here.fall) == pytest.approx((there.start, there.fall), abs=1e-6)
    # What is before the end of the recording can be all there is.
    assert explain(classifier, tmp_path / "a.wav", start=44.5, end=60).end == 45


@pytest.mark.parametrize(
    ("clip", "options", "told"),
    [
        (np.resize(SPEECH, 31 * RATE), {}, "more than 30 s"),
        (SPEECH, {"start": 0.45}, "0.05 s"),
        (SPEECH, {"start": 7, "end": 9}, "start=7"),
        (SPEECH, {"start": 2, "end": 1}, "end=1"),
        (SPEECH, {"start": -1}, "start=-1"),
        (SPEECH, {"label": "joy"}, "no label 'joy'; it has anger, fear, neutral"),
        (SPEECH, {"stretch_s": 0.5}, "stretch_s=0.5"),
        (SPEECH, {"stretch_s": float("nan")}, "stretch_s=nan"),
    ],
)
def test_what_cannot_be_explained_is_told(
    classifier: SERPipeline, clip: np.ndarray, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        explain(classifier, sound(clip), **options)


def test_words_are_cut_to_the_speech_and_muted(classifier: SERPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def recognize(heard: dict[str, Any], **settings: Any) -> dict[str, Any]:
        assert settings["generate_kwargs"]["language"] == "de" and len(heard["raw"]) == len(CLIP)
        times = [(0.0, 0.45), (0.45, 0.6), (0.6, None), (1.1, 1.2)]
        texts = [f" w{k}" for k in range(len(times))] if not said else said.pop()
        chunks = [{"text": text, "timestamp": time} for text, time in zip(texts, times, strict=True)]
        return {"text": "".join(texts), "chunks": chunks}

    recognize.model = type("Model", (), {"generation_config": type("Config", (), {"lang_to_id": {"<|de|>": 1}})})
    monkeypatch.setattr(spoken_words, "_recognizer", lambda: recognize)
    doubts, said = [0.1, 0.9, 0.1], []
    monkeypatch.setattr(spoken_words, "_first_judgment", lambda recognizer, clip: (doubts.pop(0), "de"))
    found = explain(classifier, sound(CLIP), words=True, language="de")
    assert [word.text for word in found.words] == ["w0", "w1", "w2"]  # the last has no speech in it
    times = [(word.start, word.end) for word in found.words]
    np.testing.assert_allclose(times, [(0.25, 0.45), (0.45, 0.6), (0.6, 0.75)], atol=0.02)
    without = CLIP.copy()
    without[7280:9520] *= 10**-1.5  # less the fades at both ends
    assert found.words[1].scores == pytest.approx(scores_of(classifier, without), abs=0.02)
    assert explain(classifier, sound(CLIP), words=True).words == []  # what Whisper itself takes for no speech
    said.append([50 * " never"] * 4)
    assert explain(classifier, sound(CLIP), words=True).words == []
    with pytest.raises(ValueError, match="no language 'deutsch'; it knows de"):
        explain(classifier, sound(CLIP), words=True, language="deutsch")


def test_the_recognizer_is_a_whisper_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_model(tmp_path / "source", pack(variables_of(tiny_whisper())), config={"alignment_heads": [[0, 1]]})
    folder = convert_whisper(source, tmp_path / "model")
    monkeypatch.setattr(spoken_words, "pretrained_path", lambda name: folder)
    monkeypatch.setattr(spoken_words, "MOST_COMPRESSED", np.inf)  # it does repeat itself
    spoken_words._recognizer.cache_clear()
    settings = spoken_words._recognizer().model.generation_config
    settings.is_multilingual, settings.max_length = True, 24
    settings.suppress_tokens = [256, *range(128, 256), *range(257, 300)]  # it says letters, and no end
    settings.lang_to_id = {"<|en|>": 258, "<|de|>": 259}
    settings.task_to_id = {"translate": 260, "transcribe": 261}
    try:
        doubt, language = spoken_words._first_judgment(spoken_words._recognizer(), CLIP)
        assert 0 < doubt < 0.1 and language in ("en", "de")
        for rate, sound_of_it in ((RATE, CLIP), (8000, CLIP[::2])):
            found = spoken_words.spoken_words(sound_of_it, rate, "de")
            assert all(0.2 < word.start < word.end < 0.8 and word.text for word in found)
    finally:
        spoken_words._recognizer.cache_clear()
    assert found


def assert_fits(found: Explanation, names: list[str], classifier: SERPipeline, clip: np.ndarray) -> None:
    assert found.head_names == names and found.attention.shape == (len(names), *(2 * (len(found.times),)))
    np.testing.assert_allclose(found.attention.sum(axis=-1), 1, atol=1e-6)
    assert found.scores == pytest.approx(scores_of(classifier, clip), abs=1e-6)
    assert found.log_mel.shape == (1 + len(clip) // 400, 128)


def test_frames_of_a_model_2_stand_where_the_encoder_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16)).save_pretrained(tmp_path)
    DeepSpeechFeatureExtractor().save_pretrained(tmp_path)
    extractor = SERFeatureExtractor(streams=("deepspeech",), encoders={"deepspeech": {"name_or_path": str(tmp_path)}})
    model = SERForAudioClassification(SERConfig(input_size=16, hidden_size=8, num_labels=3))
    classifier = model.as_pipeline(extractor, device="cpu")
    found = explain(classifier, sound(SPEECH))
    assert_fits(found, ["1", "2", "3", "4"], classifier, SPEECH)
    np.testing.assert_allclose(found.times, (320 * np.arange(25) + 256) / RATE)


def test_heads_of_several_streams_are_named_after_them() -> None:
    config = SERConfig(num_attention_heads=2, hidden_size=8, input_size=6, fusion="late", stream_sizes=[4, 2])
    names = list(head_places(SERForAudioClassification(config), ["mel", "deepspeech"]))
    assert names == ["mel 1", "mel 2", "deepspeech 1", "deepspeech 2"]


def test_heads_of_an_ensemble_are_those_of_its_members(tmp_path: Path) -> None:
    members, extractor = three_classifiers()
    ensemble = SEREnsembleForAudioClassification.from_members(members)
    ensemble.config.temperature = 3.0
    classifier = ensemble.as_pipeline(extractor, device="cpu")
    found = explain(classifier, sound(SPEECH))
    assert found.scores == pytest.approx(scores_of(classifier, SPEECH), abs=1e-6)
    assert found.head_names == [f"member {member} head {head}" for member in (1, 2, 3) for head in (1, 2)]
    for number, member in enumerate(members):
        alone = explain(member.as_pipeline(extractor, device="cpu"), sound(SPEECH))
        np.testing.assert_array_equal(found.attention[2 * number : 2 * number + 2], alone.attention)
        np.testing.assert_array_equal(found.received[2 * number : 2 * number + 2], alone.received)

    for part in (ensemble, extractor):
        part.save_pretrained(tmp_path)
    # With the code that is saved beside it, as from the Hub.
    loaded = pipeline("audio-classification", model=str(tmp_path), trust_remote_code=True, device="cpu")
    assert type(loaded.model) is not type(ensemble)
    again = explain(loaded, sound(SPEECH))
    assert (again.head_names, again.scores) == (found.head_names, pytest.approx(found.scores, abs=1e-6))


def test_values_are_explained_as_scores_are() -> None:
    model, extractor = small_classifier()
    model.config.problem_type = "regression"
    classifier = model.as_pipeline(extractor, device="cpu")
    found = explain(classifier, sound(SPEECH))
    values = model(**extractor.extract([SPEECH])).logits[0].tolist()
    assert list(found.scores.values()) == pytest.approx(values, abs=1e-5)
    assert (found.label, tuple(found.scores)) == (LABELS[0], LABELS)  # the highest is of no other meaning
    assert explain(classifier, sound(SPEECH), label="neutral").label == "neutral"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    for part in undecided():
        part.save_pretrained(folder / "model")
    soundfile.write(folder / "a.wav", CLIP, RATE, subtype="FLOAT")
    soundfile.write(folder / "long.wav", np.resize(SPEECH, 31 * RATE), RATE)
    return folder


def test_the_command_writes_a_picture_and_its_numbers(
    saved: Path, classifier: SERPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no figures")
    words = ["explain", str(saved / "a.wav"), "--model", str(saved / "model"), "--output", str(tmp_path / "a.svg")]
    words += ["--label", "neutral"]
    assert ser(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [str(tmp_path / "a.svg"), str(tmp_path / "a.json")]
    found = explain(classifier, saved / "a.wav", label="neutral")
    best = max(found.stretches, key=lambda one: one.fall)
    score = found.scores[found.label]
    assert lines[0].startswith("a.wav: fear 0.")
    told = f"{best.start:.2f} – {best.end:.2f} s: {found.label} {score:.2f} → {score - best.fall:.2f}"
    assert lines[1] == f"  without {told}"
    numbers = json.loads((tmp_path / "a.json").read_text())
    assert list(numbers["attention_received"]) == ["1", "2"] and numbers["words"] is None
    np.testing.assert_allclose(list(numbers["attention_received"].values()), found.received, rtol=1e-4)
    np.testing.assert_allclose([one["fall"] for one in numbers["stretches"]], [one.fall for one in found.stretches])
    assert (tmp_path / "a.svg").stat().st_size > 5000
    assert ser(words) == 0  # its own numbers it writes anew


@pytest.mark.parametrize(
    ("file", "options", "told"),
    [
        ("no.wav", [], "no.wav"),
        (".", [], "is a folder"),
        ("long.wav", [], "--start 12 --end 16"),
        ("a.wav", ["--language", "de"], "Add --words"),
        ("a.wav", ["--width", "3"], "4 to 100 inches"),
        ("a.wav", ["--output", "a.jpg"], ".svg or .json"),
        ("a.wav", ["--output", "model/config.json"], "holds no explanation's numbers"),
    ],
)
def test_the_command_says_what_it_cannot(
    saved: Path, file: str, options: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(saved)
    assert ser(["explain", file, "--model", "model", "--output", "new.json", *options]) == 1
    error = capsys.readouterr().err
    assert told in error and error.startswith("error: ") and not Path("new.json").exists()


def test_numbers_alone_need_no_matplotlib(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    find = "speech_emotion.evaluation.figures.importlib.util.find_spec"
    monkeypatch.setattr(find, lambda name: None)
    words = ["explain", str(saved / "a.wav"), "--model", str(saved / "model"), "--start", "0.2", "--output"]
    assert ser([*words, str(tmp_path / "a.json")]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["start"] == 0.2
    assert ser([*words, str(tmp_path / "a.png")]) == 1 and not (tmp_path / "a.png").exists()
