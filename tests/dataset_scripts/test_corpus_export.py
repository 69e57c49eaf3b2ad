import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from dataset_scripts import export_corpus, load_corpus, push_corpus, speaker_folds
from dataset_scripts.emodb import EmoDB
from tests.hub.local_hub import LocalHub
from tests.subprocess_tools import PROJECT_ROOT, run_python, run_python_json
from tests.synthetic_corpora import load_from, write_ased, write_clip, write_emodb, write_iemocap, write_speechocean762

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")


@pytest.fixture
def emodb(tmp_path: Path) -> Path:
    """126 clips of 9 speakers, 3.3 kB each."""
    speakers = ("03", "08", "09", "10", "11", "12", "13", "14", "15")
    return write_emodb(tmp_path / "emodb", speakers)


def export(corpus: str, folder: Path, target: Path, **options: Any) -> Path:
    return export_corpus(corpus, target, folder, cache_dir=folder.parent / "cache", **options)


def load(name: str | Path, cache: Path, **options: Any) -> Any:
    return load_corpus(str(name), cache_dir=cache, **options)


def test_a_copy_stands_alone_and_has_the_same_rows(
    emodb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset_scripts.corpus_export.CLIPS_PER_GROUP", 10)
    rows = load_from(emodb, "emodb")
    folder = export("emodb", emodb, tmp_path / "copy")
    contents = {Path(path): Path(path).read_bytes() for path in (audio["path"] for audio in rows["audio"])}
    os.rename(emodb, tmp_path / "gone")
    copy = load(folder, tmp_path / "cache")
    assert copy.features == rows.features
    assert copy.features["audio"] == datasets.Audio(decode=False)
    for theirs, ours in zip(copy, rows, strict=True):
        path = ours.pop("audio")["path"]
        audio = theirs.pop("audio")
        assert theirs == ours
        assert audio == {"path": ours["file"], "bytes": contents[Path(path)]}
    assert (copy.info.license, copy.info.homepage) == (EmoDB.license, EmoDB.homepage)
    assert "Burkhardt" in copy.info.citation
    assert copy.info.description == rows.info.description
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    facts = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    assert set(facts) == {"description", "homepage", "license", "citation"}
    for path in folder.rglob("*.*"):
        assert str(tmp_path).encode() not in path.read_bytes()  # no folder of this machine is exported


@pytest.mark.parametrize("processes", [None, 2])
def test_streaming_is_complete_and_in_order(
    emodb: Path, tmp_path: Path, processes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dataset_scripts.corpus_export._shards", lambda builder, size: [(0, 50), (50, 100), (100, 126)]
    )
    rows = load_from(emodb, "emodb", num_proc=processes)
    folder = export("emodb", emodb, tmp_path / "copy")
    streamed = load(folder, tmp_path / "cache2", streaming=True)
    assert streamed.num_shards == 3
    assert [row["id"] for row in streamed] == rows["id"][:]
    assert all(row["audio"]["bytes"][:4] == b"RIFF" for row in streamed)
    assert not list((tmp_path / "cache2").rglob("*.arrow"))
    assert speaker_folds(streamed, "k-fold", k=3) == speaker_folds(rows, "k-fold", k=3)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_copy_that_names_files_in_place_of_sound_is_refused(emodb: Path, tmp_path: Path, streaming: bool) -> None:
    folder = export("emodb", emodb, tmp_path / "copy")
    (file,) = (folder / "data").iterdir()
    table = pq.read_table(file)
    sounds = table.column("audio").to_pylist()
    sounds[3] = {"bytes": None, "path": "/etc/passwd"}
    place = table.schema.get_field_index("audio")
    pq.write_table(table.set_column(place, table.field(place), [sounds]), file)
    named = table.column("id")[3].as_py()
    with pytest.raises(ValueError, match=f"holds no sound of its clip '{named}'"):
        list(load(folder, tmp_path / "cache2", streaming=streaming))


def test_shards_hold_as_much_as_asked_for_and_whole_clips(emodb: Path, tmp_path: Path) -> None:
    for number in range(1, 4):
        write_clip(emodb / f"wav/16a0{number if number != 3 else 5}Wa.wav", seconds=25)  # 0.8 MB
    folder = export("emodb", emodb, tmp_path / "copy", shard_megabytes=1)
    files = sorted((folder / "data").iterdir())
    assert [path.name for path in files] == [f"train-0000{n}-of-00004.parquet" for n in range(4)]
    assert sum(pq.read_metadata(path).num_rows for path in files) == 129
    assert pq.read_metadata(files[0]).num_rows > 1


@pytest.mark.parametrize(
    ("corpus", "config", "column", "value"),
    [
        ("iemocap", "improvised", "ratings", [{"rater": "E2", "labels": ["Anger"]}]),
        ("speechocean762", "test", "split", "test"),
    ],
)
def test_further_columns_and_configurations_travel(
    tmp_path: Path, corpus: str, config: str, column: str, value: Any
) -> None:
    folder = {"iemocap": write_iemocap, "speechocean762": write_speechocean762}[corpus](tmp_path / corpus)
    copy = load(export(corpus, folder, tmp_path / "copy", config=config), tmp_path / "cache")
    assert copy[0][column] == value or copy[0][column][:1] == value
    assert f"config_name: {config}" in (tmp_path / "copy/README.md").read_text()


def test_the_card_says_what_the_corpus_is_and_whether_it_may_be_shared(tmp_path: Path) -> None:
    export("ased", write_ased(tmp_path / "ased"), tmp_path / "copy")
    card = (tmp_path / "copy/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlanguage: am\nlicense: other\n")
    assert "**This copy must not be passed on**" in card
    assert "| anger | angry | 8 | 3 | 1 | 0 | 0.0 |" in card
    assert "- Five names carry the wrong sex" in card
    assert "https://doi.org/10.1145/3529759" in card


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_export_leaves_nothing(
    emodb: Path, tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset_scripts.corpus_export._shards", lambda builder, size: [(0, 50), (50, 126)])

    def interrupt(done: int, total: int) -> None:
        assert (done, total) == (50, 126)
        raise error

    with pytest.raises(error):
        export("emodb", emodb, tmp_path / "copy", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "emodb"]
    assert len(load(export("emodb", emodb, tmp_path / "copy"), tmp_path / "cache")) == 126


def test_what_cannot_be_exported(emodb: Path, tmp_path: Path) -> None:
    for target, error, options in (
        (tmp_path, FileExistsError, {}),
        (tmp_path / "a/b", FileNotFoundError, {}),
        (tmp_path / "copy", ValueError, {"shard_megabytes": 0}),
    ):
        with pytest.raises(error, match=f"{target.name}|positive"):
            export("emodb", emodb, target, **options)


def test_what_is_no_copy(emodb: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="takes neither data_dir nor config"):
        load_corpus("./copy", data_dir=emodb)
    for name in (emodb, "alice/nothing", "./nowhere"):  # the tests are offline
        with pytest.raises(FileNotFoundError, match=re.escape(str(name))):
            load(name, tmp_path / "cache")
    for content in ('{"a": 1}', "[]", "no JSON"):
        (emodb / "corpus.json").write_text(content)
        with pytest.raises(ValueError, match=rf"corpus\.json of {emodb}"):
            load(emodb, tmp_path / "cache")


@pytest.mark.parametrize("corpus", ["ased", "iemocap"])
def test_what_may_not_be_shared_is_not_pushed(tmp_path: Path, corpus: str) -> None:
    folder = {"ased": write_ased, "iemocap": write_iemocap}[corpus](tmp_path / corpus)
    with pytest.raises(PermissionError, match="may not be put on the Hub, not even privately: its licence"):
        push_corpus(corpus, "alice/secret", folder, cache_dir=tmp_path / "cache")


def listed(folder: Path, form: str) -> Path:
    """Two recordings, of which one lies elsewhere, in a list that says where or by a link."""
    secret, inside = write_clip(folder / "private/secret.wav"), write_clip(folder / "own/ben.wav", seconds=2)
    lines = ["file,label,speaker", f"{form.format(secret)},sad,anna", f"{inside.name},joy,ben"]
    (folder / "own/link.wav").symlink_to(secret)
    (folder / "own/metadata.csv").write_text("\n".join(lines))
    return folder / "own"


@pytest.mark.parametrize("form", ["{}", "../private/secret.wav", "link.wav"])
@pytest.mark.filterwarnings("ignore:.*outside of its folder:UserWarning")
def test_what_lies_elsewhere_is_copied_only_if_that_is_said(tmp_path: Path, form: str) -> None:
    folder, name = listed(tmp_path, form), ("link" if form == "link.wav" else "secret")
    for copy in (export, lambda *given: push_corpus("recordings", "alice/own", folder, cache_dir=tmp_path / "cache")):
        with pytest.raises(PermissionError, match=rf"1 file\(s\) lie outside of .*own: .*{name}\.wav.*--copy_outside"):
            copy("recordings", folder, tmp_path / "copy")
    rows = load(export("recordings", folder, tmp_path / "copy", copy_outside=True), tmp_path / "cache")
    assert (rows["id"][:], rows["file"][:]) == ([name, "ben"], [f"{name}.wav", "ben.wav"])
    assert [audio["path"] for audio in rows["audio"]] == [f"{name}.wav", "ben.wav"]
    for path in (tmp_path / "copy").rglob("*.*"):
        assert str(tmp_path).encode() not in path.read_bytes()


def test_a_copy_of_parts_holds_the_parts_only(tmp_path: Path) -> None:
    write_clip(tmp_path / "own/talk.wav", seconds=20)
    lines = ["file,label,speaker,start,end", "talk.wav,sad,anna,1,2", "talk.wav,joy,ben,3,5"]
    (tmp_path / "own/metadata.csv").write_text("\n".join(lines))
    rows = load_from(tmp_path / "own", "recordings")
    copy = load(export("recordings", tmp_path / "own", tmp_path / "copy"), tmp_path / "cache")
    assert copy[:] == rows[:]
    assert [len(audio["bytes"]) for audio in copy["audio"]] == [44 + 32_000, 44 + 64_000]


PUSH = """
import json
from dataset_scripts import push_corpus
commit = push_corpus("{corpus}", "{repo}", "{folder}", cache_dir="cache", {options})
print(json.dumps(commit))
"""
LOAD = """
import json
from dataset_scripts import load_corpus, speaker_folds
for missing in ("alice/none", "alice/emodb@v9"):
    try:
        load_corpus(missing)
    except FileNotFoundError as error:
        assert f"no data set {{missing.partition('@')[0]}} on the Hub" in str(error), error
    else:
        raise AssertionError(missing)
rows = load_corpus("{name}", cache_dir="cache2", streaming={streaming})
answer = {{
    "ids": [row["id"] for row in rows],
    "bytes": sum(len(row["audio"]["bytes"]) for row in rows),
    "tests": [fold.test for fold in speaker_folds(rows)],
    "license": rows.info.license,
}}
print(json.dumps(answer))
"""


def run(code: str, hub: LocalHub, folder: Path, home: str = "home") -> Any:
    return run_python_json(code, env=hub.env(folder / home), cwd=folder, with_project=True)


def test_pushed_and_loaded_by_a_machine_without_the_corpus(local_hub: LocalHub, emodb: Path, tmp_path: Path) -> None:
    code = PUSH.format(corpus="emodb", repo="alice/emodb", folder=emodb, options="private=False")
    commit = run(code, local_hub, tmp_path, "one")
    files = local_hub.files("alice/emodb", kind="dataset")
    assert set(files) - {".gitattributes"} == {"README.md", "corpus.json", "data/train-00000-of-00001.parquet"}
    assert [c.oid for c in local_hub.commits("alice/emodb", kind="dataset")] == [commit]
    rows = load_from(emodb, "emodb")
    expected = {
        "ids": rows["id"][:],
        "bytes": sum(Path(audio["path"]).stat().st_size for audio in rows["audio"]),
        "tests": [list(fold.test) for fold in speaker_folds(rows)],
        "license": EmoDB.license,
    }
    os.rename(emodb, tmp_path / "gone")
    for home, name, streaming in (("two", "alice/emodb", False), ("three", f"alice/emodb@{commit}", True)):
        assert run(LOAD.format(name=name, streaming=streaming), local_hub, tmp_path, home) == expected


def test_pushed_with_permission_again_and_in_fewer_files(local_hub: LocalHub, tmp_path: Path) -> None:
    folder = write_ased(tmp_path / "ased")
    write_clip(folder / "01Neutral/n1-02-01-01-09.wav", seconds=40)
    code = PUSH.format(corpus="ased", repo="alice/ased", folder=folder, options="i_have_permission=True, {}")
    for size, files in ((1, 3), (256, 1)):
        env = local_hub.env(tmp_path / "home")
        del env["HF_HUB_DISABLE_PROGRESS_BARS"]  # as users have it
        done = run_python(code.format(f"shard_megabytes={size}"), env=env, cwd=tmp_path, with_project=True)
        assert "B/s" not in done.stderr and "it/s" not in done.stderr
        names = [name for name in local_hub.files("alice/ased", kind="dataset") if name.endswith(".parquet")]
        assert len(names) == files


KILLED = """
import os, signal, sys
from dataset_scripts import load_corpus
from dataset_scripts.emodb import EmoDB

def die(self, shards):
    for row in shards[0]:
        yield row["id"], row
    os.kill(os.getpid(), signal.SIGKILL)

if "die" in sys.argv:
    EmoDB._generate_examples = die
print(len(load_corpus("emodb", sys.argv[1], cache_dir=sys.argv[2])))
"""


def test_a_killed_build_is_made_good_by_the_next(emodb: Path, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-c", KILLED, str(emodb), str(tmp_path / "cache"), *words]
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}, capture_output=True, text=True, check=False
        )

    assert run("die").returncode == -signal.SIGKILL
    done = run()
    assert (done.stdout, done.returncode) == ("126\n", 0)
    assert not list((tmp_path / "cache").rglob("*.incomplete"))


def test_a_copy_without_the_bad_files_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    for speaker in ("anna", "ben"):
        write_clip(folder / "angry" / speaker / "1.wav")
    (folder / "angry" / "anna" / "2.wav").write_text("no sound")
    with pytest.warns(UserWarning, match="left out"):
        copy = export("recordings", folder, tmp_path / "copy", skip_bad=True)
    assert load(copy, tmp_path / "cache")["id"][:] == ["angry/anna/1", "angry/ben/1"]
