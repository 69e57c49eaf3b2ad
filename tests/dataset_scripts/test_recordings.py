import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile

from dataset_scripts import load_corpus, speaker_folds
from dataset_scripts.manifest import read_manifest
from tests.synthetic_corpora import edit, load_from, write_clip

LINES = [
    ("a/1.wav", "Angry", "Anna", "female"),
    ("a/2.wav", "sad", "Anna", "F"),
    ("b/1.wav", "Angry", "Bob", "m"),
    ("b/2.wav", "sad", "Bob", ""),
]


def write_list(folder: Path, name: str = "manifest.csv", delimiter: str = ",", lines: Any = LINES) -> Path:
    for file, *_ in lines:
        if not (folder / file).exists():
            write_clip(folder / file)
    table = [("path", "Emotion", "speaker_id", "gender"), *lines]
    (folder / name).write_text("\n".join(delimiter.join(line) for line in table) + "\n", encoding="utf-8")
    return folder / name


def load(folder: Path, **options: Any) -> datasets.Dataset:
    return load_from(folder, "recordings", **options)


def write_clips(folder: Path, *names: str) -> Path:
    for name in names:
        write_clip(folder / f"{name}.wav")
    return folder


@pytest.mark.parametrize(("name", "delimiter"), [("manifest.csv", ","), ("mine.csv", ";"), ("metadata.tsv", "\t")])
@pytest.mark.filterwarnings("error")
def test_a_list(tmp_path: Path, name: str, delimiter: str) -> None:
    path = write_list(tmp_path / "own", name, delimiter)
    rows = load(path if name == "mine.csv" else path.parent)
    assert rows["label"][:] == ["anger", "sadness", "anger", "sadness"]
    assert rows["native_label"][:] == ["Angry", "sad", "Angry", "sad"]
    assert rows["sex"][:] == ["f", "f", "m", None]
    assert rows["id"][:] == ["a/1", "a/2", "b/1", "b/2"]
    assert rows["speaker"][:] == ["Anna", "Anna", "Bob", "Bob"]


@pytest.mark.filterwarnings("error")
def test_a_list_of_json_lines_with_ids_sessions_and_absolute_paths(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    lines = []
    for number in range(6):
        clip = write_clip(tmp_path / "elsewhere" / f"{number}.wav")
        lines.append(
            {"file": str(clip), "label": "joy" if number % 2 else "calm", "speaker": number // 2, "id": number}
        )
        lines[-1] |= {"session": f"s{number // 4}", "text": "Ja.", "rating": [1, 2]}
    folder.mkdir()
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.warns(UserWarning, match=r"6 file\(s\) that .* lists lie outside of its folder: .*elsewhere/0\.wav"):
        rows = load(folder)
    assert rows["id"][:] == ["0", "1", "2", "3", "4", "5"]
    assert Counter(rows["label"]) == {"happiness": 3, "calm": 3}
    assert rows[0]["transcript"] == "Ja."
    assert rows["session"][:] == ["s0"] * 4 + ["s1"] * 2
    assert rows[0]["audio"]["path"] == str(tmp_path / "elsewhere/0.wav")


def test_line_ends_that_json_does_not_escape_may_stand_in_transcripts(tmp_path: Path) -> None:
    text = "no\u2028and\x85no"
    lines = [{"file": f"{n}.wav", "label": "angry", "text": text} for n in (1, 2)]
    path = tmp_path / "list.jsonl"
    path.write_bytes("\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode())
    assert [row["transcript"] for row in read_manifest(path)] == [text, text]


@pytest.mark.filterwarnings("error")
def test_folders_of_emotions_and_speakers(tmp_path: Path) -> None:
    names = [f"{label}/{speaker}/take" for label in ("angry", "neutral") for speaker in ("s1", "s2", "s3")]
    rows = load(write_clips(tmp_path / "own", *names))
    assert Counter(rows["speaker"]) == {"s1": 2, "s2": 2, "s3": 2}
    assert rows[0]["id"] == "angry/s1/take"
    assert len(speaker_folds(rows)) == 3


@pytest.mark.parametrize(
    ("pattern", "nameless"),
    [(None, ["sad/S02_1", "sad/s01_2"]), (r"(?P<speaker>s\d+)_", ["angry/monday/S02_1", "sad/S02_1"])],
)
def test_unknown_speakers_are_told_loudly_and_give_no_folds(
    tmp_path: Path, pattern: str | None, nameless: list[str]
) -> None:
    write_clips(tmp_path / "own", "angry/monday/S02_1", "sad/s01_2", "sad/S02_1")
    with pytest.warns(UserWarning, match=rf"SPEAKERS OF 2 RECORDING.*{nameless[0]}\.wav.*speaker_pattern"):
        rows = load(tmp_path / "own", speaker_pattern=pattern)
    assert rows.filter(lambda row: row["speaker"] is None)["id"][:] == nameless  # and none is "monday"
    with pytest.raises(ValueError, match=f"speaker of clip '{nameless[0]}' is unknown"):
        speaker_folds(rows)


@pytest.mark.filterwarnings("error")
def test_a_pattern_tells_the_speaker(tmp_path: Path) -> None:
    write_clips(tmp_path / "own", "angry/s5_a", "neutral/s7_a")
    assert load(tmp_path / "own", speaker_pattern=r"/(?P<speaker>s\d)_")["speaker"][:] == ["s5", "s7"]
    # A table built with one pattern is not taken for another's.
    assert load(tmp_path / "own", speaker_pattern=r"s(?P<speaker>\d)_")["speaker"][:] == ["5", "7"]


def test_labels_of_the_users_own_are_kept_and_told(tmp_path: Path) -> None:
    path = write_list(tmp_path / "own", lines=[("a.wav", "contempt", "x", ""), ("b.wav", "Fearful", "x", "")])
    with pytest.warns(UserWarning, match="contempt is none of anger, .* kept as it is"):
        rows = load(path)
    assert (rows["label"][:], rows["label4"][:]) == (["contempt", "fear"], [None, None])


def test_a_changed_list_builds_the_table_anew(tmp_path: Path) -> None:
    path = write_list(tmp_path / "own")
    assert Counter(load(path)["speaker"])["Bob"] == 2
    write_list(tmp_path / "own", lines=[(*line[:2], "Anna", line[3]) for line in LINES])
    assert set(load(path)["speaker"]) == {"Anna"}


BAD_LISTS: dict[str, tuple[str, str]] = {  # what a list holds, and what of it is named
    "no column": ("file,mood\na.wav,sad\n", r"line 2: no label; the columns are file, mood"),
    "no label": ("file,label\na.wav,\n", r"line 2: the label is empty"),
    "too many fields": ("file,label\na.wav,sad,x\n", r"line 2: expected 2 fields separated by ','"),
    "too few fields": ("file,label\na.wav\n", r"line 2: expected 2 fields"),
    "no rows": ("file,label\n", "lists no recordings"),
    "empty": ("", "lists no recordings"),
    "odd sex": ("file,label,sex\na.wav,sad,x\n", r"the sex 'x' is none of f, female"),
    "file twice": ("file,label\na.wav,sad\na.wav,angry\n", r"own/a\.wav 2 times"),
    "file in two ways": ("file,label\na.wav,sad\n./a.wav,sad\n", r"own/a\.wav 2 times"),
    "file from above": ("file,label\na.wav,sad\n../own/a.wav,sad\n", r"own/a\.wav 2 times"),
    "id twice": ("file,label,id\na.wav,sad,1\nb.wav,sad,1\n", r"1 clip id\(s\) occur more than once"),
    "open quotation": ('file,label,text\na.wav,sad,"Come\nb.wav,joy,hi\n', "quotation mark"),
    "field of two lines": ('file,label,text\na.wav,sad,"Come\nb.wav,joy,hi"\n', "line 3: a field goes on"),
    "two speakers": ("file,label,speaker,speaker_id\na.wav,sad,anna,17\n", "'speaker' and 'speaker_id' both"),
    "two labels": ("file,emotion,label\na.wav,sad,3\n", "'emotion' and 'label' both say the label"),
    "column twice": ("file,label,speaker,Speaker \na.wav,sad,anna,ben\n", "the column 'speaker' is there 2 times"),
    "two spellings": ("file,label\na.wav,Contempt\nb.wav,contempt\n", "'Contempt' and 'contempt' are one emotion"),
    "Git LFS": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is no list but a Git LFS pointer"),
    "no UTF-8": ("file,label\nä.wav,sad\n", "not UTF-8 text"),
    "no JSON": ("{", "line 1: not a JSON object"),
    "no object": ("[]", "expected a JSON object"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
@pytest.mark.filterwarnings("ignore:.*(ARE UNKNOWN|kept as it is):UserWarning")
def test_bad_lists(tmp_path: Path, case: str) -> None:
    text, message = BAD_LISTS[case]
    folder = write_clips(tmp_path / "own", "a", "b")
    name = "manifest.jsonl" if text.startswith(("{", "[")) else "manifest.csv"
    (folder / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_missing_files_of_a_list_are_named(tmp_path: Path) -> None:
    path = write_list(tmp_path / "own")
    (tmp_path / "own/b/1.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 file\(s\) that .*manifest\.csv lists do not exist: b/1\.wav"):
        load(path)
    edit(path, "a/1.wav", "a\\1.wav")
    with pytest.raises(FileNotFoundError, match=r"names a\\1\.wav\. Write / instead of \\ in paths"):
        load(path)


BAD_FOLDERS: dict[str, tuple[tuple[str, ...], type[Exception], str]] = {  # files in the folder, what is told
    "no audio": ((), FileNotFoundError, r"no list and no \.aif, .*\.wav, \.wave, .* file in"),
    "a table of Excel": (("a/b/1.wav", "metadata.xlsx"), ValueError, r"metadata\.xlsx .* Save it as metadata\.csv"),
    "a list in capitals": (("a/b/1.wav", "Manifest.CSV"), ValueError, r"Manifest\.CSV .* Rename it to manifest\.csv"),
    "loose clips": (("loose.wav",), ValueError, r"are in no folder of an emotion: loose\.wav"),
    "two lists": (("manifest.csv", "metadata.csv"), ValueError, "are all lists"),
    "splits": (("train/happy/1.wav", "test/sad/1.wav"), ValueError, r"test, train where emotions are expected"),
    "speakers first": (("anna/happy/1.wav", "ben/sad/1.wav"), ValueError, r"speaker/emotion/clip\.wav: emotions come"),
    "splits for speakers": (
        ("angry/train/anna/1.wav", "angry/test/anna/2.wav", "sad/dev/cleo/1.wav"),
        ValueError,
        "dev, test, train where speakers are expected",
    ),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folders(tmp_path: Path, case: str) -> None:
    files, error, message = BAD_FOLDERS[case]
    folder = tmp_path / "own"
    folder.mkdir()
    for file in files:
        write_clip(folder / file) if file.endswith(".wav") else (folder / file).touch()
    with pytest.raises(error, match=message):
        load(folder)


def test_no_list_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder was named"):
        load_corpus("recordings")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load(tmp_path / "none")
    with pytest.raises(ValueError, match=r"is no list; its name must end in \.csv"):
        load(write_clip(tmp_path / "own/loose.wav"))


@pytest.mark.parametrize("pattern", ["(", "s(\\d)"])
def test_bad_patterns(tmp_path: Path, pattern: str) -> None:
    write_clip(tmp_path / "own/angry/s1.wav")
    with pytest.raises(ValueError, match=re.escape(f"speaker_pattern {pattern!r} ")):
        load(tmp_path / "own", speaker_pattern=pattern)


def test_too_long_and_wrongly_labeled_files(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "own", "angry/anna/1", "angry/ben/1")
    soundfile.write(folder / "angry/anna/2.mp3", noise := np.random.default_rng(0).uniform(-0.5, 0.5, 32000), 16000)
    tagged = (folder / "angry/anna/2.mp3").read_bytes()  # without its tag its length would be estimated, and wrongly
    (folder / "angry/anna/2.mp3").write_bytes(tagged[tagged.find(tagged[:3], 4) :])
    assert load(folder)["duration"][1] == pytest.approx(len(noise) / 16000, abs=0.1)
    with pytest.raises(ValueError, match=r"1 audio file\(s\) cannot be used: .*2\.mp3: holds more than 1\.5 s"):
        load(folder, max_seconds=1.5)
    assert len(load(folder, max_seconds=None)) == 3


@pytest.mark.filterwarnings("error")
def test_every_format_that_can_be_decoded_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "own/angry/anna"
    samples, rate = soundfile.read(write_clip(folder / "1.wav"))
    names = ("1.wav", "2.mp3", "3.aiff", "4.au", "5.flac", "6.ogg")
    for name in names[1:]:
        soundfile.write(folder / name, samples, rate)
    rows = load(tmp_path / "own")
    assert rows["file"][:] == [f"angry/anna/{name}" for name in names]
    assert min(rows["duration"][:]) > 0


def test_files_that_cannot_be_read_are_left_out_only_if_asked(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "own", "angry/anna/1", "angry/ben/1")
    (folder / "angry" / "anna" / "2.wav").write_text("no sound")
    (folder / "angry" / "anna" / "3.wav").touch()
    with pytest.raises(ValueError, match=r"2 audio file\(s\) cannot be used: .*2\.wav: no audio file"):
        load(folder)
    for _ in range(2):  # built, then from the cache
        with pytest.warns(UserWarning, match=r"2 audio file\(s\) cannot be read and are left out: angry/anna/2\.wav"):
            rows = load(folder, skip_bad=True)
        assert rows["id"][:] == ["angry/anna/1", "angry/ben/1"]
    with pytest.raises(ValueError, match="cannot be used"):
        load(folder)
    for good in folder.rglob("1.wav"):
        good.write_text("no sound either")
    with pytest.raises(ValueError, match=r"4 audio file\(s\) cannot be used"):
        load(folder, skip_bad=True)


def test_names_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    lines = [("1.wav", "Angry", "Zo\u00eb", ""), ("2.wav", "sad", "Zoe\u0308", ""), ("3.wav", "sad", "Bo", "")]
    assert set(load(write_list(tmp_path / "own", lines=lines).parent)["speaker"][:]) == {"Zo\u00eb", "Bo"}


def test_an_empty_column_of_the_same_meaning_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file,label,speaker,speaker_id\na.wav,anger,anna,\n", encoding="utf-8")
    assert read_manifest(tmp_path / "metadata.csv")[0]["speaker"] == "anna"


@pytest.mark.parametrize("form", ["{}/alice/{}", "../alice/{1}", "../own/../alice/{1}"])
@pytest.mark.filterwarnings("ignore:.*outside of its folder:UserWarning")
def test_ids_name_no_folder_above_the_clips(tmp_path: Path, form: str) -> None:
    lines = [(form.format(tmp_path, file), *rest) for file, *rest in LINES]
    (tmp_path / "own").mkdir()
    rows = load(write_list(tmp_path / "own", lines=[*lines, ("in/../1.wav", "sad", "Anna", "f")]))
    assert rows["id"][:] == ["a/1", "a/2", "b/1", "b/2", "1"]


def test_formats_that_cannot_be_read_are_told_of(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "own/angry/anna/1.wav")
    clip.with_name("2.wma").touch()
    with pytest.warns(UserWarning, match=r"angry/anna/2\.wma, are in formats that cannot be read"):
        assert len(load(tmp_path / "own")) == 1
    clip.unlink()
    with pytest.raises(FileNotFoundError, match=r"angry/anna/2\.wma, are in formats that cannot be read"):
        load(tmp_path / "own")
