"""Trainings on what several raters heard."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech_emotion.cli.train import main as train
from tests.speech_emotion.training.trainings import read_json, read_rows

SMALL = "--preset paper --corpus recordings --hidden_size 8 --dense_size 8 --use_cpu true --dropout 0"
SPEAKERS = ("anna", "ben", "cleo")


def write_rated(folder: Path, header: list[str], rows: list[list[object]], clips: int = 8) -> Path:
    """Write for three speakers tones, of a pitch of its own for each row, and a list of them."""
    folder.mkdir()
    random = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "speaker", *header])
        for speaker in SPEAKERS:
            for number, said in enumerate(rows):
                for clip in range(clips):
                    name = f"{speaker}_{number}_{clip}.wav"
                    tone = 0.3 * np.sin(2 * np.pi * 300 * 2**number * np.arange(6400) / 16000)
                    soundfile.write(folder / name, tone + random.normal(0, 0.01, 6400), 16000)
                    table.writerow([name, speaker, *said])
    return folder


def run(folder: Path, output: Path, *more: str) -> int:
    places = ["--data_dir", str(folder), "--cache_dir", str(folder / "cache"), "--output_dir", str(output)]
    return train([*SMALL.split(), *places, *more])


def test_the_shares_of_the_raters_are_learned_and_the_majority_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [[3, 1, 1], [2, 0, 1], [1, 3, 0]]
    folder = write_rated(tmp_path / "own", ["count_anger", "count_sadness", "count_boredom"], rows)
    output = tmp_path / "run"
    more = "--labels anger sadness --num_train_epochs 40 --learning_rate 0.01 --load_best_model_at_end false"
    assert run(folder, output, *more.split(), "--early_stopping_patience", "0") == 0
    results = read_json(output / "results.json")
    assert results["learned_shares"] and results["test"]["confusion"] == [[16, 0], [0, 8]]
    for row in read_rows(output / "scores.jsonl"):  # votes for boredom, which is no class, are left out
        votes = rows[int(row["id"].split("_")[1])]
        assert row["scores"]["anger"] == pytest.approx(votes[0] / (votes[0] + votes[1]), abs=0.1)
    card = " ".join((output / "README.md").read_text().split())
    assert "share of its raters heard each emotion in a clip; right is what most of them heard" in card
    nll = results["test"]["calibration"]
    assert f"of their raters' shares from {nll['nll_before']:.3f} to {nll['nll_after']:.3f} nats" in card
    assert "share of its raters" in capsys.readouterr().out
    # Whoever resumes with other votes is told.
    path = folder / "manifest.csv"
    path.write_text(path.read_text().replace("anna,3,1,1", "anna,4,1,1"))
    assert run(folder, output, *more.split(), "--resume_from_checkpoint", "true") == 1
    assert "test.clips is" in capsys.readouterr().err
