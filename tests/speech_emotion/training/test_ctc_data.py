"""Transcripts, speakers and splits of a recognizer's training, on tones that spell and on the real corpus."""

import os
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest

from dataset_scripts import load_corpus, save_fold
from feature_extraction import DeepSpeechFeatureExtractor
from feature_extraction.tokenizer_deepspeech import ENGLISH, build_tokenizer
from speech_emotion.training.arguments import CTCDataArguments
from speech_emotion.training.ctc_data import (
    age_group,
    choose_speakers,
    choose_transcribed_fold,
    decode_greedily,
    encode_transcript,
    make_transcribed_split,
    normalize_transcript,
    speaker_rows,
)
from speech_emotion.training.feature_cache import cache_features
from tests.speech_emotion.training.spelled_speech import SPEAKERS

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
VOCABULARY = build_tokenizer(ENGLISH).get_vocab()
DATA = os.environ.get("SER_DATA_DIR")


# Transcripts ---------------------------------------------------------------------------------------------------------


def test_labels_are_the_tokenizers_and_decode_to_the_transcript() -> None:
    tokenizer = build_tokenizer(ENGLISH)
    text = normalize_transcript(" IT'S  A Zoo ")
    labels = encode_transcript(text, VOCABULARY, "x")
    assert labels == tokenizer(text).input_ids
    assert len(tokenizer) == 29
    assert VOCABULARY["<blank>"] == 28
    assert tokenizer.decode(labels, group_tokens=False) == text == "it's a zoo"


def test_greedy_decoding_merges_repetitions_and_drops_blanks_and_padding() -> None:
    a, blank = VOCABULARY["a"], VOCABULARY["<blank>"]
    rows = [np.array([blank, a, a, blank, a, 0, a, -100, -100]), np.array([blank, blank, -100])]
    assert decode_greedily(rows, build_tokenizer(ENGLISH)) == ["aa a", ""]


@pytest.mark.parametrize(("text", "message"), [("", "clip 'c7' has no transcript"), ("café 2", r"'c7', .*'2', 'é'")])
def test_transcripts_that_cannot_be_learned_name_their_clip(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_transcript(text, VOCABULARY, "c7")


# Speakers ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(spelled_dir: Path, cache_dir: Path) -> datasets.Dataset:
    return load_corpus("speechocean762", data_dir=spelled_dir, cache_dir=cache_dir)


def test_validation_is_balanced_by_age_and_sex_and_taken_from_the_training_half(rows: datasets.Dataset) -> None:
    fold = choose_transcribed_fold(rows, CTCDataArguments(validation_speakers=4))
    speaker = dict(zip(rows["id"], rows["speaker"], strict=True))
    validating = {speaker[clip] for clip in fold.validation}
    about = sorted((age_group(SPEAKERS[name][2]), SPEAKERS[name][1]) for name in validating)
    assert about == [("adults", "f"), ("adults", "m"), ("children", "f"), ("children", "m")]
    assert {SPEAKERS[name][0] for name in validating} == {"train"}
    assert {speaker[clip] for clip in fold.test} == {"0009", "0010"}
    assert not validating & {speaker[clip] for clip in fold.train}
    assert sum(map(len, fold.splits.values())) == len(rows)
    assert choose_transcribed_fold(rows, CTCDataArguments(validation_speakers=4)) == fold


def test_chosen_speakers_are_of_all_ages() -> None:
    people = [{"speaker": f"s{age}", "sex": "f", "age": age} for age in range(6, 16)]
    assert choose_speakers(people, 3) == ["s7", "s11", "s14"]


@pytest.mark.parametrize("number", [0, 10])
def test_numbers_of_speakers_that_leave_none_are_refused(number: int) -> None:
    people = [{"speaker": str(i), "sex": None, "age": None} for i in range(10)]
    with pytest.raises(ValueError, match=f"Cannot take {number} of 10"):
        choose_speakers(people, number)


def test_a_speaker_of_both_halves_is_caught(rows: datasets.Dataset) -> None:
    table = speaker_rows(rows)
    leaking = next(row for row in table if row["split"] == "test")
    leaking["speaker"] = next(row["speaker"] for row in table if row["split"] == "train")
    for name in ("sex", "age"):
        leaking[name] = next(row[name] for row in table if row["speaker"] == leaking["speaker"])
    with pytest.raises(ValueError, match=r"speaker '0001' is in (train|validation) and in test"):
        choose_transcribed_fold(datasets.Dataset.from_list(table), CTCDataArguments(validation_speakers=2))


def test_a_file_says_who_is_who_but_partners_of_the_tested_may_not_train(
    rows: datasets.Dataset, tmp_path: Path
) -> None:
    table = [row | {"session": row["speaker"]} for row in speaker_rows(rows)]
    fold = choose_transcribed_fold(datasets.Dataset.from_list(table), CTCDataArguments(validation_speakers=2))
    file = tmp_path / "mine.jsonl"
    save_fold(fold, table, file)
    arguments = CTCDataArguments(folds_file=str(file))
    again = choose_transcribed_fold(datasets.Dataset.from_list(table).remove_columns("split"), arguments)
    assert (again.splits, again.name) == (fold.splits, "mine")
    for row in table:
        row["session"] = "all"
    with pytest.raises(ValueError, match="the session 'all' is in train"):
        choose_transcribed_fold(datasets.Dataset.from_list(table), arguments)


def test_a_corpus_without_halves_asks_for_a_file_of_folds(rows: datasets.Dataset) -> None:
    with pytest.raises(ValueError, match="--folds_file"):
        choose_transcribed_fold(rows.remove_columns("split"), CTCDataArguments())


# Splits --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features(rows: datasets.Dataset) -> datasets.Dataset:
    return cache_features(rows, DeepSpeechFeatureExtractor())


def test_a_split_joins_clips_by_id_in_order_of_length(rows: datasets.Dataset, features: datasets.Dataset) -> None:
    some = rows.select(range(5, 25))
    split = make_transcribed_split("train", some, features, VOCABULARY)
    assert sorted(split.ids) == sorted(some["id"])
    assert split.num_frames.tolist() == sorted(split.num_frames)
    texts = dict(zip(rows["id"], rows["transcript"], strict=True))
    frames = dict(zip(features["id"][:].tolist(), features["num_frames"][:].tolist(), strict=True))
    for index, clip in enumerate(split.ids):
        item = split[index]
        assert split.transcripts[index] == texts[clip].lower()
        assert item["labels"] == [VOCABULARY[letter] for letter in texts[clip].lower()]
        assert len(item["input_features"]) == 26 * frames[clip]
    assert split.groups == [age_group(SPEAKERS[speaker][2]) for speaker in split.speakers]


@pytest.mark.parametrize(
    ("text", "message"),
    [("LÀ BAS", r"'000010001'.*'à'"), ("A" * 40, r"'000010001' has \d+ frames, too few"), ("", "no transcript")],
)
def test_clips_that_cannot_be_learned_are_named_or_skipped(
    text: str, message: str, rows: datasets.Dataset, features: datasets.Dataset
) -> None:
    some = rows.select(range(4)).to_list()
    some[0]["transcript"] = text
    broken = datasets.Dataset.from_list(some)
    with pytest.raises(ValueError, match=message):
        make_transcribed_split("train", broken, features, VOCABULARY)
    assert len(make_transcribed_split("train", broken, features, VOCABULARY, skip_bad=True)) == 3


def test_a_corpus_without_transcripts_is_refused(rows: datasets.Dataset, features: datasets.Dataset) -> None:
    with pytest.raises(ValueError, match="no transcripts"):
        make_transcribed_split("train", rows.remove_columns("transcript"), features, VOCABULARY)


# The real corpus -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    DATA is None or not Path(DATA, "speechocean762").is_dir(),
    reason="SER_DATA_DIR names no folder with speechocean762",
)
def test_25_training_speakers_of_both_sexes_and_all_ages_validate_and_all_transcripts_are_letters(
    cache_dir: Path,
) -> None:
    rows = load_corpus("speechocean762", cache_dir=cache_dir)
    fold = choose_transcribed_fold(rows, CTCDataArguments())
    assert [len(ids) for ids in fold.splits.values()] == [2000, 500, 2500]
    about = {row["id"]: row for row in rows.select_columns(["id", "speaker", "sex", "age"])}
    people = [{about[clip]["speaker"]: about[clip] for clip in ids}.values() for ids in fold.splits.values()]
    assert [len(speakers) for speakers in people] == [100, 25, 125]
    training, validating = (Counter((age_group(one["age"]), one["sex"]) for one in part) for part in people[:2])
    assert len(validating) == 4
    for stratum, count in validating.items():
        assert abs(count - 25 * (count + training[stratum]) / 125) < 1
    ages = [one["age"] for one in people[1]]
    assert min(ages) <= 7 and max(ages) >= 30
    for clip, text in zip(rows["id"], rows["transcript"], strict=True):
        assert encode_transcript(normalize_transcript(text), VOCABULARY, clip)
