"""The page of web/ in a browser: Python's scores, for files and the microphone, and nothing asked of elsewhere."""

import csv
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from speech_emotion.inference.onnx_model import onnx_pipeline
from speech_emotion.inference.timeline import timeline_of
from tests.browser import chromium, opened
from tests.synthetic import speech_like

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from modeling_ser import SERPipeline

pytestmark = pytest.mark.slow
BUILT = Path(__file__).parents[1] / "web" / "dist"
RATE = 16000
MINUTES = 300_000  # ms


class Quiet(SimpleHTTPRequestHandler):
    """Serves files as `python -m http.server` does, and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if not (BUILT / "model.onnx").is_file():
        pytest.skip("web/dist holds no page; build it: make page")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(BUILT))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that the browser's microphone hears."""
    file = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    soundfile.write(file, speech_like(seconds=3, seed=9), RATE)
    return file


@pytest.fixture(scope="module")
def browser(url: str, recording: Path) -> "Iterator[Browser]":
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with chromium(*flags, f"--use-file-for-fake-audio-capture={recording}") as browser:
        yield browser


@pytest.fixture(scope="module")
def classifier(url: str) -> "SERPipeline":
    return onnx_pipeline(BUILT)


def scored(page: "Page") -> list[dict[str, str]]:
    """Wait for the scores, and save them."""
    page.locator("#result").wait_for(timeout=MINUTES)
    with page.expect_download() as download:
        page.click("#save")
    with open(download.value.path(), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sounds() -> dict[str, np.ndarray]:
    """Clips, (samples,) or (samples, channels): short, with a course, longer than a graph reads, of two channels."""
    speech = speech_like(seconds=33, seed=3)
    two = np.stack([speech[:40000], -0.9 * speech[:40000]], axis=1)  # whose average is next to nothing
    return {"short": speech[:38001], "course": speech[:131072], "long": speech, "apart": two}


@pytest.mark.filterwarnings("ignore:.*opposite phase")
@pytest.mark.parametrize("name", list(sounds()))
def test_scores_are_pythons(
    browser: "Browser", url: str, classifier: "SERPipeline", tmp_path: Path, name: str
) -> None:
    file = tmp_path / f"{name}, a recording.wav"
    soundfile.write(file, sounds()[name], RATE)
    with opened(browser, url) as page:
        page.set_input_files("#file", file)
        whole, *windows = scored(page)
        best = page.locator("#scores tbody tr").first.inner_text().split()
        assert page.locator("#timeline").is_visible() == bool(windows)
    labels = list(classifier.model.config.label2id)
    assert set(whole) == {"file", "part", "start", "end", "prediction", *labels}
    assert whole["file"] == file.name and whole["part"] == "whole" and best[0] == whole["prediction"]
    timeline = timeline_of(classifier, file)
    clip = {one["label"]: one["score"] for one in classifier(str(file))}
    summary = dict(zip(timeline.labels, timeline.summary, strict=True)) if name == "long" else clip
    for label, score in summary.items():
        assert float(whole[label]) == pytest.approx(score, abs=1e-4)
    expected = timeline if name in ("course", "long") else None
    assert len(windows) == (len(expected.windows) if expected else 0)
    for place, window in enumerate(windows):
        assert [float(window["start"]), float(window["end"])] == pytest.approx(expected.windows[place], abs=1e-3)
        found = [float(window[label]) for label in expected.labels]
        assert found == pytest.approx(expected.scores[place], abs=1e-4)


def test_the_microphone_is_heard(browser: "Browser", url: str) -> None:
    with opened(browser, url, permissions=["microphone"]) as page:
        page.get_by_role("button", name="Record").click()
        page.get_by_role("button", name="Stop recording, 0:02").click(timeout=30_000)
        whole, *_ = scored(page)
        assert whole["file"] == "recording" and 1.5 < float(whole["end"]) < 5


def test_scoring_can_be_stopped(browser: "Browser", url: str, tmp_path: Path) -> None:
    for name in ("long", "short"):
        soundfile.write(tmp_path / f"{name}.wav", sounds()[name], RATE)
    with opened(browser, url) as page:
        page.set_input_files("#file", tmp_path / "long.wav")
        page.get_by_role("button", name="Stop scoring").click()
        assert page.get_by_role("status").inner_text() == "Stopped." and page.locator("#progress").is_hidden()
        page.set_input_files("#file", tmp_path / "short.wav")
        assert scored(page)[0]["file"] == "short.wav" and page.get_by_role("button", name="Stop scoring").is_hidden()


def test_what_is_no_sound_is_told_and_the_next_file_is_scored(browser: "Browser", url: str, tmp_path: Path) -> None:
    (tmp_path / "page.wav").write_text("<html>")
    soundfile.write(tmp_path / "clip.wav", sounds()["short"], RATE)
    with opened(browser, url) as page:
        page.set_input_files("#file", tmp_path / "page.wav")
        error = page.get_by_role("alert").filter(has_text="page.wav is no sound")
        error.wait_for(timeout=MINUTES)
        assert page.locator("#result").is_hidden()
        page.set_input_files("#file", tmp_path / "clip.wav")
        assert scored(page)[0]["file"] == "clip.wav" and page.locator("#error").text_content() == ""
        page.set_input_files("#graph", tmp_path / "page.wav")
        page.set_input_files("#file", tmp_path / "clip.wav")
        page.get_by_role("alert").filter(has_text="no graph that ser export onnx wrote").wait_for(timeout=MINUTES)


def test_it_works_by_the_keyboard_on_a_narrow_screen(browser: "Browser", url: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / f"{'a_long_name_' * 9}.wav", sounds()["course"][:131001], RATE)
    with opened(browser, url, viewport={"width": 320, "height": 640}) as page:
        page.keyboard.press("Tab")
        page.set_input_files(":focus", next(tmp_path.iterdir()))
        scored(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.locator("#runs button").last.focus()
        page.keyboard.press("Enter")
        moved = "sound => new Promise(done => { if (sound.currentTime > 0) done(); else sound.onseeked = done; })"
        page.locator("#sound").evaluate(moved)
        for width in range(330, 380):  # at each the picture is drawn anew, and the console tells what cannot be
            page.set_viewport_size({"width": width, "height": 640})
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
