import os
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile

from dataset_scripts import LABELS, list_corpora, load_corpus, speaker_folds
from dataset_scripts.corpus_base import SpeechCorpus
from dataset_scripts.ravdess import RAVDESS
from tests.synthetic import speech_like, tone, write_polish, write_ravdess

COLUMNS = ["id", "audio", "label", "label4", "native_label", "speaker", "sex", "sentence", "transcript", "kind"]
COLUMNS += ["language", "duration", "file"]
FIRST = "Actor_01/03-01-01-01-01-01-01"

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """32 clips: actors 1 and 2, 2 statements, 1 repetition."""
    return write_ravdess(tmp_path / "corpora/ravdess", actors=(1, 2), repetitions=(1,), seconds=0.1)


def load(folder: Path, name: str = "ravdess") -> datasets.Dataset:
    return load_corpus(name, data_dir=folder, cache_dir=folder.parent / "cache")


def tables(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.arrow"))


def test_rows_have_the_columns_of_every_corpus(small: Path) -> None:
    rows = load(small)
    assert rows.column_names == COLUMNS
    assert rows.features["audio"] == datasets.Audio(decode=False)
    path = small / "Actor_02/03-01-05-01-02-01-02.wav"
    assert rows.filter(lambda row: row["id"] == path.stem)[0] == {
        "id": "03-01-05-01-02-01-02",
        "audio": {"path": str(path), "bytes": None},
        "label": "anger",
        "label4": "anger",
        "native_label": "angry",
        "speaker": "Actor_02",
        "sex": "f",
        "sentence": "02",
        "transcript": "Dogs are sitting by the door",
        "kind": "acted",
        "language": "en",
        "duration": 0.1,
        "file": "Actor_02/03-01-05-01-02-01-02.wav",
    }
    labels = dict(zip(rows["label"], rows["label4"], strict=True))
    assert set(labels) <= set(LABELS)
    assert {label: four for label, four in labels.items() if four} == {
        label: label for label in ("anger", "happiness", "neutral", "sadness")
    }


def test_polish_rows(tmp_path: Path) -> None:
    rows = load(write_polish(tmp_path / "polish", speakers=(1, 2), seconds=0.1), "polish")
    assert len(rows) == 36
    assert rows[0]["id"] == "m1.a_nie_1"
    assert [rows[0][column] for column in ("label", "label4", "sex", "sentence", "language", "speaker")] == [
        "anger", "anger", "m", "nie", "pl", "m1",
    ]  # fmt: skip
    assert Counter(rows["label"]) == {"anger": 12, "fear": 12, "neutral": 12}


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".WAV"])
def test_any_encoding_of_a_published_name(tmp_path: Path, suffix: str) -> None:
    folder = write_ravdess(tmp_path / "r", actors=(3,), emotions=("sad",), suffix=suffix, seconds=0.5)
    rows = load(folder)
    assert rows["duration"] == pytest.approx([0.5] * 4)
    assert all(file.endswith(suffix) for file in rows["file"])


@pytest.mark.parametrize("above", ["ravdess", ".", "..", "ravdess/Actor_01"])
def test_corpus_is_found_from_its_folder_and_from_above(small: Path, above: str) -> None:
    write_polish(small.parent / "polish", speakers=(1,), seconds=0.1)  # a neighbor is no mistake
    rows = load_corpus("ravdess", data_dir=small.parent / above, cache_dir=small.parent / "cache")
    if above == "ravdess/Actor_01":
        assert set(rows["speaker"]) == {"Actor_01"}
    else:
        assert len(rows) == 32
        assert rows[0]["file"] == f"{FIRST}.wav"
    assert all(Path(audio["path"]).is_file() for audio in rows["audio"])


def test_paths_stay_valid_from_another_working_directory(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent)
    rows = load_corpus("ravdess", data_dir="ravdess", cache_dir="cache")
    monkeypatch.chdir("/")
    assert all(Path(audio["path"]).is_file() for audio in rows["audio"])


def test_default_folder_is_named_by_the_environment(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_DATA_DIR", str(small.parent))
    assert len(load_corpus("ravdess", cache_dir=small.parent / "cache")) == 32


@pytest.mark.parametrize("variable", [None, "elsewhere"])
def test_no_folder_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    monkeypatch.delenv("SER_DATA_DIR", raising=False)
    if variable:
        monkeypatch.setenv("SER_DATA_DIR", str(tmp_path / variable))
    with pytest.raises(
        FileNotFoundError, match=r"RAVDESS: no folder was named.*SER_DATA_DIR|does not exist.*data_dir"
    ):
        load_corpus("ravdess", cache_dir=tmp_path)


def test_streaming_yields_the_same_clips(small: Path) -> None:
    streamed = load_corpus("ravdess", data_dir=small, cache_dir=small.parent / "cache", streaming=True)
    assert isinstance(streamed, datasets.IterableDataset)
    assert not tables(small.parent / "cache")
    assert list(streamed) == list(load(small))


def test_clips_are_shards_in_the_order_of_their_names(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataset_scripts.corpus_base.CLIPS_PER_SHARD", 10)
    builder = RAVDESS(data_dir=small, cache_dir=small.parent / "cache")
    assert builder.as_streaming_dataset(split="train").num_shards == 4
    builder.download_and_prepare(num_proc=2)
    files = list(builder.as_dataset(split="train")["file"])
    assert len(files) == 32
    assert files == sorted(files)


def test_licence_and_citation_travel_with_the_rows(small: Path) -> None:
    info = load(small).info
    assert (info.license, info.homepage) == (RAVDESS.license, RAVDESS.homepage)
    assert "Livingstone" in info.citation


def test_second_load_reuses_the_table(small: Path) -> None:
    first = load(small)
    (table,) = tables(small.parent / "cache")
    written = table.stat().st_mtime_ns
    second = load(small)
    assert second._fingerprint == first._fingerprint  # so features cached by map() are found again
    assert [file.stat().st_mtime_ns for file in tables(small.parent / "cache")] == [written]


def touch(folder: Path) -> None:
    os.utime(folder / f"{FIRST}.wav", ns=(1, 1))


def replace(folder: Path) -> None:
    soundfile.write(folder / f"{FIRST}.wav", tone(seconds=1.0), 16000)


def remove(folder: Path) -> None:
    (folder / f"{FIRST}.wav").unlink()


def add(folder: Path) -> None:
    soundfile.write(folder / "Actor_01/03-01-01-01-01-02-01.wav", tone(seconds=0.1), 16000)


@pytest.mark.parametrize(
    ("change", "clips", "first"), [(touch, 32, 0.1), (replace, 32, 1.0), (remove, 31, 0.1), (add, 33, 0.1)]
)
def test_a_corpus_changed_on_disk_is_built_anew(
    small: Path, change: Callable[[Path], None], clips: int, first: float
) -> None:
    before = load(small)
    change(small)
    after = load(small)
    assert len(after) == clips
    assert after[0]["duration"] == first
    assert after._fingerprint != before._fingerprint
    assert len(tables(small.parent / "cache")) == 2


def stray(folder: Path) -> None:
    shutil.copy(folder / f"{FIRST}.wav", folder / "Actor_01/take two.wav")


def bad_code(folder: Path) -> None:
    (folder / f"{FIRST}.wav").rename(folder / "Actor_01/03-01-09-01-01-01-01.wav")


def twice_encoded(folder: Path) -> None:
    soundfile.write(folder / f"{FIRST}.flac", tone(), 16000)


def two_copies(folder: Path) -> None:
    shutil.copytree(folder / "Actor_01", folder / "audio_speech_actors_01-24/Actor_01")


def empty_file(folder: Path) -> None:
    (folder / f"{FIRST}.wav").write_bytes(b"")


def text_file(folder: Path) -> None:
    (folder / f"{FIRST}.wav").write_text("no audio")


def no_samples(folder: Path) -> None:
    soundfile.write(folder / f"{FIRST}.wav", np.zeros(0), 16000)


def cut_header(folder: Path) -> None:
    path = folder / f"{FIRST}.wav"
    path.write_bytes(path.read_bytes()[:20])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (stray, r"1 audio file\(s\) in .* do not follow .*take two\.wav.*Rename"),
        (bad_code, r"1 audio file\(s\) in .* do not follow .*03-01-09-01-01-01-01"),
        (twice_encoded, r"'03-01-01-01-01-01-01' in Actor_01/\S+\.flac, Actor_01/\S+\.wav.*Keep one"),
        (two_copies, r"16 clip id\(s\) occur more than once.*audio_speech_actors_01-24"),
        (empty_file, r"cannot be read: .*03-01-01-01-01-01-01\.wav \("),
        (text_file, r"cannot be read: .*03-01-01-01-01-01-01\.wav \("),
        (no_samples, r"cannot be read: .*03-01-01-01-01-01-01\.wav \(no samples\)"),
        (cut_header, r"cannot be read: .*03-01-01-01-01-01-01\.wav \("),
    ],
)
def test_a_damaged_corpus_is_refused_and_leaves_no_table(
    small: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(small)
    with pytest.raises(ValueError, match=message):
        load(small)
    assert not tables(small.parent / "cache")
    assert not list((small.parent / "cache").rglob("*.incomplete"))


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist.*data_dir"):
        load(tmp_path / "nowhere")


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "r/Actor_01").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no \.wav, \.flac or \.ogg file"):
        load(tmp_path / "r")


def test_file_instead_of_folder(small: Path) -> None:
    with pytest.raises(NotADirectoryError, match="is a file"):
        load(small / f"{FIRST}.wav")


def test_another_corpus(tmp_path: Path) -> None:
    folder = write_polish(tmp_path / "polish", speakers=(1,), words=("nie",), seconds=0.1)
    with pytest.raises(ValueError, match=r"none of the 9 audio files .* m1\.a_nie_1\.wav"):
        load(folder)


def test_unknown_names() -> None:
    with pytest.raises(
        ValueError, match=r"no corpus 'RAVDES'\. Did you mean 'ravdess'\? Known corpora: ased, .*polish, ravdess, "
    ):
        load_corpus("RAVDES")
    with pytest.raises(ValueError, match=r"no corpus 'xyz'\. Known corpora"):
        load_corpus("xyz")
    assert len(list_corpora()) == 12
    assert {"emodb", "iemocap", "polish", "ravdess", "recordings"} < set(list_corpora())


def test_unknown_configuration(small: Path) -> None:
    with pytest.raises(ValueError, match=r"'song' not found.*speech"):
        load_corpus("ravdess", data_dir=small, config="song", cache_dir=small.parent / "cache")


def test_songs_and_videos_are_left_out_and_told(small: Path) -> None:
    for name in ("03-02-01-01-01-01-01", "01-01-01-01-01-01-01"):
        shutil.copy(small / f"{FIRST}.wav", small / f"Actor_01/{name}.wav")
    with pytest.warns(UserWarning) as told:
        rows = load(small)
    assert len(rows) == 32
    messages = " ".join(str(warning.message) for warning in told)
    assert "1 file(s) left out: sung" in messages
    assert "1 file(s) left out: sound of a video" in messages


def test_what_macos_adds_is_no_audio(small: Path) -> None:
    (small / "Actor_01/._03-01-01-01-01-01-01.wav").write_bytes(b"fork")
    shutil.copytree(small / "Actor_01", small / "__MACOSX/Actor_01")
    assert len(load(small)) == 32


def test_links_to_folders_are_followed_but_not_in_circles(small: Path) -> None:
    folder = small.parent / "linked"
    folder.mkdir()
    (folder / "Actor_01").symlink_to(small / "Actor_01")
    (folder / "again").symlink_to(folder)
    assert len(load(folder)) == 16


@pytest.mark.filterwarnings("default:.*published are:UserWarning")
def test_other_counts_than_published_are_told(small: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"there are 32 clips of 2 speakers; published are 1440 clips of 24 .*angry 4 inst"
    ):
        load(small)


@pytest.mark.filterwarnings("error")
def test_published_counts_are_no_news(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RAVDESS, "published", dict.fromkeys(RAVDESS.labels, 4))
    monkeypatch.setattr(RAVDESS, "published_speakers", 2)
    monkeypatch.setattr(RAVDESS, "expected_clips", dict)
    assert len(load(small)) == 32


def test_label_outside_the_map_is_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RAVDESS, "labels", {"neutral": "neutral"})
    with pytest.raises(ValueError, match=r"Actor_01/\S+ has the label 'calm'.*\['neutral'\]"):
        load(small)


def test_label_map_must_lead_into_the_house_vocabulary() -> None:
    with pytest.raises(ValueError, match=r"Odd\.labels maps to \['joy'\]"):
        type("Odd", (SpeechCorpus,), {"labels": {"j": "joy"}})


def test_no_progress_bars_outside_a_terminal(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(small)
    assert capfd.readouterr().err == ""
    assert not datasets.utils.are_progress_bars_disabled()


def test_import_is_light() -> None:
    code = "import sys, dataset_scripts; print([m for m in ('torch', 'transformers', 'librosa') if m in sys.modules])"
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_synthetic_emotions_can_be_told_apart_across_speakers(tmp_path: Path) -> None:
    rows = load(write_ravdess(tmp_path / "r", repetitions=(1,)))
    features = []
    for audio in rows["audio"]:
        samples, rate = soundfile.read(audio["path"])
        spectrum = np.abs(np.fft.rfft(samples))
        frequency = np.fft.rfftfreq(len(samples), 1 / rate)
        features.append([np.log(samples.std()), np.log((spectrum * frequency).sum() / spectrum.sum())])
    x = np.array(features)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y, speakers = np.array(rows["label"]), np.array(rows["speaker"])
    right = 0
    for speaker in np.unique(speakers):
        train = speakers != speaker
        classes = np.unique(y)
        means = np.stack([x[train & (y == label)].mean(axis=0) for label in classes])
        distances = np.linalg.norm(x[~train][:, None] - means[None], axis=-1)  # (clips, classes)
        right += (classes[distances.argmin(axis=1)] == y[~train]).sum()
    assert right / len(y) > 0.6  # chance is 1/8


def test_synthetic_corpora_are_the_same_every_time(tmp_path: Path) -> None:
    files = [write_polish(tmp_path / name, speakers=(1,), words=("nie",), seconds=0.1) for name in ("a", "b")]
    assert (files[0] / "m1.a_nie_1.wav").read_bytes() == (files[1] / "m1.a_nie_1.wav").read_bytes()
    assert not np.array_equal(speech_like(seed=0), speech_like(seed=1))


@pytest.mark.skipif("SER_DATA_DIR" not in os.environ, reason="SER_DATA_DIR is not set: no real corpora")
def test_real_ravdess(tmp_path: Path) -> None:
    if not Path(os.environ["SER_DATA_DIR"], "ravdess").is_dir():
        pytest.skip("there is no ravdess in SER_DATA_DIR")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = load_corpus("ravdess", cache_dir=tmp_path)
    assert Counter(rows["native_label"]) == {name: 96 if name == "neutral" else 192 for name in RAVDESS.labels}
    assert Counter(Counter(rows["speaker"]).values()) == {60: 24}
    assert Counter(dict(zip(rows["speaker"], rows["sex"], strict=True)).values()) == {"f": 12, "m": 12}
    assert 2.9 < min(rows["duration"]) < max(rows["duration"]) < 5.3
    speaker_of = dict(zip(rows["id"], rows["speaker"], strict=True))
    for group, fold in enumerate(speaker_folds(rows, "k-fold", k=6)):
        assert {speaker_of[i] for i in fold.test} == {f"Actor_{4 * group + n:02}" for n in (1, 2, 3, 4)}
