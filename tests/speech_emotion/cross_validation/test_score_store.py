"""Scores on disk: fold files, packed files, what is damaged, and which of two counts."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from speech_emotion.cross_validation.score_store import FoldKey, FoldScores, find_fold, pack, read_fold_scores
from tests.full_disk import little_room
from tests.speech_emotion.cross_validation.simulated_scores import all_folds, fold_scores, save_all
from tests.subprocess_tools import PROJECT_ROOT, offline_environment, run_python

# Among them texts that are no ASCII, an empty value, and numbers that JSON writes as no number.
ABOUT = {"title": "Sprecher ä", "curve": [{"epoch": 1.0, "loss": 0.1 + 0.2}, {"loss": float("inf")}], "config": None}


def content(scores: FoldScores) -> tuple[object, ...]:
    """All that a fold holds, the scores bit for bit."""
    return scores.facts(), json.dumps(scores.about), scores.clips, scores.scores.dtype, scores.scores.tobytes()


@pytest.fixture
def entries() -> list[FoldScores]:
    two = ["anger", "neutral"]  # another condition has other emotions, and one fold of "toy" has fewer than the others
    kinds = [
        all_folds(seeds=(0, 10, 2), about=ABOUT),
        all_folds("model-2", seeds=(0,)),
        [fold_scores("few", labels=two)],
        [fold_scores("model-1", corpus="mine", labels=["a", "b", "c", "d"])],
    ]
    entries = [entry for kind in kinds for entry in kind]
    return sorted(entries, key=lambda entry: entry.key)


def test_packing_loses_nothing(entries: list[FoldScores], tmp_path: Path) -> None:
    save_all(reversed(entries), tmp_path / "folds")
    written = pack(tmp_path / "folds", tmp_path / "packed")
    assert [path.name for path in written] == ["mine.parquet", "toy.parquet", "runs.parquet"]
    packed = read_fold_scores(tmp_path / "packed")
    assert [content(one) for one in packed] == [content(one) for one in entries]
    for entry in entries:
        assert content(find_fold(entry.key, [tmp_path / "folds"])) == content(entry)
        assert content(find_fold(entry.key, [tmp_path, tmp_path / "packed"])) == content(entry)
    assert find_fold(FoldKey("toy", "model-1", 7, 0), [tmp_path / "folds", tmp_path / "packed"]) is None
    for choice in ({"condition": "toy"}, {"system": "model-2"}, {"condition": "mine", "system": "model-1"}):
        expected = [entry for entry in entries if choice.items() <= vars(entry.key).items()]
        assert [one.key for one in read_fold_scores(tmp_path / "packed", **choice)] == [one.key for one in expected]
    assert read_fold_scores(tmp_path / "nothing") == []
    with pytest.raises(ValueError, match="nothing has no finished folds"):
        pack(tmp_path / "nothing", tmp_path / "none")


def test_packing_is_repeatable_and_adds_to_what_is_packed(entries: list[FoldScores], tmp_path: Path) -> None:
    first, later = tmp_path / "first", tmp_path / "later"
    pack(save_all(entries, first), tmp_path / "whole")
    save_all(entries[::2], later)
    pack(later, tmp_path / "packed", remove=True)
    assert not any(later.iterdir())
    pack(save_all(entries[1::2], later), tmp_path / "packed")
    assert len(list(later.rglob("*.parquet"))) == len(entries) // 2  # kept, as nobody asked for their removal
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "packed" / path.name).read_bytes() == path.read_bytes()


def test_a_full_disk_leaves_what_was_packed_before(entries: list[FoldScores], tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    pack(save_all(entries[:1], tmp_path / "first"), packed)
    before = {path: path.read_bytes() for path in packed.iterdir()}
    later = save_all(entries, tmp_path / "later")
    sizes = [path.stat().st_size for path in pack(later, tmp_path / "whole")]
    for room in sorted({0, *(size - 1 for size in sizes)}):
        with little_room(room), pytest.raises(OSError, match=str(packed)):
            pack(later, packed)
        assert {path: path.read_bytes() for path in packed.iterdir()} == before
    with little_room(0), pytest.raises(OSError, match="seed-0_fold-0"):
        fold_scores().save(tmp_path / "fold")
    assert not [path for path in (tmp_path / "fold").rglob("*") if path.is_file()]


def test_the_first_folder_counts_and_a_file_before_what_is_packed(tmp_path: Path) -> None:
    old, new, newest = (fold_scores(about={"version": number}) for number in range(3))
    pack(save_all([old], tmp_path / "one"), tmp_path / "two", remove=True)
    save_all([new], tmp_path / "two")
    folders = [tmp_path / "one", tmp_path / "two"]
    assert [one.about["version"] for one in read_fold_scores(*folders)] == [1]
    save_all([newest], tmp_path / "one")
    assert [one.about["version"] for one in read_fold_scores(*folders)] == [2]
    assert find_fold(old.key, folders).about["version"] == 2
    pack(*folders)
    assert find_fold(old.key, folders[1:]).about["version"] == 1  # its own file lies there still


def test_damage_anywhere_is_told_with_the_name_of_the_file(tmp_path: Path) -> None:
    entries = all_folds(seeds=(0,), about=ABOUT)
    files, packed = save_all(entries, tmp_path / "files"), tmp_path / "packed"
    pack(files, packed)
    for path in (entries[0].key.path(files), packed / "toy.parquet", packed / "runs.parquet"):
        whole, refused = path.read_bytes(), 0
        changes = [whole[:-200]]
        changes += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 29)]
        for number, change in enumerate(changes):
            path.write_bytes(change)
            os.utime(path, ns=(number, number))  # a file that changed without a new time is taken for the one read
            try:
                read = read_fold_scores(path.parent if path.parent == packed else files)
            except ValueError as error:
                assert str(error).startswith(str(path))
                refused += 1
            else:  # what nobody reads, such as the statistics of a column, may be damaged
                assert [content(one) for one in read] == [content(one) for one in entries]
        assert refused > 50
        path.write_bytes(whole)
    with pytest.raises(FileNotFoundError):
        FoldScores.load(tmp_path / "absent.parquet")


def test_a_damaged_fold_is_looked_for_elsewhere_and_a_damaged_pack_is_an_error(tmp_path: Path) -> None:
    scores = fold_scores()
    path = scores.save(tmp_path / "files")
    path.write_bytes(path.read_bytes()[:-200])
    packed, *_ = pack(save_all([scores], tmp_path / "packed"), tmp_path / "packed", remove=True)
    with pytest.warns(UserWarning, match=f"{path.name} is damaged"):
        assert content(find_fold(scores.key, [tmp_path / "files", tmp_path / "packed"])) == content(scores)
    with pytest.warns(UserWarning, match=f"{path.name} is damaged"):
        assert find_fold(scores.key, [tmp_path / "files"]) is None
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(ValueError, match=packed.name):
        find_fold(scores.key, [tmp_path / "packed"])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_reading_leaves_no_thread_of_arrow_behind(tmp_path: Path) -> None:
    path = fold_scores().save(tmp_path)
    pack(tmp_path, tmp_path / "packed")
    code = f"""
        import os
        from speech_emotion.cross_validation.score_store import FoldScores, read_fold_scores
        before = len(os.listdir("/proc/self/task"))
        FoldScores.load({str(path)!r})
        read_fold_scores({str(tmp_path / "packed")!r})
        print(len(os.listdir("/proc/self/task")) - before)
    """
    done = run_python(code, env=offline_environment(tmp_path), cwd=tmp_path, with_project=True)
    assert done.stdout.strip() == "0"  # one that is alive at the end can abort the program


def test_a_fold_that_was_exchanged_is_noticed(tmp_path: Path) -> None:
    """A condition's file of another pack is readable, and not what the runs tell of."""
    pack(save_all([fold_scores()], tmp_path / "one"), tmp_path / "one")
    pack(save_all([fold_scores(quality=2.0)], tmp_path / "two"), tmp_path / "two")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for folder, name in (("one", "toy"), ("two", "runs")):
        (mixed / f"{name}.parquet").write_bytes((tmp_path / folder / f"{name}.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"toy.parquet is damaged .toy model-1 seed 0 fold 0"):
        read_fold_scores(mixed)
    (mixed / "toy.parquet").unlink()
    with pytest.raises(ValueError, match=r"toy.parquet"):
        read_fold_scores(mixed)


def test_the_scores_that_come_along_are_whole() -> None:
    folds = read_fold_scores(PROJECT_ROOT / "results")
    assert len(folds) == len({fold.key for fold in folds}) >= 1245
    assert all({"settings", "seconds", "curve"} <= set(fold.about) for fold in folds)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scores": [[0.5, 0.2], [0.5, 0.5]]}, "sum to 1"),
        ({"scores": [[np.nan, 1.0], [0.5, 0.5]]}, "finite"),
        ({"scores": [[0.5, 0.5]]}, "1 clips have scores"),
        ({"labels": ["anger", "joy"]}, "fear"),
    ],
)
def test_scores_that_cannot_be_are_refused(change: dict[str, object], named: str) -> None:
    clips = {name: ["a", "b"] for name in ("id", "split", "speaker", "sex", "sentence")} | {"label": ["anger", "fear"]}
    whole = {"labels": ["anger", "fear"], "scores": [[0.5, 0.5], [0.2, 0.8]]} | change
    with pytest.raises(ValueError, match=f"toy model-1 seed 0 fold 3.*{named}"):
        FoldScores("toy", "model-1", 0, 3, whole["labels"], clips, whole["scores"])
