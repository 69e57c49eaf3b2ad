"""A recording or a speaker in two splits, in each of the ways in which a user could get there."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile

from dataset_scripts import (
    Fold,
    check_audio_disjoint,
    check_disjoint,
    load_corpus,
    load_fold,
    save_fold,
    speaker_folds,
)
from dataset_scripts.audio_leaks import recording_digest, samples_digest
from tests.synthetic_corpora import write_clip

Rows = list[dict[str, Any]]


def write_own(folder: Path, speakers: tuple[str, ...] = ("s1", "s2", "s3")) -> Path:
    for speaker in speakers:
        for label in ("angry", "neutral"):
            write_clip(folder / label / speaker / f"{speaker}{label}.wav", seconds=0.7)
    return folder


def load(folder: Path) -> datasets.Dataset:
    return load_corpus("recordings", data_dir=folder, cache_dir=folder.parent / "cache")


def copied(source: Path, target: Path) -> None:
    shutil.copy(source, target)


def as_flac(source: Path, target: Path) -> None:
    samples, rate = soundfile.read(source, dtype="int16")
    soundfile.write(target.with_suffix(".flac"), samples, rate, subtype="PCM_16")


def in_float(source: Path, target: Path) -> None:
    samples, rate = soundfile.read(source, dtype="float32")
    soundfile.write(target, samples, rate, subtype="FLOAT")


def in_stereo(source: Path, target: Path) -> None:
    samples, rate = soundfile.read(source, dtype="int16")
    soundfile.write(target, np.stack([samples, samples], axis=1), rate)


@pytest.mark.parametrize("copy", [copied, as_flac, in_float, in_stereo])
@pytest.mark.parametrize("streaming", [False, True])
def test_the_same_audio_under_another_speakers_name(
    tmp_path: Path, copy: Callable[[Path, Path], None], streaming: bool
) -> None:
    folder = write_own(tmp_path / "own")
    copy(folder / "angry/s1/s1angry.wav", folder / "angry/s2/again.wav")
    rows = load(folder)
    rows = rows.to_iterable_dataset() if streaming else rows
    for fold in speaker_folds(rows):
        check_disjoint(fold, rows)  # names alone do not tell
        with pytest.raises(ValueError, match=r"'angry/s1/s1angry' of \w+ and 'angry/s2/again' of \w+ are the same"):
            check_audio_disjoint(fold, rows)


def test_several_folds_at_once(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "own", ("s1", "s2", "s3", "s4"))
    rows = load(folder)
    check_audio_disjoint(speaker_folds(rows), rows)
    copied(folder / "angry/s1/s1angry.wav", folder / "angry/s2/again.wav")
    rows = load(folder)
    last = speaker_folds(rows)[-1]
    with pytest.raises(ValueError, match=r"Fold 'leave-one-speaker-out-s4'.*are the same recording"):
        check_audio_disjoint([last], rows)
    with pytest.raises(ValueError, match="Fold 'leave-one-speaker-out-s1'"):
        check_audio_disjoint(speaker_folds(rows), rows)


def test_copies_within_a_split_are_no_leak(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "own")
    copied(folder / "angry/s1/s1angry.wav", folder / "angry/s1/again.wav")
    rows = load(folder)
    for fold in speaker_folds(rows):
        check_audio_disjoint(fold, rows)


def test_clips_that_only_begin_alike_and_silent_ones_are_no_leak(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "own")
    for speaker in ("s1", "s2"):
        samples, rate = soundfile.read(folder / f"angry/{speaker}/{speaker}angry.wav")
        samples[: rate * 6 // 10] = 0
        soundfile.write(folder / f"angry/{speaker}/{speaker}angry.wav", samples, rate)
        soundfile.write(folder / f"neutral/{speaker}/silent.wav", np.zeros(8000), rate)
    rows = load(folder)
    with pytest.warns(UserWarning, match="digital silence"):
        check_audio_disjoint(speaker_folds(rows)[0], rows)


def test_a_copy_that_holds_its_audio_is_compared_by_it(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "own")
    copied(folder / "angry/s1/s1angry.wav", folder / "angry/s2/again.wav")
    rows = [
        row | {"audio": {"path": "x.wav", "bytes": Path(row["audio"]["path"]).read_bytes()}} for row in load(folder)
    ]
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match="are the same recording"):
        check_audio_disjoint(speaker_folds(rows)[0], rows)


def test_a_damaged_clip_is_named(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "own")
    rows = load(folder)
    for speaker in ("s1", "s2"):
        path = folder / f"angry/{speaker}/{speaker}angry.wav"
        path.write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"s1angry\.wav: no audio file"):
        check_audio_disjoint(speaker_folds(rows)[0], rows)


def test_rows_without_audio(tmp_path: Path) -> None:
    rows = load(write_own(tmp_path / "own"))
    with pytest.raises(ValueError, match="no column audio"):
        check_audio_disjoint(speaker_folds(rows)[0], rows.remove_columns("audio"))


def test_one_speaker_spelt_in_two_ways() -> None:
    rows = [{"id": str(n), "speaker": s, "label": "fear"} for n, s in enumerate(("Anna", "Bob", "anna "))]
    with pytest.raises(ValueError, match="the speaker 'Anna', alias 'anna ', is in train and in test"):
        check_disjoint(Fold(("0",), ("1",), ("2",)), rows)
    with pytest.raises(ValueError, match="alias"):
        speaker_folds(rows)


def test_a_fold_file_edited_by_hand(tmp_path: Path) -> None:
    rows = load(write_own(tmp_path / "own"))
    save_fold(speaker_folds(rows)[0], rows, tmp_path / "fold.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "fold.jsonl").read_text().splitlines()]
    (index,) = [index for index, line in enumerate(lines) if line["id"] == "angry/s1/s1angry"]
    lines[index]["split"] = "train"
    (tmp_path / "fold.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(ValueError, match="speaker 's1' is in train and in test"):
        load_fold(tmp_path / "fold.jsonl", rows)


def test_a_list_that_calls_one_speaker_two(tmp_path: Path) -> None:
    """Then nothing but the sound can tell, and it does where a recording was listed under both names."""
    folder = write_own(tmp_path / "own")
    copied(folder / "angry/s1/s1angry.wav", folder / "x.wav")
    lines = ["file,label,speaker"]
    lines += [f"{path.relative_to(folder)},angry,{path.parent.name}" for path in sorted(folder.rglob("*angry.wav"))]
    (folder / "manifest.csv").write_text("\n".join([*lines, "x.wav,angry,guest"]) + "\n")
    rows = load(folder)
    with pytest.raises(ValueError, match="are the same recording"):
        check_audio_disjoint(Fold(("x",), ("angry/s2/s2angry",), ("angry/s1/s1angry",)), rows)


@pytest.mark.filterwarnings("ignore:.*digital silence:UserWarning")
def test_a_recording_is_known_by_its_samples_or_where_they_depend_on_the_decoder_by_its_file(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 4000)
    files = [tmp_path / name for name in ("a.wav", "b.flac", "c.ogg", "d.ogg")]
    for file in files[:3]:
        soundfile.write(file, np.round(wave * 2**15) / 2**15, 16000)
    files[3].write_bytes(files[2].read_bytes())
    by_path = [recording_digest({"path": str(file), "bytes": None}) for file in files]
    by_bytes = [recording_digest({"path": None, "bytes": file.read_bytes()}) for file in files]
    assert by_path == by_bytes and by_path[0] == by_path[1] != by_path[2] == by_path[3]
    assert by_path[0] == samples_digest({"path": str(files[0]), "bytes": None})
    assert by_path[2] == hashlib.sha256(files[2].read_bytes()).hexdigest()
    soundfile.write(files[0], np.zeros(4000), 16000)
    assert recording_digest({"path": str(files[0]), "bytes": None}) is None
