"""The page of app.py in a browser: what visitors do, each for themselves, by mouse, keyboard and microphone."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

pytest.importorskip("gradio", reason="Gradio is not installed: pip install 'modeling-ser[app]'")

from modeling_ser import SERPipeline
from tests.browser import chromium, opened
from tests.modeling_ser.small_pipeline import LABELS, write_clips
from tests.modeling_ser.test_windows import LONG
from tests.subprocess_tools import PROJECT_ROOT, offline_environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
PATIENCE = 60_000  # ms


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    soundfile.write(folder / "long.wav", np.resize(LONG, 40 * 16000), 16000)
    return [*write_clips(folder), folder / "long.wav"]


@pytest.fixture(scope="module")
def browser(clips: list[Path]) -> Iterator["Browser"]:
    heard = f"--use-file-for-fake-audio-capture={clips[-1]}"
    with chromium("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", heard) as browser:
        yield browser


@pytest.fixture(scope="module")
def url(browser: "Browser", classifier: SERPipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, in a process of its own; once it has ended nothing of what was uploaded is left."""
    folder = tmp_path_factory.mktemp("app")
    classifier.save_pretrained(folder / "model")
    (folder / "temporary").mkdir()
    environment = offline_environment(folder) | {"PYTHONPATH": str(PROJECT_ROOT), "SER_MODEL": str(folder / "model")}
    with socket.create_server(("127.0.0.1", 0)) as free:
        environment |= {"GRADIO_SERVER_PORT": str(free.getsockname()[1]), "TMPDIR": str(folder / "temporary")}
    command = [sys.executable, str(PROJECT_ROOT / "app.py")]
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.search(r"Serving at (http://127.0.0.1:\d+)", line)
            assert found, line
            yield found[1]
            assert any(path.is_file() for path in (folder / "temporary").glob("uploaded-*/*/*"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
            assert list((folder / "temporary").glob("uploaded-*")) == []
        finally:
            process.kill()


def upload(page: "Page", clip: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(clip)


def scores(page: "Page", name: str) -> dict[str, str]:
    """Wait for the table of a recording, and give the scores that it shows."""
    table = page.get_by_role("table").filter(has_text=name)
    table.wait_for(timeout=PATIENCE)
    cells = [row.get_by_role("cell").or_(row.get_by_role("rowheader")) for row in table.get_by_role("row").all()[1:]]
    return {row.nth(0).inner_text(): row.nth(1).inner_text() for row in cells}


def expected(classifier: SERPipeline, clip: Path) -> dict[str, str]:
    return {one["label"]: f"{one['score']:.3f}" for one in classifier(clip)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_recording_is_scored_shown_over_time_and_explained(
    browser: "Browser", url: str, classifier: SERPipeline, clips: list[Path], scheme: str
) -> None:
    with opened(browser, url, color_scheme=scheme) as page:
        upload(page, clips[0])
        assert scores(page, clips[0].name) == expected(classifier, clips[0])
        page.get_by_role("tab", name="Over time").click()
        page.get_by_role("img", name=re.compile("Waveform")).wait_for(timeout=PATIENCE)
        words = page.locator(".picture svg").first.evaluate("one => getComputedStyle(one).fill")
        assert words == page.locator("body").evaluate("one => getComputedStyle(one).color")  # letters of the picture
        page.get_by_role("tab", name="Why").click()
        page.get_by_role("button", name="Explain").click()
        page.get_by_role("img", name=re.compile("Spectrogram")).wait_for(timeout=PATIENCE)
        page.get_by_label("Clear").click()
        page.get_by_role("img", name=re.compile("Spectrogram")).wait_for(state="detached", timeout=PATIENCE)


def test_keys_are_enough(browser: "Browser", url: str, clips: list[Path]) -> None:
    def press(name: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            if name in page.evaluate("document.activeElement.innerText"):
                page.keyboard.press("Enter")
                return
        raise AssertionError(f"no key leads to {name}")

    with opened(browser, url) as page:
        page.get_by_role("tab", name="Why").wait_for(timeout=PATIENCE)
        with page.expect_file_chooser() as chooser:
            press("Upload")
        chooser.value.set_files(clips[0])
        scores(page, clips[0].name)
        press("Why")
        press("Explain")
        page.get_by_role("img", name=re.compile("Spectrogram")).wait_for(timeout=PATIENCE)


def test_what_is_no_sound_is_told_as_an_alert(browser: "Browser", url: str, tmp_path: Path) -> None:
    (tmp_path / "novel.wav").write_text("It was a dark and stormy night.")
    with opened(browser, url, may_say="Waveform load error") as page:  # by the player
        upload(page, tmp_path / "novel.wav")
        told = page.get_by_role("alert").filter(has_text="novel.wav")
        told.wait_for(timeout=PATIENCE)
        assert "app" not in told.inner_text()  # no folder of the server


def test_two_visitors_at_once_do_not_meet(
    browser: "Browser", url: str, classifier: SERPipeline, clips: list[Path]
) -> None:
    with opened(browser, url) as first, opened(browser, url) as second:
        upload(first, clips[0])
        upload(second, clips[4])
        assert scores(second, clips[4].name) == expected(classifier, clips[4])
        assert scores(first, clips[0].name) == expected(classifier, clips[0])
        first.get_by_role("tab", name="Adapt").click()
        first.locator("input[type=file]").last.set_input_files(clips[:5] * 2)
        first.get_by_label("They are of several emotions").check()
        first.get_by_role("button", name="Adapt", exact=True).click()
        first.get_by_role("status").filter(has_text="adapted to").wait_for(timeout=PATIENCE)
        first.get_by_role("tab", name="Emotions").click()
        adapted = classifier.adapt(clips[:5] * 2, check=False)
        first.get_by_role("table").filter(has_text="adapted to").wait_for(timeout=PATIENCE)
        assert scores(first, clips[0].name) == expected(adapted, clips[0]) != expected(classifier, clips[0])
        upload_again(second, clips[0])
        assert scores(second, clips[0].name) == expected(classifier, clips[0])


def upload_again(page: "Page", clip: Path) -> None:
    page.get_by_label("Clear").click()
    upload(page, clip)


def test_a_narrow_screen_is_not_left(browser: "Browser", url: str, clips: list[Path]) -> None:
    with opened(browser, url, viewport={"width": 360, "height": 740}, has_touch=True) as page:
        upload(page, clips[-1])
        page.get_by_text("Nobody speaks").wait_for(timeout=PATIENCE)  # what imitates speech here is none to silero-vad
        page.get_by_role("tab", name="Over time").click()
        page.get_by_label("Only where somebody speaks").uncheck()
        page.get_by_role("rowheader", name=re.compile("|".join(LABELS))).first.wait_for(timeout=PATIENCE)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_microphone_is_recorded(browser: "Browser", url: str) -> None:
    with opened(browser, url, permissions=["microphone"]) as page:
        page.get_by_label("Record audio").click()
        page.get_by_role("button", name="Record", exact=True).click()
        page.wait_for_timeout(1500)
        page.get_by_role("button", name="Stop", exact=True).click()
        found = scores(page, "audio.wav")
        assert np.isclose(sum(map(float, found.values())), 1, atol=0.01)
