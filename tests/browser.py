"""A headless Chromium for tests of pages: what a page asks of other machines, or complains of, fails its test."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = ("127.0.0.1", "localhost")


@contextmanager
def chromium(*flags: str) -> Iterator["Browser"]:
    """Start the system's Chromium, or skip the test where there is none; end it within the module that asks for it.

    While it runs, this thread has an event loop, and `asyncio.run` would fail.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium here; on Debian and Ubuntu: apt install chromium")
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="Chromium is driven by Playwright: pip install playwright"
    )
    with sync_api.sync_playwright() as playwright:
        # No sandbox: containers seldom permit one, and the pages are our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *flags])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: "Browser", url: str, may_say: str | None = None, **options: Any) -> Iterator["Page"]:
    """Open a page as somebody new; options are Playwright's, such as `color_scheme="dark"`.

    At the end nothing may have been asked of another machine, and the console may hold no error,
    but those that match `may_say`.
    """
    with browser.new_context(**options) as context:
        page = context.new_page()
        elsewhere: list[str] = []
        complaints: list[str] = []

        def request(asked: Any) -> None:
            parts = urlsplit(asked.url)
            if parts.scheme not in ("blob", "data") and parts.hostname not in HERE:
                elsewhere.append(asked.url)

        def message(said: Any) -> None:
            if said.type == "error" and not (may_say and re.search(may_say, said.text)):
                complaints.append(f"{said.text} ({said.location.get('url')})")

        page.on("request", request)
        page.on("console", message)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        yield page
        assert elsewhere == [], elsewhere
        assert complaints == [], complaints
