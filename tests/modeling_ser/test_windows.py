"""Long recordings in windows: where they lie, what each speaks for, and that each is scored as the clip cut out."""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from transformers.pipelines.automatic_speech_recognition import chunk_iter
from transformers.pipelines.pt_utils import KeyDataset

from modeling_ser import SERPipeline
from modeling_ser.windows import WindowCutter, parts
from tests.modeling_ser.small_pipeline import CLIPS, LABELS, by_label, logits_of, small_classifier

LONG = np.concatenate([*CLIPS.values(), *reversed(CLIPS.values()), CLIPS["angry"][:333]])  # 6.5 s
CHUNKS = {"chunk_length_s": 1.0, "stride_length_s": (0.3, 0.1)}
SPANS = [*((start, start + 16000) for start in range(0, len(LONG) - 16000, 9600)), (len(LONG) - 16000, len(LONG))]


@pytest.fixture(scope="module")
def classifier() -> SERPipeline:
    model, extractor = small_classifier()
    model.config.temperature = 0.7
    return SERPipeline(model=model, feature_extractor=extractor, device="cpu")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, LONG, 16000, subtype="FLOAT")
    return path


def cut(total: int, length: int, left: int, right: int, sizes: list[int]) -> list[tuple[int, int, int]]:
    """Push numbers that count themselves in pieces of such sizes; returns the spans, of which each holds its own."""
    cutter, samples, found = WindowCutter(length, left, right), np.arange(total, dtype=np.float32), []
    pieces = np.split(samples, np.minimum(np.cumsum(sizes), total))
    for span, window in itertools.chain(itertools.chain.from_iterable(map(cutter.push, pieces)), cutter.finish()):
        np.testing.assert_array_equal(window, samples[span.start : span.end])
        found.append(span)
    return found


class Identity:
    sampling_rate = 16000

    def __call__(self, chunk: np.ndarray, **kwargs: Any) -> dict[str, np.ndarray]:
        return {"chunk": chunk}


def test_windows_lie_where_speech_recognition_has_its_chunks() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        total, length = int(random.integers(1, 200)), int(random.integers(1, 60))
        left = int(random.integers(0, length))
        right = int(random.integers(0, length - left))
        spans = cut(total, length, left, right, list(random.integers(0, 80, 20)))
        chunks = list(chunk_iter(np.arange(total), Identity(), length, left, right))
        *others, last = spans
        # Its last chunk is what is left, and here moved back; too little beyond a stride it drops, which here is not.
        assert [span.start for span in others] == [chunk["chunk"][0] for chunk in chunks][: len(others)]
        assert last.end == total and len(spans) - len(chunks) in (0, 1)
        assert {span.end - span.start for span in spans} == {min(length, total)}
        covered = parts(spans)
        assert covered[0][0] == 0 and covered[-1][1] == total
        assert all(before[1] == after[0] for before, after in itertools.pairwise(covered))
        for (first, end), chunk in zip(covered[:-1], chunks, strict=False):
            size, skipped_left, skipped_right = chunk["stride"]
            assert (first, end) == (chunk["chunk"][0] + skipped_left, chunk["chunk"][0] + size - skipped_right)


def test_memory_and_work_do_not_depend_on_how_samples_come() -> None:
    for sizes in ([1] * 500, [500], [7, 0, 400]):
        assert cut(500, 60, 13, 7, sizes) == cut(500, 60, 13, 7, [100] * 5)


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_a_window_is_scored_as_the_clip_cut_out(
    classifier: SERPipeline, recording: Path, batch_size: int | None
) -> None:
    options = {} if batch_size is None else {"batch_size": batch_size}
    found = classifier(recording, **CHUNKS, **options)
    assert [chunk["timestamp"] for chunk in found["chunks"]] == [(a / 16000, b / 16000) for a, b in SPANS]
    expected = [scores_of(classifier, LONG[start:end]) for start, end in SPANS]
    for chunk, scores in zip(found["chunks"], expected, strict=True):
        assert by_label(chunk["scores"]) == pytest.approx(scores, abs=1e-5)
    ends = [*(end - 1600 for _, end in SPANS[:-1]), len(LONG)]
    means = np.average([list(scores.values()) for scores in expected], axis=0, weights=np.diff([0, *ends]))
    assert by_label(found["scores"]) == pytest.approx(dict(zip(LABELS, means, strict=True)), abs=1e-5)
    assert np.std([scores["anger"] for scores in expected]) > 0.01


def scores_of(classifier: SERPipeline, waveform: np.ndarray) -> dict[str, float]:
    logits = logits_of(classifier.model, classifier.feature_extractor, waveform) / classifier.model.config.temperature
    return dict(zip(LABELS, logits.softmax(-1).tolist(), strict=True))


def test_every_kind_of_input_gives_the_same(classifier: SERPipeline, recording: Path) -> None:
    whole = classifier(recording, **CHUNKS)
    array = {"array": LONG, "sampling_rate": 16000}
    for single in (recording.read_bytes(), array, (16000, LONG)):
        assert classifier(single, **CHUNKS) == whole
    short = classifier({"array": CLIPS["short"], "sampling_rate": 16000}, **CHUNKS)
    assert short["chunks"] == [{"timestamp": (0.0, 0.03), "scores": short["scores"]}]
    several = [recording, {"array": CLIPS["short"], "sampling_rate": 16000}, array]
    rows = KeyDataset([{"audio": one} for one in several], "audio")
    for inputs, batch_size in itertools.product((several, rows, "iterator"), (1, 3)):
        answers = list(classifier(iter(several) if inputs == "iterator" else inputs, batch_size=batch_size, **CHUNKS))
        assert [len(answer["chunks"]) for answer in answers] == [len(SPANS), 1, len(SPANS)]
        for answer, alone in zip(answers, (whole, short, whole), strict=True):
            assert by_label(answer["scores"]) == pytest.approx(by_label(alone["scores"]), abs=1e-5)


def test_arguments_of_construction_and_of_a_call(recording: Path) -> None:
    model, extractor = small_classifier()
    classifier = model.as_pipeline(extractor, chunk_length_s=1.0, top_k=1)
    assert len(classifier(recording)["chunks"]) == 1 + math.ceil((len(LONG) - 16000) / (16000 - 2 * 2667))
    assert len(classifier(recording, stride_length_s=0)["chunks"]) == math.ceil(len(LONG) / 16000)
    assert all(len(chunk["scores"]) == 1 for chunk in classifier(recording)["chunks"])
    assert isinstance(classifier(recording, chunk_length_s=None), list)
    options = {"function_to_apply": "none", "top_k": None}
    in_one = classifier(recording, chunk_length_s=100, **options)
    assert in_one["scores"] == in_one["chunks"][0]["scores"] == classifier(recording, chunk_length_s=0, **options)
    assert classifier.adapt([recording], check=False).model.config.adapted_clips == 10  # its windows


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"chunk_length_s": 0.05}, "chunk_length_s=0.05: must be a number of seconds, 0.1 or more"),
        ({"chunk_length_s": "4"}, "chunk_length_s='4'"),
        ({"chunk_length_s": math.inf}, "chunk_length_s=inf"),
        ({"chunk_length_s": True}, "chunk_length_s=True"),
        ({"chunk_length_s": 4, "stride_length_s": 2}, "stride_length_s=2 leaves nothing of chunks of 4 s"),
        ({"chunk_length_s": 4, "stride_length_s": (1, 2, 3)}, "a pair of them"),
        ({"chunk_length_s": 4, "stride_length_s": -1}, "stride_length_s=-1"),
        ({"stride_length_s": 1}, "pass chunk_length_s, too"),
        ({"chunk_length": 4}, "it takes top_k, function_to_apply, chunk_length_s"),
    ],
)
def test_arguments_without_sense(classifier: SERPipeline, arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        classifier({"array": LONG, "sampling_rate": 16000}, **arguments)


def test_a_file_that_is_cut_has_no_answer(classifier: SERPipeline, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.wav").write_bytes(recording.read_bytes()[:200_000])
    with pytest.raises(ValueError, match=r"cut\.wav: truncated"):
        classifier(tmp_path / "cut.wav", **CHUNKS)
