"""README and docs: their code runs, the site builds without a warning, and the first minute is short."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.documented_code import PAGES, ROOT, blocks
from tests.hub.local_hub import LocalHub
from tests.subprocess_tools import offline_environment, run_command

NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


@pytest.fixture(scope="module")
def failed(local_hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What failed of each page, "" for nothing."""
    folder = tmp_path_factory.mktemp("documented")
    environment = local_hub.env(folder / "home", user="you")
    path = f"{ROOT}:{ROOT / 'weights/emotions'}"
    environment |= {"PYTHONPATH": path, "SER_DATA_DIR": str(folder / "data"), "MPLBACKEND": "Agg"}
    run_command([sys.executable, "-m", "tests.documented_code", str(folder)], env=environment, cwd=ROOT, timeout=900)
    return json.loads((folder / "failed.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name in NAMES if any(block.language for block in blocks(ROOT / name))])
def test_the_code_of_a_page_runs(failed: dict[str, str], name: str) -> None:
    assert failed[name] == ""


def test_every_block_is_run_or_says_why_not() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^ *```", text, re.M)) == 2 * len(blocks(page)), page
        assert text.count("<!-- not run:") == sum(block.why is not None for block in blocks(page)), page
        for block in blocks(page):
            assert block.language in ("", "python", "sh"), f"{page}: {block.language}"
            assert block.language or not re.match(r"(ser|python|pip|from|import) ", block.code), (
                f"{page}: {block.code}"
            )


def test_the_first_minute_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 9 * 1024


def test_the_site_builds_without_a_warning_and_all_that_it_asks_for_is_in_it(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    environment = offline_environment(tmp_path) | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    built = run_command(command, env=environment, cwd=ROOT, timeout=300)
    assert built.stdout + built.stderr == ""
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(?:https?:)?//[^"]*"', text) == [], page
        links = re.findall(r'(?:href|src)="(?!\w+:|#|/)([^"#?]+)', text)
        assert [link for link in links if not (page.parent / link).exists()] == [], page
