import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_scripts import load_fold
from dataset_scripts.command import main
from tests.subprocess_tools import PROJECT_ROOT
from tests.synthetic_corpora import load_from, write_clip, write_emodb

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """Words that name a corpus of 42 clips."""
    return words_for("emodb", write_emodb(tmp_path / "emodb"))


def words_for(corpus: str, folder: Path) -> list[str]:
    return [corpus, "--data_dir", str(folder), "--cache_dir", str(folder.parent / "cache")]


def test_list_by_the_module() -> None:
    command = [sys.executable, "-m", "dataset_scripts", "list"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert lines[2].split()[:4] == ["emodb", "535", "de", "EmoDB"]


def test_describe(place: list[str], capsys: Capture) -> None:
    assert main(["describe", *place]) == 0
    out, err = capsys.readouterr()
    assert "42 clips (0.00 h) of 3 speakers (2 women, 1 men)" in out
    assert "- A copy whose clips are cut to 2 s circulates." in out
    assert err.startswith("warning: EmoDB: there are 42 clips")
    assert main(["describe", *place, "--markdown"]) == 0
    assert "| 03 | 2 | 2 | 2 | 2 | 2 | 2 | 2 |" in capsys.readouterr().out


def test_check_tells_by_its_code(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "own"
    for emotion, speaker, take in itertools.product(("angry", "sad"), ("s1", "s2", "s3"), range(4)):
        write_clip(folder / emotion / speaker / f"{emotion}{speaker}{take}.wav")
    words = ["check", *words_for("recordings", folder)]
    assert main(words) == 0
    assert capsys.readouterr().out == "Own recordings: 24 clips decoded, 0 serious finding(s)\n"
    (folder / "angry/s2/angrys20.wav").write_bytes((folder / "angry/s1/angrys10.wav").read_bytes())
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "SERIOUS duplicate  angry/s1/angrys10, angry/s2/angrys20 are the same recording" in out
    assert err.endswith("24 clips decoded, 1 serious finding(s)\n")


def test_check_tells_what_a_reader_has_to_say_of_its_files(tmp_path: Path, capsys: Capture) -> None:
    for number, name in enumerate(("angry/s1", "contempt/s2", "sad/s3")):
        write_clip(tmp_path / "own" / f"{name}.wav", seconds=0.1 + 0.01 * number)
    assert main(["check", *words_for("recordings", tmp_path / "own")]) == 1
    out, err = capsys.readouterr()
    assert "SERIOUS speaker    The speakers of 3 clip(s) are unknown, no folds can be made: angry/s1" in out
    assert "note    builder    Own recordings: contempt is none of" in out and "1 serious finding(s)" in err


@pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
def test_folds(place: list[str], tmp_path: Path, capsys: Capture) -> None:
    words = ["folds", *place, "--labels", "angry", "sadness", "--output", str(tmp_path / "a/folds")]
    assert main(words) == 0
    files = sorted((tmp_path / "a/folds").iterdir())
    assert [path.name for path in files] == [f"leave-one-speaker-out-{n}.jsonl" for n in ("03", "08", "09")]
    assert "train 4, validation 4, test 4" in capsys.readouterr().out
    rows = load_from(tmp_path / "emodb", "emodb")
    rows = rows.filter(lambda label: label in ("anger", "sadness"), input_columns="label")
    assert len(load_fold(files[0], rows).test) == 4


def test_names_of_speakers_are_no_paths(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "own"
    lines = ["file,label,speaker"]
    for number, (emotion, speaker) in enumerate(itertools.product(("angry", "sad"), ("../../up", "a/b", "a:b"))):
        write_clip(folder / f"{number}.wav", seconds=0.1 + 0.01 * number)
        lines.append(f"{number}.wav,{emotion},{speaker}")
    (folder / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    assert main(["folds", *words_for("recordings", folder), "--output", str(tmp_path / "out/folds")]) == 0
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jsonl"))
    assert len(written) == 3 and all(name.startswith("folds/leave-one-speaker-out-") for name in written)
    assert all(name.count("/") == 1 and ":" not in name for name in written)


def test_export_and_describe_the_copy(place: list[str], tmp_path: Path, capsys: Capture) -> None:
    copy = str(tmp_path / "copy")
    assert main(["export", *place[:1], copy, *place[1:]]) == 0
    assert f'load_corpus("{copy}")' in capsys.readouterr().out
    assert main(["describe", copy, "--cache_dir", str(tmp_path / "cache")]) == 0
    assert "42 clips" in capsys.readouterr().out


def leaking(folder: Path) -> list[str]:
    wav = write_emodb(folder / "emodb", emotions="WL") / "wav"
    (wav / "03a01Wa.wav").write_bytes((wav / "08a01Wa.wav").read_bytes())
    return ["folds", *words_for("emodb", folder / "emodb"), "--output", str(folder / "folds")]


# Words, and what the one line of the error names.
ERRORS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "leaking": (leaking, "are the same recording"),
    "unknown label": (lambda folder: [*leaking(folder), "--labels", "joy"], "joy"),
    "unknown corpus": (lambda folder: ["check", "emo-db"], "'emo-db'. Did you mean 'emodb'?"),
    "missing folder": (lambda folder: ["check", "emodb", "--data_dir", "nowhere"], "nowhere"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_told_in_one_line(case: str, tmp_path: Path, capsys: Capture) -> None:
    words, named = ERRORS[case]
    assert main(words(tmp_path)) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning")]
    assert line.startswith("error: ") and named in line
    assert not (tmp_path / "folds").exists()
