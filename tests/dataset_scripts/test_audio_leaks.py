"""A recording or a speaker in two splits, in each of the ways in which a user could get there."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile

from dataset_scripts import Fold, check_audio_disjoint, check_disjoint, speaker_folds
from dataset_scripts.audio_leaks import recording_digest, samples_digest
from tests.synthetic_corpora import load_from, write_clip

SAME = "are the same recording"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for speaker in ("s1", "s2", "s3"):
        for label in ("angry", "neutral"):
            write_clip(tmp_path / "own" / label / speaker / f"{speaker}{label}.wav", seconds=0.7)
    return tmp_path / "own"


def load(folder: Path) -> datasets.Dataset:
    return load_from(folder, "recordings")


def copy_first(folder: Path, target: str = "angry/s2/again.wav") -> None:
    shutil.copy(folder / "angry/s1/s1angry.wav", folder / target)


def convert(target: str, read_as: str, channels: int = 1, **options: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        samples, rate = soundfile.read(folder / "angry/s1/s1angry.wav", dtype=read_as)
        soundfile.write(folder / target, np.stack([samples] * channels, axis=1), rate, **options)

    return write


COPIES: dict[str, Callable[[Path], None]] = {
    "copied": copy_first,
    "as FLAC": convert("angry/s2/again.flac", "int16", subtype="PCM_16"),
    "in float": convert("angry/s2/again.wav", "float32", subtype="FLOAT"),
    "in stereo": convert("angry/s2/again.wav", "int16", channels=2),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("streaming", [False, True])
def test_the_same_audio_under_another_speakers_name(own: Path, copy: str, streaming: bool) -> None:
    COPIES[copy](own)
    rows = load(own)
    rows = rows.to_iterable_dataset() if streaming else rows
    for fold in speaker_folds(rows):
        check_disjoint(fold, rows)  # names alone do not tell
        with pytest.raises(ValueError, match=r"'angry/s1/s1angry' of \w+ and 'angry/s2/again' of \w+ are the same"):
            check_audio_disjoint(fold, rows)


def test_several_folds_at_once(own: Path) -> None:
    for label in ("angry", "neutral"):
        write_clip(own / label / f"s4/s4{label}.wav", seconds=0.7)
    rows = load(own)
    check_audio_disjoint(speaker_folds(rows), rows)
    copy_first(own)
    rows = load(own)
    for folds, name in ((speaker_folds(rows)[-1:], "s4"), (speaker_folds(rows), "s1")):
        with pytest.raises(ValueError, match=f"Fold 'leave-one-speaker-out-{name}'.*{SAME}"):
            check_audio_disjoint(folds, rows)


def test_copies_within_a_split_are_no_leak(own: Path) -> None:
    copy_first(own, "angry/s1/again.wav")
    rows = load(own)
    check_audio_disjoint(speaker_folds(rows), rows)


def test_clips_that_only_begin_alike_and_silent_ones_are_no_leak(own: Path) -> None:
    for speaker in ("s1", "s2"):
        samples, rate = soundfile.read(own / f"angry/{speaker}/{speaker}angry.wav")
        samples[: rate * 6 // 10] = 0
        soundfile.write(own / f"angry/{speaker}/{speaker}angry.wav", samples, rate)
        soundfile.write(own / f"neutral/{speaker}/silent.wav", np.zeros(8000), rate)
    rows = load(own)
    with pytest.warns(UserWarning, match="digital silence"):
        check_audio_disjoint(speaker_folds(rows)[0], rows)


def test_a_copy_that_holds_its_audio_is_compared_by_it(own: Path) -> None:
    copy_first(own)
    rows = [row | {"audio": {"path": "x", "bytes": Path(row["audio"]["path"]).read_bytes()}} for row in load(own)]
    shutil.rmtree(own)
    with pytest.raises(ValueError, match=SAME):
        check_audio_disjoint(speaker_folds(rows)[0], rows)


def test_what_cannot_be_compared_is_named(own: Path) -> None:
    rows = load(own)
    fold = speaker_folds(rows)[0]
    with pytest.raises(ValueError, match="no column audio"):
        check_audio_disjoint(fold, rows.remove_columns("audio"))
    for speaker in ("s1", "s2"):
        (own / f"angry/{speaker}/{speaker}angry.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"s1angry\.wav: no audio file"):
        check_audio_disjoint(fold, rows)


def test_a_list_that_calls_one_speaker_two(own: Path) -> None:
    """Then nothing but the sound can tell, and it does where a recording was listed under both names."""
    copy_first(own, "x.wav")
    lines = [f"{path.relative_to(own)},angry,{path.parent.name}" for path in sorted(own.rglob("*angry.wav"))]
    (own / "manifest.csv").write_text("\n".join(["file,label,speaker", *lines, "x.wav,angry,guest"]) + "\n")
    rows = load(own)
    with pytest.raises(ValueError, match=SAME):
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
