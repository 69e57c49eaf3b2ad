"""`ser predict --output FOLDER/`: each clip once, whatever ends the processes that score; the scores are the same."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from speech_emotion.cli.main import main as ser
from speech_emotion.inference import clip_scores
from speech_emotion.inference.score_archive import RECORD, Share
from tests.hub.local_hub import LocalHub
from tests.modeling_ser.small_pipeline import CLIPS, LABELS, small_classifier, write_clips
from tests.subprocess_tools import offline_environment, run_python, run_python_json

SCORES = [f"score_{label}" for label in LABELS]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    for part in small_classifier():
        part.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Five clips, and one that is none, in two folders."""
    for folder in ("anna", "ben"):
        (tmp_path / "clips" / folder).mkdir(parents=True)
    for number, file in enumerate(write_clips(tmp_path / "clips")):
        file.rename(tmp_path / "clips" / ("anna", "ben")[number % 2] / file.name)
    (tmp_path / "clips" / "anna" / "bad.wav").write_text("no sound")
    return tmp_path / "clips"


# Processes are forks of one that has imported everything, so that many of them can be killed in little time.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from speech_emotion.cli.main import main

torch.set_num_threads(1)
clips, model = sys.argv[1:]

def score(folder):
    return main(["predict", clips, "--model", model, "--output", folder, "--files-per-part", "7"])

def start(rank, processes, die_in_writing=False):
    if pid := os.fork():
        return pid
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes)}
    if die_in_writing:
        os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
    os._exit(score("shared/"))

def parts():
    return len(list(Path("shared").glob("part-*")))

assert score("alone/") == 0
whole = len(list(Path("alone").glob("part-*")))
# In the midst of writing: first the record of the run, then a part.
assert os.waitpid(start(0, 1, die_in_writing=True), 0)[1] == signal.SIGKILL and parts() == 0
ends = []
random.seed(0)
for more in (1, 9, 20):
    children = [start(0, 2), start(1, 2)]
    while parts() < more:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.02))
    for child in children:
        os.kill(child, signal.SIGKILL)
        ends.append(os.waitpid(child, 0)[1])
    ends.append(os.waitpid(start(0, 1, die_in_writing=True), 0)[1])
assert signal.SIGKILL in ends and set(ends) <= {0, signal.SIGKILL}  # 0: where a slow machine let it end before
children = [start(rank, 3) for rank in range(3)]
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0] and parts() == whole
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks, which this system does not have")
def test_what_is_killed_again_and_again_is_made_good(model: str, tmp_path: Path) -> None:
    for number in range(300):
        file = tmp_path / "clips" / f"{number % 10}" / f"{number}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        clip = list(CLIPS.values())[number % 5]
        soundfile.write(file, clip[: len(clip) - number], 16000)
    run_python(
        f"import sys; sys.argv[1:] = ['clips', {model!r}]\n{KILLED}",
        env=offline_environment(tmp_path / "home") | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        with_project=True,
    )
    alone, shared = (pandas.read_parquet(tmp_path / name) for name in ("alone", "shared"))
    assert sorted(shared["file"]) == sorted(f"clips/{number % 10}/{number}.wav" for number in range(300))
    pandas.testing.assert_frame_equal(alone, shared, rtol=0, atol=1e-6)


def test_rows_are_those_of_the_other_forms_and_say_what_is_wrong_with_a_clip(
    model: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(clips), "--model", model, "--output"]
    assert ser([*words, f"{tmp_path}/parts/", "--files-per-part", "4"]) == 0
    out = capsys.readouterr().out
    assert (
        "part 1 of 2: 4 rows, of which 1 say what is wrong, the first: " in out and "holds 2 of 2 parts: all." in out
    )
    assert ser([*words, str(tmp_path / "a.csv"), "--skip-bad"]) == 0
    found, expected = pandas.read_parquet(tmp_path / "parts"), pandas.read_csv(tmp_path / "a.csv")
    assert found["part"].tolist() == [0, 0, 0, 0, 1, 1] and found["row"].tolist() == [0, 1, 2, 3, 0, 1]
    bad = found["error"].notna()
    assert (
        found["file"][bad].tolist() == [str(clips / "anna" / "bad.wav")] and "no sound" in found["error"][bad].item()
    )
    assert found[bad][["seconds", "prediction", *SCORES]].isna().all(axis=None)
    good = found[~bad].reset_index(drop=True)
    assert good["seconds"].tolist() == [len(CLIPS[Path(name).stem]) / 16000 for name in good["file"]]
    good.columns = good.columns.str.removeprefix("score_")
    pandas.testing.assert_frame_equal(good[list(expected)], expected, check_dtype=False, rtol=0, atol=1e-6)
    rows = datasets.load_dataset("parquet", data_dir=str(tmp_path / "parts"), cache_dir=str(tmp_path / "cache"))
    assert rows["train"]["file"][:] == found["file"].tolist()


def test_of_timelines_there_is_a_row_for_each_window(model: str, clips: Path, tmp_path: Path) -> None:
    words = ["predict", str(clips), "--model", model, "--timeline", "--window", "0.3", "--hop", "0.2", "--output"]
    assert ser([*words, f"{tmp_path}/parts/"]) == 0 and ser([*words, f"{tmp_path}/a.jsonl", "--skip-bad"]) == 0
    table = pq.read_table(tmp_path / "parts")
    found = [row for row in table.to_pylist() if row["error"] is None]
    expected = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(table) == len(found) + 1 and len(found) == len(expected) > len(CLIPS)
    for row, other in zip(found, expected, strict=True):
        for ours, theirs in (("file", "file"), ("span", "part"), ("prediction", "prediction")):
            assert row[ours] == other[theirs]
        assert (row["start"], row["end"]) == pytest.approx((other["start"], other["end"]), abs=1e-3)
        assert [row[name] for name in SCORES] == pytest.approx([other["scores"][label] for label in LABELS], abs=2e-6)


def test_of_a_model_of_values_there_is_no_prediction_and_no_timeline(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, extractor = small_classifier()
    network.config.problem_type = "regression"
    for part in (network, extractor):
        part.save_pretrained(tmp_path / "model")
    words = ["predict", str(clips), "--model", str(tmp_path / "model"), "--output", f"{tmp_path}/parts/"]
    assert ser([*words, "--timeline"]) == 1 and not (tmp_path / "parts").exists()
    assert "--timeline tells emotions, and this model gives values" in capsys.readouterr().err
    assert ser(words) == 0
    table = pandas.read_parquet(tmp_path / "parts")
    assert (
        list(table) == ["part", "row", "file", "error", "seconds", *SCORES] and table[SCORES].notna().sum().eq(5).all()
    )


def test_a_folder_is_of_one_run(model: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--model", model, "--output", f"{tmp_path}/parts/", str(clips)]
    assert ser(words) == 0 and ser(words) == 0
    assert "0 rows in 0 part(s)" in capsys.readouterr().out
    other = tmp_path / "other"
    network, extractor = small_classifier()
    network.config.temperature = 2.0
    for part in (network, extractor):
        part.save_pretrained(other)
    before = {file.name: file.read_bytes() for file in (tmp_path / "parts").iterdir()}
    for more, what in (
        (["--model", str(other)], "model.sha256"),
        (["--max-seconds", "9"], "settings.max_seconds is 3600.0 there and 9.0 here"),
        (["--timeline"], "settings.timeline"),
        (["--files-per-part", "2"], "clips.files_per_part is 1000 there and 2 here"),
        ([str(clips / "anna")], "clips.files is 6 there and 10 here"),
    ):
        assert ser([*words, *more]) == 1
        error = capsys.readouterr().err
        assert "parts holds scores of another run: " in error and what in error
    assert {file.name: file.read_bytes() for file in (tmp_path / "parts").iterdir()} == before
    (tmp_path / "parts" / RECORD).write_text("{")
    assert ser(words) == 1 and "is damaged" in capsys.readouterr().err


def test_a_disk_that_is_gone_is_no_fault_of_the_clips(
    model: str, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(classifier: Any, source: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(source))

    words = ["predict", "--model", model, "--output", f"{tmp_path}/parts/", str(clips)]
    with monkeypatch.context() as patch:
        patch.setattr(clip_scores, "waveform_of", gone)
        assert ser(words) == 1
    assert "Input/output error" in capsys.readouterr().err and not list((tmp_path / "parts").glob("*.parquet"))
    assert ser(words) == 0 and len(pq.read_table(tmp_path / "parts")) == 6


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{clips}", "--output", "{clips}"], "is a folder that holds other things"),
        (["{clips}", "--output", "{clips}/anna/bad.wav/"], "bad.wav is a file; give the scores a folder"),
        (["--dataset", "./nowhere", "--output", "parts/"], "no folder ./nowhere, and it is no id of a data set"),
        (["{clips}", "--output", "parts"], "ends in .csv or .jsonl or /"),
        (["{clips}", "--output", "parts/", "--strict"], "--strict is not of scores that are written into a folder"),
        (["{clips}", "--output", "parts/", "--adapt", "all"], "--adapt is not of scores"),
        (["{clips}", "--files-per-part", "3"], "--files-per-part is of files whose scores are written into a folder"),
        (["{clips}", "--split", "test"], "--split is of a --dataset"),
        (["{clips}", "--dataset", "you/clips"], "or in their place a --dataset"),
        (["--dataset", "you/clips"], "--output scores/"),
        ([], "name audio files, or folders of them"),
    ],
)
def test_what_does_not_go_together_is_told_before_the_work(
    words: list[str], told: str, clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clips.parent)
    assert ser(["predict", "--model", "you/model", *(word.format(clips=clips) for word in words)]) == 1
    assert told in capsys.readouterr().err and not Path("parts").exists()


def test_which_process_it_is_the_launcher_says() -> None:
    step = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}
    torchrun = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    assert Share.of(step) == Share(3, 4, 1) and Share.of(step | torchrun) == Share(1, 2, 0)
    assert Share.of({}) == Share(0, 1, None) == Share.of({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"})  # no step of srun
    assert Share.of({"RANK": "1", "WORLD_SIZE": "2"}) == Share(1, 2, None)  # set by hand
    for wrong in ({"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "-1", "WORLD_SIZE": "2"}, {"RANK": "", "WORLD_SIZE": ""}):
        with pytest.raises(ValueError, match="which process is this"):
            Share.of(wrong)


def write_dataset(folder: Path, sound: Callable[[str, int], Any], **more: Any) -> Path:
    """Write two data files of three rows each."""
    features = datasets.Features({"id": datasets.Value("int64"), "voice": datasets.Audio(), **more})
    (folder / "data").mkdir(parents=True)
    for number in range(2):
        rows = [{"id": place, "voice": sound(f"{number}{place}.wav", 3 * number + place)} for place in range(3)]
        table = pa.Table.from_pylist(rows, features.arrow_schema)
        pq.write_table(table, folder / "data" / f"train-{number:05}-of-00002.parquet", row_group_size=2)
    return folder


def test_a_data_set_is_streamed_file_by_file_from_the_hub(
    model: str, clips: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    files = sorted(clips.rglob("*.wav"))

    def sound(name: str, place: int) -> dict[str, Any]:
        if name == "01.wav":  # a file of whoever loads it
            return {"bytes": None, "path": str(files[0])}
        return {"bytes": files[place].read_bytes(), "path": name}

    folder = write_dataset(tmp_path / "made", sound)
    code = f"""
    import json, os
    from huggingface_hub import HfApi
    from speech_emotion.cli.main import main
    repo = {{"repo_id": "alice/calls", "repo_type": "dataset"}}
    HfApi().create_repo(**repo)
    commit = HfApi().upload_folder(**repo, folder_path={str(folder)!r}).oid
    words = ["predict", "--dataset", f"alice/calls@{{commit}}", "--model", {model!r}, "--output", "scores/"]
    codes = []
    for rank in "01":
        os.environ |= {{"RANK": rank, "WORLD_SIZE": "2"}}
        codes.append(main(words))
    # The newest commit is that one, as long as there is none after it.
    codes.append(main([word.partition("@")[0] for word in words]))
    HfApi().upload_file(**repo, path_or_fileobj=b"", path_in_repo="data/train-1.parquet")
    codes.append(main([word.partition("@")[0] for word in words]))
    print(json.dumps(codes))
    """
    codes = run_python_json(code, env=local_hub.env(tmp_path / "home"), cwd=tmp_path, with_project=True)
    assert codes == [0, 0, 0, 1]
    found = pandas.read_parquet(tmp_path / "scores")
    assert found["file"].tolist()[::2] == ["00.wav", "02.wav", "11.wav"] and found["part"].tolist() == [
        0,
        0,
        0,
        1,
        1,
        1,
    ]
    assert found["error"].notna().tolist() == [files[place].name == "bad.wav" or place == 1 for place in range(6)]
    assert ser(["predict", str(clips), "--model", model, "--output", f"{tmp_path}/files/"]) == 0
    same = found["error"].isna()
    for name in SCORES:
        expected = pandas.read_parquet(tmp_path / "files")[name][same]
        assert found[name][same].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "has several columns of sounds, voice, echo; name one, with --column"),
        (["--split", "test"], "has no split test; its splits are train"),
        (["--column", "speech"], "has no column speech; its columns are id, voice, echo"),
    ],
)
def test_what_a_data_set_lacks_is_told(
    more: list[str], told: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(tmp_path / "made", lambda name, place: {"bytes": b"", "path": name}, echo=datasets.Audio())
    assert ser(["predict", "--dataset", str(folder), "--model", model, "--output", f"{tmp_path}/parts/", *more]) == 1
    assert told in capsys.readouterr().err and not (tmp_path / "parts").exists()
