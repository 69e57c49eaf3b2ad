"""Files written whole or not at all."""

from pathlib import Path

import pytest

from speech_emotion.files import write_jsonl, write_text


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.md").write_text("old")
    link = tmp_path / "notes.md"
    link.symlink_to(Path("kept", "notes.md"))
    assert write_text(link, "new") == link
    assert link.is_symlink() and (tmp_path / "kept" / "notes.md").read_text() == "new"


def test_what_fails_halfway_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [1, 2])
    with pytest.raises(TypeError):
        write_jsonl(path, [3, object()])
    assert path.read_text() == "1\n2\n" and list(tmp_path.iterdir()) == [path]
