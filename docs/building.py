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
    "weights/emotions/modeling_ser_emotions/emotions/README.md",
    "speech_emotion/pretrained/deepspeech-small/README.md",
    "speech_emotion/pretrained/deepspeech-small/results.json",
)

HOME = {"README.md": "first-minute.md"}  # the site's own first page is docs/index.md


class HouseManners(griffe.Extension):
    """Lets griffe, which reads the code for the reference, understand it as it is written here."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Show the section "Example:" of a docstring as code: the plural alone is known."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n")

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Give a configuration the arguments that its fields make of it, as of a dataclass."""
        if any("PreTrainedConfig" in str(base) for base in cls.bases):
            fields = [field for field in cls.attributes.values() if field.annotation and field.value]
            kind = griffe.ParameterKind.keyword_only
            arguments = [
                griffe.Parameter(one.name, annotation=one.annotation, kind=kind, default=one.value) for one in fields
            ]
            cls.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(*arguments)))


def on_files(files: Files, config: Any) -> Files:
    """Add each of them at the place that it has in the project."""
    for path in sorted({path for pattern in OUTSIDE for path in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, HOME.get(name, name), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links, which hold in the checkout, to where pages of docs/ and of outside lie beside each other."""
    inside = Path(page.file.abs_src_path).is_relative_to(config.docs_dir)
    here = posixpath.join("docs" if inside else "", posixpath.dirname(page.file.src_uri))

    def moved(match: re.Match[str]) -> str:
        text, link, anchor = match.groups("")
        target = posixpath.normpath(posixpath.join(here, link)).removeprefix("docs/")
        if target.endswith(".py"):  # code is not in the site
            return f"`{text}`"
        target = os.path.relpath(HOME.get(target, target), posixpath.dirname(page.file.src_uri) or ".")
        return f"[{text}]({target}{anchor})"

    markdown = re.sub(r"^( +)(?=- )", r"\1\1", markdown, flags=re.MULTILINE)  # of lists in lists it wants 4 spaces
    return re.sub(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)", moved, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Keep options in running text whole: browsers end a line after a hyphen."""

    def whole(code: re.Match[str]) -> str:
        return re.sub(r"--\w[\w-]*", r'<span class="option">\g<0></span>', code[0])

    return re.sub(r"<code>[^<]*</code>", whole, html)
