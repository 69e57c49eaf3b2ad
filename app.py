"""A page, or a Space of the Hub: record or upload speech, and see which emotions are heard in it, when, and why.

`python app.py` serves it on this machine; docs/guides/app.md tells how it becomes a Space. What the page shows is
computed by functions of what they are given, so nothing of one visitor comes to another; a model that was adapted or
fetched is in the state of a visitor's session, and what was uploaded is deleted after half an hour.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported; the page asks for nothing from elsewhere

import gradio as gr
import jinja2

from feature_extraction.safe_text import printable
from speech_emotion.cli.command import mendable, run_guarded
from speech_emotion.cli.explain import told
from speech_emotion.evaluation.figures import page_picture
from speech_emotion.evaluation.figures_timeline import area_styles, clock
from speech_emotion.pretrained.shipped_model import EMOTIONS

if TYPE_CHECKING:
    from modeling_ser import SERPipeline

MODEL, REVISION = os.environ.get("SER_MODEL", EMOTIONS), os.environ.get("SER_REVISION")
BYTES, SECONDS = 50_000_000, 600.0  # of a file, and of its sound
CLIP = 30.0  # s; what is longer has the mean of its windows
MODEL_BYTES = 3_000_000_000  # of a visitor's own model
CLIPS = 50  # that a visitor's model is adapted to, at most
AT_ONCE, WAITING = 2, 32  # visitors that are computed for, and that wait
CLEANED, KEPT = 300, 1800  # s: how often files are looked for that are older than the latter

THEME = gr.themes.Default(
    primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(  # what can be read on its ground
    body_text_color_subdued="*neutral_600",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
)
ABOUT = """# Which emotions are in a voice?
Record somebody, or upload a recording of ten minutes at most. It is scored on this page's own server, told to nobody,
and deleted after half an hour."""
FILES = jinja2.PackageLoader("speech_emotion.cli", ".")
PAGE = jinja2.Environment(loader=FILES, autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
PAGE.filters["printable"], PAGE.globals["clock"] = printable, clock
SAYS: Any = PAGE.get_template("web_page.html.j2").module  # a function for each thing that is shown


@dataclass(frozen=True)
class Chosen:
    """The model that a visitor uses, and its name."""

    classifier: "SERPipeline"
    name: str


def alert(error: Exception, files: Sequence[str] = ()) -> str:
    """Say what went wrong, without the server's own folders; what is a mistake of ours goes to the log."""
    text = mendable(error)
    if text is None:
        raise error
    for file in files:
        text = text.replace(str(Path(file).parent) + os.sep, "")
    return SAYS.alert(text)


@cache
def default() -> Chosen:
    """Load the model that is used if nothing else is said."""
    name = Path(MODEL).name if Path(MODEL).is_dir() else MODEL  # a folder is not told to visitors
    return Chosen(_pipeline(MODEL, REVISION, None), name)


@lru_cache(maxsize=2)
def of_hub(name: str, revision: str) -> Chosen:
    """Fetch a visitor's model with nobody's rights; this library's code reads its weights, and its own is not run."""
    from huggingface_hub import model_info

    files = model_info(name, revision=revision, files_metadata=True, token=False).siblings or []
    if (size := sum(file.size or 0 for file in files)) > MODEL_BYTES:
        raise ValueError(f"{name} has {size / 1e9:.1f} GB, and {MODEL_BYTES / 1e9:g} are the limit here.")
    return Chosen(_pipeline(name, revision, False), f"{name} at {revision[:7]}")


def _pipeline(name: str, revision: str | None, token: bool | None) -> "SERPipeline":
    from speech_emotion.inference.saved_model import load_saved

    model, extractor = load_saved(name, revision, token)
    return model.as_pipeline(extractor, max_seconds=SECONDS)


def decoded(classifier: "SERPipeline", file: str, most: float | None = None) -> tuple[dict[str, Any], float]:
    """Read a file: the sound as the pipeline takes it, and how many seconds it is."""
    if not Path(file).is_file():
        raise FileNotFoundError("This file was deleted after half an hour. Upload it again.")
    rate = classifier.feature_extractor.sampling_rate
    samples = classifier.feature_extractor.load_audio(file, max_seconds=most or SECONDS)
    return {"array": samples, "sampling_rate": rate}, len(samples) / rate


def score(file: str | None, speech: bool, chosen: Chosen | None) -> Iterator[tuple[str, str, str]]:
    """Give the pages of scores, of the timeline, and of an explanation that is to come; first what is quick."""
    from speech_emotion.inference.timeline import draw_timeline, timeline_of

    if file is None:
        yield "", "", ""
        return
    try:
        chosen = chosen or default()
        classifier = chosen.classifier
        sound, seconds = decoded(classifier, file)
        config = classifier.model.config
        values = config.problem_type == "regression"
        labels = [label for _, label in sorted(config.id2label.items())]
        styles = dict(zip(labels, area_styles(labels), strict=True))
        shown = partial(SAYS.scores, name=Path(file).name, seconds=seconds, model=chosen.name, values=values)
        if values or seconds <= CLIP:
            found = [(one["label"], one["score"], styles[one["label"]]) for one in classifier(sound)]
            yield shown(found, average=False), "", ""
        if values:
            return
        timeline = timeline_of(classifier, sound, vad=speech)
        drawn = page_picture(draw_timeline(timeline, width=8.0))
        over_time = SAYS.timeline(drawn, timeline.runs(), seconds)
        if seconds > CLIP:
            found = sorted(zip(labels, timeline.summary, styles.values(), strict=True), key=lambda one: -one[1])
        yield shown(found if seconds <= CLIP or timeline.spoken else [], average=seconds > CLIP), over_time, ""
    except Exception as error:
        yield alert(error, [file]), "", ""


def explanation(file: str | None, start: float | None, end: float | None, chosen: Chosen | None) -> str:
    """Give the page of why a recording, or a part of it, gets its label."""
    from speech_emotion.inference.explanation import draw_explanation, explain

    try:
        if file is None:
            raise ValueError("There is no recording yet: record or upload one above.")
        classifier = (chosen or default()).classifier
        found = explain(classifier, decoded(classifier, file)[0], start=start or 0.0, end=end or None)
        drawn = page_picture(draw_explanation(found))
        return SAYS.explanation(drawn, [*told(found, Path(file).name)])
    except Exception as error:
        return alert(error, [file] if file else [])


def adapt(files: Sequence[str] | None, unchecked: bool, chosen: Chosen | None) -> tuple[str, Chosen | None]:
    """Adapt the visitor's model to clips; what is said of it, and the model from now on."""
    try:
        if len(files or []) > CLIPS:
            raise ValueError(f"These are {len(files)} clips, and {CLIPS} are the limit.")
        used = chosen or default()
        sounds = (decoded(used.classifier, file, CLIP)[0] for file in files or [])
        adapted = used.classifier.adapt(sounds, check=not unchecked)
        name = f"{used.name}, adapted to {adapted.model.config.adapted_clips} clips"
        return SAYS.done(f"In use: {name}"), Chosen(adapted, name)
    except Exception as error:
        return alert(error, files or []), chosen


def choose(name: str, revision: str, chosen: Chosen | None) -> tuple[str, Chosen | None]:
    """Fetch the model that a visitor names; what is said of it, and the model from now on."""
    try:
        name, revision = name.strip(), revision.strip()
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII) or Path(name).exists():
            raise ValueError(f"{printable(name)!r} is no id of the Hub; one is like you/emotions.")
        if not re.fullmatch("[0-9a-f]{40}", revision):
            raise ValueError(
                "Name a commit by its 40 digits: a model that you have looked at cannot change unseen then."
            )
        used = of_hub(name, revision)
        return SAYS.done(f"In use: {used.name}"), used
    except Exception as error:
        return alert(error), chosen


def back() -> tuple[str, None]:
    """Go back to the model of this page."""
    return SAYS.done(f"In use: {default().name}"), None


def make_page() -> gr.Blocks:
    """Lay the page out, and say what does what."""
    with gr.Blocks(
        title="Which emotions are in a voice?", analytics_enabled=False, delete_cache=(CLEANED, KEPT)
    ) as made:
        chosen = gr.State(None, time_to_live=KEPT)
        gr.Markdown(ABOUT)
        sound = gr.Audio(label="Recording", sources=["upload", "microphone"], type="filepath", buttons=["download"])
        with gr.Tab("Emotions"):
            scores = gr.HTML("What is heard will stand here.")
        with gr.Tab("Over time"):
            speech = gr.Checkbox(True, label="Only where somebody speaks")
            timeline = gr.HTML()
        with gr.Tab("Why"):
            gr.Markdown("Each short stretch is muted in turn, and the score without it is compared. 30 s at most.")
            with gr.Row():
                start = gr.Number(0, label="From (s)", minimum=0)
                end = gr.Number(0, label="To (s), 0 for the end", minimum=0)
            why = gr.Button("Explain", variant="primary")
            reasons = gr.HTML()
        with gr.Tab("Adapt"):
            gr.Markdown(
                "Eight or more clips of one speaker, or of one room, **of several emotions**: what they have in "
                "common is removed, and nobody has to say what is felt in them."
            )
            clips = gr.File(label="Clips", file_count="multiple", file_types=["audio"], type="filepath")
            unchecked = gr.Checkbox(False, label="They are of several emotions, even if the model hears one only")
            adaptation = gr.Button("Adapt", variant="primary")
            adapted = gr.HTML()
        with gr.Tab("Model"):
            gr.Markdown("A model that this library trained, by its id on the Hub and a commit. Its code is not run.")
            name = gr.Textbox(label="Id on the Hub", placeholder="you/emotions")
            revision = gr.Textbox(label="Commit, 40 digits")
            with gr.Row():
                use = gr.Button("Use it", variant="primary")
                reset = gr.Button("Back to the page's own, not adapted")
            used = gr.HTML()
        gr.HTML(SAYS.notes(MODEL == EMOTIONS))

        computed = {"concurrency_id": "model", "concurrency_limit": AT_ONCE, "api_visibility": "private"}
        scored = {"fn": score, "inputs": [sound, speech, chosen], "outputs": [scores, timeline, reasons], **computed}
        gr.on([sound.change, speech.change], **scored)
        why.click(explanation, [sound, start, end, chosen], reasons, **computed)
        adaptation.click(adapt, [clips, unchecked, chosen], [adapted, chosen], **computed).success(**scored)
        use.click(choose, [name, revision, chosen], [used, chosen], **computed).success(**scored)
        reset.click(back, None, [used, chosen], **computed).success(**scored)
    return made.queue(max_size=WAITING)


def main() -> Iterator[str]:
    """Load the model, and serve until Ctrl-C; then nothing is left of what was uploaded."""
    default()
    looks = {"theme": THEME, "css": SAYS.css(), "footer_links": [], "pwa": False, "ssr_mode": False, "quiet": True}
    with tempfile.TemporaryDirectory(prefix="uploaded-") as os.environ["GRADIO_TEMP_DIR"]:
        made = make_page()
        _, address, _ = made.launch(max_file_size=BYTES, run_history=False, prevent_thread_lock=True, **looks)
        yield f"Serving at {address} until Ctrl-C"
        made.block_thread()


if __name__ == "__main__":
    raise SystemExit(run_guarded(main))
