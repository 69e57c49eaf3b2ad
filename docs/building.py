"""What `mkdocs.yml` hooks in: pages that lie outside of docs/, and examples in docstrings."""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "CITATION.cff",
    "benchmarks/RESULTS.md",
    "reproduction/HISTORY.md",
    "results/**/*.md",
    "results/**/*.png",
    "speech_emotion/pretrained/deepspeech-small/README.md",
    "speech_emotion/pretrained/deepspeech-small/results.json",
)


class Examples(griffe.Extension):
    """Lets griffe, which knows the plural only, show the section "Example:" of a docstring as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of each object that is found."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n")


def on_files(files: Files, config: Any) -> Files:
    """Add each of them at the place that it has in the project."""
    for path in sorted({path for pattern in OUTSIDE for path in ROOT.glob(pattern)}):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links, which hold in the checkout, to where pages of docs/ and of outside lie beside each other."""
    inside = Path(page.file.abs_src_path).is_relative_to(config.docs_dir)
    here = posixpath.join("docs" if inside else "", posixpath.dirname(page.file.src_uri))

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, match[1])).removeprefix("docs/")
        return f"]({os.path.relpath(target, posixpath.dirname(page.file.src_uri) or '.')}"

    return re.sub(r"\]\((?!\w+:|#)([^)#\s]+)", moved, markdown)
