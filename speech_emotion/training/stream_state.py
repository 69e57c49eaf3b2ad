"""What tells one state of a shared copy of a corpus from another."""

from pathlib import Path

from huggingface_hub import HfApi


def stream_state(name: str) -> str:
    """Identify the content of a copy that will be streamed, so that features computed from it can be found again.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     before = stream_state(folder)
    ...     _ = Path(folder, "clips.parquet").write_bytes(b"")
    ...     before == stream_state(folder)
    False
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
    repo_id, _, revision = name.partition("@")
    return f"{repo_id}@{HfApi().dataset_info(repo_id, revision=revision or None).sha}"


__all__ = ["stream_state"]
