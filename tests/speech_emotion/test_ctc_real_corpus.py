"""Who validates on the real speechocean762, and that all of its transcripts can be learned."""

import os
from collections import Counter
from pathlib import Path

import datasets
import pytest

from dataset_scripts import load_corpus
from feature_extraction.tokenizer_deepspeech import ENGLISH
from speech_emotion.training.ctc_arguments import CTCDataArguments
from speech_emotion.training.ctc_speakers import age_group, choose_transcribed_fold
from speech_emotion.training.ctc_transcripts import encode_transcript, normalize_transcript

DATA = os.environ.get("SER_DATA_DIR")
pytestmark = pytest.mark.skipif(
    DATA is None or not Path(DATA, "speechocean762").is_dir(),
    reason="SER_DATA_DIR names no folder with speechocean762",
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return load_corpus("speechocean762", cache_dir=tmp_path_factory.mktemp("cache"))


def test_25_training_speakers_of_both_sexes_and_all_ages_validate(rows: datasets.Dataset) -> None:
    fold = choose_transcribed_fold(rows, CTCDataArguments())
    assert [len(ids) for ids in fold.splits.values()] == [2000, 500, 2500]
    columns = ("id", "speaker", "sex", "age", "split")
    about = {row["id"]: row for row in rows.select_columns(list(columns))}
    people = {
        name: {about[clip]["speaker"]: (age_group(about[clip]["age"]), about[clip]["sex"]) for clip in ids}
        for name, ids in fold.splits.items()
    }
    assert [len(speakers) for speakers in people.values()] == [100, 25, 125]
    assert not set(people["train"]) & set(people["validation"])
    assert not set(people["test"]) & (set(people["train"]) | set(people["validation"]))
    assert all(about[clip]["split"] == "train" for clip in (*fold.train, *fold.validation))
    validating, training = (Counter(people[name].values()) for name in ("validation", "train"))
    assert len(validating) == 4
    for stratum, count in validating.items():
        assert abs(count - 25 * (count + training[stratum]) / 125) < 1
    ages = [about[clip]["age"] for clip in fold.validation]
    assert min(ages) <= 7
    assert max(ages) >= 30


def test_every_transcript_is_in_deepspeechs_alphabet(rows: datasets.Dataset) -> None:
    vocabulary = {letter: index for index, letter in enumerate(ENGLISH)}
    for clip, text in zip(rows["id"], rows["transcript"], strict=True):
        assert len(encode_transcript(normalize_transcript(text), vocabulary, clip)) > 0
