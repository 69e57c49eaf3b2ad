"""Lists whose lines are parts of files, and what else their columns mean."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dataset_scripts import audit_corpus, load_corpus, make_builder, speaker_folds
from dataset_scripts.fold_checks import Fold, check_disjoint
from dataset_scripts.folds import unsafe_folds
from feature_extraction import load_audio
from tests.synthetic_corpora import load_from, write_clip

PEOPLE = ("anna", "ben", "cleo")


def own(folder: Path, text: str, name: str = "metadata.csv", seconds: float = 3.0, **kind: Any) -> Path:
    """Write three files, whose samples are their own, and a list."""
    for person in PEOPLE:
        write_clip(folder / f"{person}.wav", seconds, **kind)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def lines(header: str, *rows: str) -> str:
    return "\n".join([f"file,label,speaker,{header}", *rows]) + "\n"


PARTS = [  # the same parts as people and tools write them; the last goes to the end
    ("start,end", ("0.5,1.25", "1.25,2.0", "2,")),
    ("offset,duration", ("0.5,0.75", "1.25,.75", "2,1.0")),
    ("start (s),duration[s]", ("0.5,0.75", "1.25,.75", "2,1.0")),
    ("onset,offset", ("0.5,1.25", "1.25,2.0", "2,3.05")),
    ("Start Time,End-Time", ("0:00.5,0:01.25", "00:00:01.25,00:00:02", "0 days 00:00:02,")),
    ("begin,stop,duration", ("0.5,1.25,0.75", "1.25,2.0,0.75", "2,3,1")),
]


@pytest.mark.parametrize("header", [header for header, _ in PARTS])
@pytest.mark.filterwarnings("error")
def test_parts_of_files_are_cut_out(tmp_path: Path, header: str) -> None:
    times = dict(PARTS)[header]
    labels = ("angry", "sad", "calm")
    rows = [f"{who}.wav,{label},{who},{part}" for who in PEOPLE for label, part in zip(labels, times, strict=True)]
    folder = own(tmp_path / "own", lines(header, *rows), rate=44100, channels=2)
    clips = load_from(folder, "recordings")
    assert clips["id"][0] == "anna_0.500-1.250" and len(set(clips["id"])) == 9
    assert clips["label"][:3] == ["anger", "sadness", "calm"]
    assert (clips["start"][:3], clips["end"][:3]) == ([0.5, 1.25, 2.0], [1.25, 2.0, 3.0])
    assert clips["duration"][:3] == [0.75, 0.75, 1.0]
    whole = load_audio({"path": str(folder / "anna.wav")}, sampling_rate=44100)
    for clip, (start, end) in zip(clips, ((0.5, 1.25), (1.25, 2.0), (2.0, 3.0)), strict=False):
        part = load_audio(clip["audio"], sampling_rate=44100)
        np.testing.assert_array_equal(part, whole[round(start * 44100) : round(end * 44100)])
    streamed = load_corpus("recordings", folder, cache_dir=tmp_path / "other", streaming=True)
    assert [row["audio"]["bytes"] for row in streamed] == [row["audio"]["bytes"] for row in clips]
    assert len(speaker_folds(clips)) == 3  # each file is one speaker's


@pytest.mark.parametrize("names", [("left", "right"), ("A", "B"), ("0", "1")])
def test_channels_are_clips_of_their_own(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = [
        f"{who}.wav,{emo},{who}{name},{name}"
        for who in PEOPLE
        for emo, name in zip(("sad", "joy"), names, strict=True)
    ]
    folder = own(tmp_path / "own", lines("channel", *rows), channels=2)
    clips = load_from(folder, "recordings")
    assert clips["id"][:2] == ["anna_channel0", "anna_channel1"] and set(clips["session"]) == set(PEOPLE)
    stereo, _ = soundfile.read(folder / "anna.wav", dtype="float32")
    for clip, channel in zip(clips, stereo.T, strict=False):
        np.testing.assert_array_equal(load_audio(clip["audio"]), channel)


def test_parts_of_sixteen_bits_stay_so(tmp_path: Path) -> None:
    folder = own(tmp_path / "own", lines("start,end", "anna.wav,sad,anna,1,2"))
    (audio,) = load_from(folder, "recordings")["audio"]
    (tmp_path / "part.wav").write_bytes(audio["bytes"])
    assert soundfile.info(tmp_path / "part.wav").subtype == "PCM_16"


def test_whoever_speaks_in_one_file_is_in_one_session(tmp_path: Path) -> None:
    parts = ((1, "angry", 0), (1, "sad", 0.5), (2, "angry", 1), (2, "sad", 2))
    rows = [f"{file}.wav,{label},{file}{who},{at},{at + 0.5}" for file in PEOPLE for who, label, at in parts]
    clips = load_from(own(tmp_path / "own", lines("start,end", *rows)), "recordings")
    assert set(clips["session"]) == set(PEOPLE)
    for fold in speaker_folds(clips, "k-fold", k=3):
        assert len({clip.partition("_")[0] for clip in fold.test}) == 1
    ids = clips["id"][:]
    with pytest.raises(ValueError, match="the session 'anna' is in train"):
        check_disjoint(Fold(tuple(ids[:2]), tuple(ids[4:]), tuple(ids[2:4])), clips)


@pytest.mark.filterwarnings("ignore:.*SPEAKERS:UserWarning")
def test_a_file_is_in_one_split_even_where_speakers_are_not_looked_at(tmp_path: Path) -> None:
    parts = [
        f"{file}.wav,{label},,{at},{at + 1}" for file in PEOPLE for label, at in (("sad", 0), ("joy", 1), ("sad", 2))
    ]
    rows = load_from(own(tmp_path / "own", lines("start,end", *parts)), "recordings")
    rows = rows.map(lambda row: {"speaker": row["id"]})
    for fold in unsafe_folds(rows, 3):
        assert all(len({clip.partition("_")[0] for clip in ids}) == 1 for ids in fold.splits.values())
    ids = rows["id"][:]
    with pytest.raises(ValueError, match=r"the file 'anna\.wav' is in train.* and in validation"):
        check_disjoint(Fold(tuple(ids[:1]), tuple(ids[1:2]), tuple(ids[2:3])), rows, shares_speakers=True)


BAD: dict[str, tuple[str, str]] = {  # lines, and what is told
    "backwards": (
        lines("start,end", "anna.wav,sad,a,2,1"),
        "line 2: the part ends at 1 s, not after its start",
    ),
    "beyond": (
        lines("start,end", "anna.wav,sad,a,2,4"),
        r"line 2: the part from 2 s to 4 s is not in .* 3\.00 s",
    ),
    "samples": (
        lines("start,end", "anna.wav,sad,a,16000,32000"),
        "the part from 16000 s to 32000 s is not in",
    ),
    "milliseconds": (
        lines("start_ms,end_ms", "anna.wav,sad,a,0,900"),
        "'start_ms' is not heeded",
    ),
    "no time": (lines("start,end", "anna.wav,sad,a,now,1"), "line 2: the start is now, which is no time"),
    "negative": (lines("start,end", "anna.wav,sad,a,-1,1"), "the start is -1, which is no time"),
    "not finite": (lines("start,end", "anna.wav,sad,a,0,inf"), "the end is inf, which is no time"),
    "end alone": (lines("end", "anna.wav,sad,a,1"), "an end without a start"),
    "three that differ": (lines("start,end,duration", "anna.wav,sad,a,1,2,0.5"), r"from 1 s to 2 s are not 0\.5 s"),
    "length alone": (
        lines("duration", "anna.wav,sad,a,1.5"),
        r"the duration is 1\.5 s, but the file is 3\.00 s",
    ),
    "twice": (lines("start,end", "anna.wav,sad,a,1,2", "anna.wav,joy,a,1,2"), r"anna\.wav 2 times from 1 s"),
    "whole and part": (lines("start,end", "anna.wav,sad,a,1,2", "anna.wav,joy,a,,"), "whole and in parts"),
    "raters": (lines("rater", "anna.wav,sad,a,r1", "anna.wav,joy,a,r2"), "2 times, for several raters"),
    "annotators": (lines("Annotator", "anna.wav,sad,a,r1", "anna.wav,sad,a,r2"), "2 times, for several raters"),
    "labels": (
        '{"file": "anna.wav", "label": ["sad", "joy"]}',
        r"the label is \['sad', 'joy'\], several values",
    ),
    "votes": ('{"file": "anna.wav", "label": {"sad": 2}}', "line 1: the label is {'sad': 2}, several values"),
    "split": (
        lines("Split", "anna.wav,sad,a,train", "ben.wav,joy,b,test"),
        "column 'split' says test, train",
    ),
    "split under another name": (
        lines("Usage", "anna.wav,sad,a,Training", "ben.wav,joy,b,"),
        "the column 'usage' says Training, and is not",
    ),
    "split as a question": (
        lines("is_train", "anna.wav,sad,a,1", "ben.wav,joy,b,0"),
        "the column 'is_train' says 0, 1, and is not heeded",
    ),
    "Praat": (lines("xmin,xmax", "anna.wav,sad,a,2,1"), "line 2: the part ends at 1 s, not after its start"),
    "from and to": (lines("from,to", "anna.wav,sad,a,1,2"), "line 2: the column 'from' is not heeded"),
    "channel index": (lines("channel_index", "anna.wav,sad,a,1", "ben.wav,sad,b,1"), "no line 0, from which"),
    "crowd": (lines("WorkerId", "anna.wav,sad,a,r1", "anna.wav,joy,a,r2"), "2 times, for several raters"),
    "page": ("<!DOCTYPE html><html></html>", "is no list but an HTML page, .*; fetch the list itself"),
    "fold": (lines("fold", "anna.wav,sad,a,1", "ben.wav,joy,b,2"), "the column 'fold' says 1, 2, and is not heeded"),
    "channel count": (lines("channel", "anna.wav,sad,a,1", "ben.wav,sad,b,1"), "no line 0, from which .* are counted"),
    "no channel": (lines("channel", "anna.wav,sad,a,0", "ben.wav,sad,b,mid"), "line 3: the channel is mid"),
    "channel not there": (lines("channel", "anna.wav,sad,a,left", "anna.wav,sad,b,right"), "channel=1 was asked for"),
    "part of them tested": (
        lines("subset", "anna.wav,sad,a,", "ben.wav,joy,b,test"),
        "column 'subset' says test, and",
    ),
    "ELAN": (lines("Begin Time - ss.msec", "anna.wav,sad,a,1.5"), "'begin_time_ss.msec' is not heeded. If it says"),
    "frames": (lines("frame_offset", "anna.wav,sad,a,1600"), "column 'frame_offset' is not heeded"),
    "length in ms": (lines("start,duration_ms", "anna.wav,sad,a,1,500"), "column 'duration_ms' is not heeded"),
    "two sessions": (
        lines("start,end,session", "anna.wav,sad,a,1,2,x", "anna.wav,sad,b,2,3,y"),
        r"anna\.wav is in several sessions",
    ),
    "some channels": (lines("channel", "anna.wav,sad,a,", "anna.wav,sad,b,left"), "with channels and without"),
    "channel twice": (lines("channel", "anna.wav,sad,a,L", "anna.wav,sad,a,left"), r"anna\.wav 2 times\."),
    "id above": (lines("id", "anna.wav,sad,a,../x"), r"the id '\.\./x' is a path out of"),
    "absolute id": (lines("id", "anna.wav,sad,a,/home/x"), "the id '/home/x' is a path out of"),
    "Windows id": (lines("id", "anna.wav,sad,a,C:\\x"), r"is a path out of"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore:.*ARE UNKNOWN:UserWarning")
def test_what_columns_mean_is_heeded_or_refused(tmp_path: Path, case: str) -> None:
    text, message = BAD[case]
    folder = own(tmp_path / "own", text, "metadata.jsonl" if text.startswith("{") else "metadata.csv")
    with pytest.raises(ValueError, match=message):
        load_from(folder, "recordings")


@pytest.mark.parametrize(
    "text",
    [
        lines("duration", "anna.wav,sad,anna,3.0", "ben.wav,sad,ben,3"),
        lines("split,rater,channels", "anna.wav,sad,anna,train,r1,1", "ben.wav,sad,ben,train,r2,1"),
        lines("duration_ms,end_reason,started", "anna.wav,sad,anna,3000,hung up,1", "ben.wav,sad,ben,3000,-,2"),
        lines("start,end", "anna.wav,sad,anna,,", "ben.wav,sad,ben,,"),
        "wav,emo,spk_id\nanna.wav,sad,anna\nben.wav,sad,ben\n",
    ],
)
@pytest.mark.filterwarnings("error")
def test_columns_that_change_nothing_stand_in_no_way(tmp_path: Path, text: str) -> None:
    rows = load_from(own(tmp_path / "own", text), "recordings")
    assert (rows["id"][:], rows["speaker"][:], rows["start"][:]) == (["anna", "ben"], ["anna", "ben"], [None, None])


@pytest.mark.parametrize(("listed", "written"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_with_accents_are_found_however_these_are_written(tmp_path: Path, listed: str, written: str) -> None:
    clip = "Zoë/Übung.wav"
    write_clip(tmp_path / "own" / unicodedata.normalize(written, clip))
    text = unicodedata.normalize(listed, f"file,label,speaker\n{clip},sad,Zoë\n")
    (tmp_path / "own/metadata.csv").write_text(text, encoding="utf-8")
    (row,) = load_from(tmp_path / "own", "recordings")
    assert (row["id"], row["speaker"]) == ("Zoë/Übung", "Zoë")
    assert len(load_audio(row["audio"])) == 1600


def test_damaged_files_with_parts_are_named_or_left_out(tmp_path: Path) -> None:
    folder = own(tmp_path / "own", lines("start,end", "anna.wav,sad,a,1,2", "anna.wav,joy,a,0,1", "ben.wav,sad,b,1,2"))
    (folder / "anna.wav").write_bytes((folder / "anna.wav").read_bytes()[:50_000])
    with pytest.raises(ValueError, match=r"anna\.wav: truncated"):
        load_from(folder, "recordings")
    with pytest.warns(UserWarning, match=r"2 audio file\(s\) cannot be read and are left out: anna\.wav"):
        assert load_from(folder, "recordings", skip_bad=True)["id"][:] == ["ben_1.000-2.000"]


def test_an_audit_hears_the_parts(tmp_path: Path) -> None:
    folder = own(tmp_path / "own", lines("start,end", "anna.wav,sad,a,1,2", "anna.wav,joy,a,2,3", "ben.wav,sad,b,2,9"))
    findings = audit_corpus(make_builder("recordings", folder, cache_dir=tmp_path / "cache"))
    assert [one.clips for one in findings if one.kind == "unreadable"] == [("ben_2.000-9.000",)]
    assert not [one for one in findings if one.kind == "duplicate"]
