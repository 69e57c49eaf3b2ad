"""`ser demo`: train on real speech, save, then classify an unseen speaker's files in a fresh process."""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from dataset_scripts import load_corpus
from speech_emotion.evaluation import text_table
from speech_emotion.training.card import RunReport
from speech_emotion.training.main import main as train
from speech_emotion.training.main import summary
from speech_emotion.training.provenance import library_versions

CLIPS_PER_LABEL = 4

# What a user of the saved folder would write; `-I` keeps this checkout off its path.
FRESH_PROCESS = """
import json, sys
from transformers import pipeline, utils

utils.logging.disable_progress_bar()
classifier = pipeline("audio-classification", model=sys.argv[1], trust_remote_code=True)
print(json.dumps(classifier(json.loads(sys.stdin.read()), top_k=1, batch_size=8)))
"""


def classify_afresh(folder: Path, files: list[str]) -> list[dict[str, object]]:
    """Classify files with plain `transformers.pipeline` in a process of its own, from a folder.

    Args:
        folder: A saved model.
        files: Paths of audio files.

    Returns:
        The best label of each file, `{"label": str, "score": float}`.

    Raises:
        RuntimeError: If the process fails, with what it said.
    """
    with tempfile.TemporaryDirectory() as elsewhere:
        process = subprocess.run(
            [sys.executable, "-I", "-c", FRESH_PROCESS, str(folder.resolve())],
            input=json.dumps(files),
            capture_output=True,
            text=True,
            cwd=elsewhere,
        )
    if process.returncode:
        raise RuntimeError(f"The fresh process failed:\n{process.stderr}")
    return [best for (best,) in json.loads(process.stdout)]


def earlier_run(folder: Path, seed: int) -> RunReport | None:
    """Find what an earlier demo measured, if this one would measure the same.

    Args:
        folder: Folder of the run.
        seed: Seed of the training.

    Returns:
        Its report; `None` if there is none, or another seed or other versions were used.
    """
    path = folder / "results.json"
    if not path.is_file() or not (folder / "model.safetensors").is_file():
        return None
    report = RunReport.from_dict(json.loads(path.read_text(encoding="utf-8")))
    same = (report.corpus, report.seed, report.versions) == ("polish", seed, library_versions())
    return report if same else None


def run(args: argparse.Namespace) -> int:
    """Run `ser demo`.

    Args:
        args: `output_dir`, `seed`, `data_dir`, `retrain`.

    Returns:
        0 when all went well, else the exit code of the training.
    """
    print("Training Model-1 (acoustic) on three speakers, choosing the epoch on a fourth, testing on a fifth.\n")
    folder = Path(args.output_dir)
    report = None if args.retrain else earlier_run(folder, args.seed)
    if report is not None:
        print(f"Trained by an earlier demo, in {folder}; --retrain trains again.\n\n{summary(report)}")
    else:
        data_dir = ["--data_dir", args.data_dir] if args.data_dir else []
        words = ["--corpus", "polish", *data_dir, "--output_dir", args.output_dir, "--seed", str(args.seed)]
        code = train([*words, "--overwrite_output_dir", "true"])
        if code:
            return code
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    truths = {score["id"]: score["label"] for score in scores if score["split"] == "test"}
    with warnings.catch_warnings():  # the training has already told what there is to tell of the corpus
        warnings.simplefilter("ignore")
        rows = load_corpus("polish", data_dir=args.data_dir)
    paths = {row["id"]: row["audio"]["path"] for row in rows.select_columns(["id", "audio"])}
    chosen = [
        clip
        for label in sorted(set(truths.values()))
        for clip in [name for name, truth in truths.items() if truth == label][:CLIPS_PER_LABEL]
    ]
    print(f"\nThe same model, loaded from {folder} by transformers.pipeline in a fresh process:\n")
    predictions = classify_afresh(folder, [paths[clip] for clip in chosen])
    table = [
        [Path(paths[clip]).name, truths[clip], best["label"], f"{best['score']:.3f}"]
        for clip, best in zip(chosen, predictions, strict=True)
    ]
    print(text_table(["file", "truth", "prediction", "score"], table))
    return 0


__all__ = ["classify_afresh", "run"]
