"""The small DeepSpeech that comes with the library: whole, small, and as good as its card says."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Wav2Vec2CTCTokenizer, pipeline

from dataset_scripts import load_corpus
from feature_extraction import DeepSpeechFeatureExtractor, DeepSpeechForCTC
from speech_emotion.evaluation.error_rates import error_rates
from speech_emotion.pretrained import SMALL_DEEPSPEECH, pretrained_path

DATA = os.environ.get("SER_DATA_DIR")

FOLDER = pretrained_path(SMALL_DEEPSPEECH)
RESULTS = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def recognizer() -> tuple[DeepSpeechForCTC, DeepSpeechFeatureExtractor, Wav2Vec2CTCTokenizer]:
    """Load it as users do."""
    return (
        DeepSpeechForCTC.from_pretrained(FOLDER, dtype=torch.float32),
        DeepSpeechFeatureExtractor.from_pretrained(FOLDER),
        Wav2Vec2CTCTokenizer.from_pretrained(FOLDER),
    )


def test_it_is_small_half_precision_and_complete() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "results.json",
        "tokenizer_config.json",
        "vocab.json",
    }
    weights = load_file(FOLDER / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert sum(tensor.numel() for tensor in weights.values()) == RESULTS["parameters"]
    assert 256 <= RESULTS["hidden_size"] <= 512
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8 * 2**20


def test_its_card_says_what_was_measured() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for split in ("test", "validation"):
        for group, errors in RESULTS[split]["errors"].items():
            assert re.search(rf"\| {split} \| {group} \| .* \| {errors['cer']:.1%} \| {errors['wer']:.1%} \|", card)
    assert "speechocean762" in card
    assert "convert_deepspeech" in card
    assert "validation CER" in card  # the learning curve
    assert len(RESULTS["curve"]) == RESULTS["epochs"]


def test_no_test_speaker_taught_or_chose() -> None:
    speakers = {
        split: {name for group in RESULTS[split]["speakers"].values() for name in group}
        for split in ("train", "validation", "test")
    }
    assert len(speakers["validation"]) == 25
    assert len(speakers["test"]) == 125
    assert len(set.union(*speakers.values())) == sum(map(len, speakers.values()))


def test_a_saved_copy_transcribes_in_plain_pipeline(
    recognizer: tuple[DeepSpeechForCTC, DeepSpeechFeatureExtractor, Wav2Vec2CTCTokenizer], tmp_path: Path
) -> None:
    for part in recognizer:
        part.save_pretrained(tmp_path)
    plain = pipeline("automatic-speech-recognition", model=str(tmp_path), trust_remote_code=True)
    noise = np.random.default_rng(0).normal(0, 0.05, 16_000).astype(np.float32)
    model, extractor, tokenizer = recognizer
    assert plain({"raw": noise, "sampling_rate": 16_000}) == model.as_pipeline(extractor, tokenizer)(noise)


@pytest.mark.skipif(
    DATA is None or not Path(DATA, "speechocean762").is_dir(),
    reason="SER_DATA_DIR names no folder with speechocean762",
)
@pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
def test_it_transcribes_held_out_clips_as_its_card_says(
    recognizer: tuple[DeepSpeechForCTC, DeepSpeechFeatureExtractor, Wav2Vec2CTCTokenizer],
) -> None:
    model, extractor, tokenizer = recognizer
    examples = RESULTS["test"]["examples"]
    rows = load_corpus("speechocean762")
    place = {clip: index for index, clip in enumerate(rows["id"])}
    clips = [rows[place[example["id"]]]["audio"] for example in examples]
    read = model.as_pipeline(extractor, tokenizer)
    texts = [result["text"] for result in read(clips, batch_size=3)]
    assert texts == [example["hypothesis"] for example in examples]
    assert error_rates([example["reference"] for example in examples], texts).cer < 1
