import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dataset_scripts import Finding, audit_corpus, describe_corpus, make_builder
from dataset_scripts.emodb import EmoDB
from tests.synthetic_corpora import load_from, write_clip, write_emodb, write_iemocap, write_tess

pytestmark = [
    pytest.mark.filterwarnings("error::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*published are:UserWarning"),
]
FIRST = "03a01Wa"


@pytest.fixture
def emodb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """8 clips, which are taken for all that were published, 0.1 s each."""
    folder = write_emodb(tmp_path / "emodb", speakers=("03", "08"), texts=("a01",), emotions="WLNF")
    monkeypatch.setattr(EmoDB, "published", {"W": 2, "L": 2, "N": 2, "F": 2})
    monkeypatch.setattr(EmoDB, "published_speakers", 2)
    lengths = {path.stem: 0.1 for path in folder.rglob("*.wav")}
    monkeypatch.setattr(EmoDB, "expected_clips", lambda self: dict(lengths))
    return folder


def audit(folder: Path, name: str = "emodb", kind: str | None = None) -> list[Finding]:
    findings = audit_corpus(make_builder(name, folder, cache_dir=folder.parent / "cache"))
    return [finding for finding in findings if kind in (None, finding.kind)]


def wave(samples: np.ndarray) -> Callable[[Path], object]:
    return lambda clip: soundfile.write(clip, samples, 16000)


def copy_of(name: str) -> Callable[[Path], object]:
    return lambda clip: clip.write_bytes(clip.with_name(f"{name}.wav").read_bytes())


# What happens to the first clip, the kind of finding, whether it is serious, and what is named.
DAMAGES: dict[str, tuple[Callable[[Path], object], str, bool, str]] = {
    "cut": (lambda clip: write_clip(clip, seconds=0.04), "length", True, r"03a01Wa 0\.04 s instead of 0\.10"),
    "truncated": (lambda clip: clip.write_bytes(clip.read_bytes()[:-1000]), "unreadable", True, "03a01Wa.*truncated"),
    "cut a little": (lambda clip: clip.write_bytes(clip.read_bytes()[:-100]), "odd", False, r"03a01Wa\.wav: 3\.1 ms"),
    "text": (lambda clip: clip.write_text("none"), "unreadable", True, r"03a01Wa\.wav: no audio file"),
    "silent": (wave(np.full(1600, 0.0005)), "silent", True, "03a01Wa"),
    "digitally silent": (wave(np.zeros(1600)), "silent", True, "03a01Wa"),
    "clipped": (wave(np.clip(3 * np.sin(np.arange(1600) / 5), -1, 1)), "clipped", False, "03a01Wa"),
    "resampled": (lambda clip: write_clip(clip, rate=8000), "rate", False, "usual 16000: 03a01Wa 8000"),
    "stereo": (lambda clip: write_clip(clip, channels=2), "channels", False, "usual 1: 03a01Wa 2"),
    "missing": (lambda clip: clip.unlink(), "count", True, "W 1 instead of 2"),
    "of another speaker": (copy_of("08a01Wa"), "duplicate", True, "03a01Wa, 08a01Wa .* differ in speaker,"),
    "of another label": (copy_of("03a01La"), "duplicate", True, "03a01La, 03a01Wa .* differ in label,"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_kind_of_damage_is_found(emodb: Path, damage: str) -> None:
    make, kind, serious, message = DAMAGES[damage]
    assert audit(emodb) == []
    make(emodb / "wav" / f"{FIRST}.wav")
    findings = audit(emodb)
    assert {(finding.kind, finding.serious) for finding in findings} == {(kind, serious)}
    assert re.search(message, findings[0].message)


def test_a_repetition_of_the_same_speaker_and_label_is_only_worth_knowing(emodb: Path) -> None:
    copy_of(FIRST)(emodb / "wav/03a01Wb.wav")
    (duplicate,) = audit(emodb, kind="duplicate")
    assert (duplicate.serious, duplicate.clips) == (False, ("03a01Wa", "03a01Wb"))


PEOPLE = ("anna", "ben", "cara")


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        ({"angry/anna": 12, "sad/anna": 12}, [("speaker", True, "1 speaker(s), anna; a training wants at least 3")]),
        ({f"angry/{name}": 4 for name in PEOPLE}, [("label", True, "of one emotion, anger")]),
        (
            {f"{emotion}/{name}": count for emotion, count in (("angry", 4), ("calm", 2)) for name in PEOPLE}
            | {"sad/anna": 6, "sad/ben": 6},
            [("label", True, "sadness there are clips of anna and ben only"), ("label", False, "6 clips of calm: ")],
        ),
        ({f"{emotion}/{name}": 4 for emotion in ("angry", "sad") for name in PEOPLE}, []),
    ],
    ids=["one speaker", "one emotion", "rare emotions", "enough"],
)
def test_own_recordings_that_are_too_few_are_told(
    tmp_path: Path, clips: dict[str, int], expected: list[tuple[str, bool, str]]
) -> None:
    own, lengths = tmp_path / "own", itertools.count(1)
    for folder, count in clips.items():
        for number in range(count):  # no two alike
            write_clip(own / folder / f"{number}.wav", seconds=0.1 + next(lengths) / 1000)
    findings = audit(own, "recordings")
    assert [(one.kind, one.serious) for one in findings] == [(kind, serious) for kind, serious, _ in expected]
    for finding, (_, _, message) in zip(findings, expected, strict=True):
        assert message in finding.message


def test_lengths_unlike_the_others_are_told(tmp_path: Path) -> None:
    for number in range(12):
        write_clip(tmp_path / f"own/angry/anna/{number}.wav", seconds=1 + number / 10)
    assert audit(tmp_path / "own", "recordings", "length") == []
    write_clip(tmp_path / "own/angry/anna/a.wav", seconds=30)
    write_clip(tmp_path / "own/angry/anna/b.wav", seconds=0.05)
    longer, shorter = audit(tmp_path / "own", "recordings", "length")
    assert "1 clip(s) are far longer than the others" in longer.message and "angry/anna/a 30.00 s" in longer.message
    assert shorter.clips == ("angry/anna/b",) and not shorter.serious


def test_the_odd_rate_in_tess_is_told(tmp_path: Path) -> None:
    assert [one.clips for one in audit(write_tess(tmp_path / "tess"), "tess", "rate")] == [("OAF_back_ps",)]


def test_iemocap_is_compared_with_the_lengths_in_its_evaluations(tmp_path: Path) -> None:
    folder = write_iemocap(tmp_path / "iemocap")
    assert not audit(folder, "iemocap", "length")
    write_clip(folder / "Session1/sentences/wav/Ses01F_impro08b/Ses01F_impro08b_F000.wav", seconds=0.3)
    (finding,) = audit(folder, "iemocap", "length")
    assert finding.clips == ("Ses01F_impro08b_F000",)


def test_rates_other_than_published_are_told(emodb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmoDB, "published_rate", 48_000)
    (finding,) = audit(emodb)
    assert (finding.kind, finding.serious) == ("rate", False)
    assert re.search("16000 Hz.*48000 Hz", finding.message)


def test_a_clip_that_is_published_without_sound_is_told_and_not_serious(
    emodb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmoDB, "known_silent", (FIRST,))
    wave(np.zeros(1600))(emodb / "wav" / f"{FIRST}.wav")
    (finding,) = audit(emodb, kind="silent")
    assert (finding.serious, finding.clips) == (False, (FIRST,))


def test_description_counts_women_men_and_sentences(emodb: Path) -> None:
    rows = load_from(emodb, "emodb")
    report = describe_corpus(rows)
    assert report.clips_of.loc["03"].to_dict() == dict.fromkeys(("anger", "boredom", "happiness", "neutral"), 1)
    text = report.as_markdown()
    assert text.startswith("8 clips (0.00 h) of 2 speakers (1 women, 1 men). Lengths: 0.10 to 0.10 s")
    assert " 1 different sentences." in text and "| anger | W | 2 | 1 | 1 | 0 | 0.0 |" in text
    assert describe_corpus(rows.to_iterable_dataset()).as_markdown() == text


def test_description_of_unknown_speakers() -> None:
    row = dict.fromkeys(("label", "native_label", "speaker", "sex", "sentence")) | {"duration": 2.0}
    text = describe_corpus([row]).as_text()
    assert "(none)" in text and "1 clips are unknown" in text
    with pytest.raises(ValueError, match="no rows to describe"):
        describe_corpus([])
