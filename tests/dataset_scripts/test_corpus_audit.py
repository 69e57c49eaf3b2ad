import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dataset_scripts import Finding, audit_corpus, describe_corpus, load_corpus, make_builder
from dataset_scripts.emodb import EmoDB
from dataset_scripts.ravdess import RAVDESS
from tests.synthetic_corpora import write_clip, write_emodb, write_iemocap, write_tess

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
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


def audit(folder: Path, name: str = "emodb") -> list[Finding]:
    return audit_corpus(make_builder(name, folder, cache_dir=folder.parent / "cache"))


def clip(folder: Path, name: str = FIRST) -> Path:
    return folder / "wav" / f"{name}.wav"


def test_a_whole_corpus_has_no_findings(emodb: Path) -> None:
    assert audit(emodb) == []


def cut(folder: Path) -> None:
    write_clip(clip(folder), seconds=0.04)


def truncated(folder: Path) -> None:
    clip(folder).write_bytes(clip(folder).read_bytes()[:-1000])


def text(folder: Path) -> None:
    clip(folder).write_text("no audio")


def silent(folder: Path) -> None:
    soundfile.write(clip(folder), np.full(1600, 0.0005), 16000)


def digitally_silent(folder: Path) -> None:
    soundfile.write(clip(folder), np.zeros(1600), 16000)


def clipped(folder: Path) -> None:
    soundfile.write(clip(folder), np.clip(3 * np.sin(np.arange(1600) / 5), -1, 1), 16000)


def resampled(folder: Path) -> None:
    write_clip(clip(folder), rate=8000)


def stereo(folder: Path) -> None:
    write_clip(clip(folder), channels=2)


def missing(folder: Path) -> None:
    clip(folder).unlink()


def copy_of_other_speaker(folder: Path) -> None:
    clip(folder).write_bytes(clip(folder, "08a01Wa").read_bytes())


def copy_of_other_label(folder: Path) -> None:
    clip(folder).write_bytes(clip(folder, "03a01La").read_bytes())


@pytest.mark.parametrize(
    ("damage", "kind", "serious", "message"),
    [
        (
            cut,
            "length",
            True,
            r"1 clip\(s\) have not their published length, 1 of .* 03a01Wa 0\.04 s instead of 0\.10",
        ),
        (truncated, "unreadable", True, r"03a01Wa cannot be decoded: .*truncated"),
        (text, "unreadable", True, r"03a01Wa cannot be decoded: .*03a01Wa\.wav: no audio file"),
        (silent, "silent", True, r"1 clip\(s\) are silent: 03a01Wa"),
        (digitally_silent, "silent", True, r"1 clip\(s\) are silent: 03a01Wa"),
        (clipped, "clipped", False, r"1 clip\(s\) are clipped at full scale: 03a01Wa"),
        (resampled, "rate", False, r"another number of Hz than the usual 16000: 03a01Wa 8000"),
        (stereo, "channels", False, r"another number of channels than the usual 1: 03a01Wa 2"),
        (missing, "count", True, r"W 1 instead of 2"),
        (
            copy_of_other_speaker,
            "duplicate",
            True,
            r"03a01Wa, 08a01Wa are the same recording; they differ in speaker,",
        ),
        (copy_of_other_label, "duplicate", True, r"03a01La, 03a01Wa are the same recording; they differ in label,"),
    ],
)
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
def test_each_kind_of_damage_is_found(
    emodb: Path, damage: Callable[[Path], None], kind: str, serious: bool, message: str
) -> None:
    damage(emodb)
    findings = audit(emodb)
    assert {finding.kind for finding in findings} == {kind}
    assert {finding.serious for finding in findings} == {serious}
    assert re.search(message, findings[0].message)


def test_a_repetition_of_the_same_speaker_and_label_is_only_worth_knowing(emodb: Path) -> None:
    clip(emodb, "03a01Wb").write_bytes(clip(emodb).read_bytes())
    (duplicate,) = [finding for finding in audit(emodb) if finding.kind == "duplicate"]
    assert not duplicate.serious
    assert duplicate.clips == ("03a01Wa", "03a01Wb")


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        ({"angry/anna": 12, "sad/anna": 12}, [("speaker", True, "There are 1 speaker(s), anna; a training wants at")]),
        (
            {"angry/anna": 4, "angry/ben": 4, "angry/cara": 4},
            [("label", True, "All clips are of one emotion, anger: add others.")],
        ),
        (
            {
                **{f"angry/{name}": 4 for name in ("anna", "ben", "cara")},
                **{f"calm/{name}": 2 for name in ("anna", "ben", "cara")},
                **{f"sad/{name}": 6 for name in ("anna", "ben")},
            },
            [
                ("label", True, "Of sadness there are clips of anna and ben only: where they"),
                ("label", False, "There are only 6 clips of calm: "),
            ],
        ),
        ({f"{emotion}/{name}": 4 for emotion in ("angry", "sad") for name in ("anna", "ben", "cara")}, []),
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
        assert finding.message.startswith(message)


def test_the_odd_rate_in_tess_is_told(tmp_path: Path) -> None:
    rates = [finding for finding in audit(write_tess(tmp_path / "tess"), "tess") if finding.kind == "rate"]
    assert [finding.clips for finding in rates] == [("OAF_back_ps",)]


def test_iemocap_is_compared_with_the_lengths_in_its_evaluations(tmp_path: Path) -> None:
    folder = write_iemocap(tmp_path / "iemocap")
    assert not [finding for finding in audit(folder, "iemocap") if finding.kind == "length"]
    write_clip(folder / "Session1/sentences/wav/Ses01F_impro08b/Ses01F_impro08b_F000.wav", seconds=0.3)
    (finding,) = [finding for finding in audit(folder, "iemocap") if finding.kind == "length"]
    assert finding.clips == ("Ses01F_impro08b_F000",)


def test_rates_other_than_published_are_told(emodb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataset_scripts.emodb.EmoDB.published_rate", RAVDESS.published_rate)
    (finding,) = audit(emodb)
    assert finding.message == "Clips are stored at 16000 Hz; they were published at 48000 Hz."


def test_description_counts_women_men_and_sentences(emodb: Path) -> None:
    rows = load_corpus("emodb", emodb, cache_dir=emodb.parent / "cache")
    report = describe_corpus(rows)
    assert [(r.label, r.clips, r.women, r.men) for r in report.classes] == [
        ("anger", 2, 1, 1), ("boredom", 2, 1, 1), ("happiness", 2, 1, 1), ("neutral", 2, 1, 1),
    ]  # fmt: skip
    assert (report.total.clips, report.sentences, report.unknown_speakers) == (8, 1, 0)
    assert report.clips_of["03"] == {"anger": 1, "boredom": 1, "happiness": 1, "neutral": 1}
    assert report.seconds == pytest.approx((0.1,) * 5)
    assert "| anger | W | 2 | 1 | 1 | 0 | 0.0 |" in report.as_markdown()
    assert describe_corpus(rows.to_iterable_dataset()) == report


def test_description_of_unknown_speakers() -> None:
    row = {"label": None, "native_label": None, "speaker": None, "sex": None, "sentence": None, "duration": 2.0}
    report = describe_corpus([row])
    assert "The speakers of 1 clips are unknown" in report.as_text()
    assert report.classes[0].label == "(none)"
    with pytest.raises(ValueError, match="no rows to describe"):
        describe_corpus([])


def test_a_clip_that_is_published_without_sound_is_told_and_not_serious(
    emodb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmoDB, "known_silent", (FIRST,))
    digitally_silent(emodb)
    (finding,) = [one for one in audit(emodb) if one.kind == "silent"]
    assert not finding.serious and finding.message.endswith(
        f"{FIRST} is silent, as it is published; leave it out of a training."
    )
