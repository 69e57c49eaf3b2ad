"""A corpus as a data set on the Hub."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from .corpus_export import export_corpus
from .registry import make_builder


def push_corpus(
    name: str,
    repo_id: str,
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    private: bool = True,
    i_have_permission: bool = False,
    token: str | None = None,
    shard_megabytes: int = 256,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> str:
    """Put a corpus on the Hub, in one commit; ``load_corpus(repo_id)`` then loads it anywhere, also streamed."""
    corpus = make_builder(name, data_dir, config, cache_dir, **options)
    if not corpus.may_be_shared and not i_have_permission:
        raise PermissionError(
            f"{corpus.title} may not be put on the Hub, not even privately: its licence is {corpus.license!r}. "
            "`export_corpus` makes the same copy for your own machines. If its authors allowed this one, say so with "
            "i_have_permission"
        )
    with tempfile.TemporaryDirectory(prefix="ser-export-") as work:
        folder = export_corpus(
            name, Path(work, "copy"), data_dir, config, cache_dir, shard_megabytes, progress, **options
        )
        api = HfApi(token=token)
        api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        if private and not api.dataset_info(repo_id).private:  # it was there before
            raise PermissionError(
                f"{repo_id} exists and everyone can see it. Make it private first, take another name, or say that all "
                "may see it (private=False, on a command line --public)"
            )
        commit = api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=folder,
            commit_message=f"{corpus.title}, {len(corpus.clips)} clips",
            delete_patterns="data/*.parquet",  # a copy in fewer files must not leave some of the last one's
        )
    return commit.oid
