"""Trainings on what several raters heard."""

import csv
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile

from speech_emotion.cli.main import main as ser
from speech_emotion.cli.train import main as train
from speech_emotion.inference.saved_model import load_saved
from speech_emotion.training.splits import shares_of_votes
from tests.speech_emotion.training.trainings import in_two_processes, last_checkpoint, read_json, read_rows
from tests.synthetic_corpora import write_iemocap

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


def line(folder: Path, output: Path, *more: str) -> list[str]:
    places = ["--data_dir", str(folder), "--cache_dir", str(folder / "cache"), "--output_dir", str(output)]
    return [*SMALL.split(), *places, *more]


def run(folder: Path, output: Path, *more: str) -> int:
    return train(line(folder, output, *more))


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


@pytest.mark.parametrize("votes", [-1.0, 0.0, float("nan"), float("inf")])
def test_votes_that_are_no_numbers_of_raters_are_refused(votes: float) -> None:
    said = [[{"label": "anger", "votes": votes}]]
    rows = datasets.Dataset.from_dict({"id": ["one"], "label": ["anger"], "votes": said})
    with pytest.raises(ValueError, match="votes of the clip 'one' are"):
        shares_of_votes(rows, {"anger": 0, "fear": 1})


# Valence, arousal, dominance -----------------------------------------------------------------------------------------

VALUES = [[1.0, 40, ""], [2.5, 10, 3], [5.0, 90, 2]]  # of valence, arousal and dominance by pitch
LEARN = "--attributes valence arousal --num_train_epochs 20 --learning_rate 0.01 --early_stopping_patience 0"


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rated(tmp_path_factory.mktemp("rated") / "own", ["Valence", "activation", "dominance"], VALUES)


@pytest.fixture(scope="module")
def learned(rated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("learned") / "run"
    assert run(rated, output, *LEARN.split(), "--final", "true") == 0
    return output / "validated"


def test_values_are_learned_by_their_concordance_and_told_with_their_ranges(rated: Path, learned: Path) -> None:
    results, config = read_json(learned / "results.json"), read_json(learned / "config.json")
    assert results["labels"] == ["valence", "arousal"] and results["test"]["clips"] == 24
    assert results["ranges"] == {"valence": [1.0, 5.0], "arousal": [10.0, 90.0]}
    assert (config["problem_type"], config["loss"]) == ("regression", "ccc")
    assert (config["value_ranges"], config["temperature"]) == ([[1.0, 5.0], [10.0, 90.0]], 1.0)
    metrics = results["test"]["metrics"]
    assert (
        metrics["ccc"] == pytest.approx((metrics["ccc_valence"] + metrics["ccc_arousal"]) / 2) and metrics["ccc"] > 0.9
    )
    card = " ".join((learned / "README.md").read_text().split())
    assert "recognition: **valence (1 to 5), arousal (10 to 90)**" in card
    assert f"| test | {metrics['ccc']:.3f} | {metrics['ccc_valence']:.3f} |" in card
    assert "name: CCC valence" in card and "calibrated" not in card and "WA" not in card.split("## Use")[0]
    classify = (pair := load_saved(str(learned)))[0].as_pipeline(pair[1])
    for row in read_rows(learned / "scores.jsonl")[::7]:
        answer = classify(str(rated / f"{row['id']}.wav"))
        assert [one["label"] for one in answer] == ["valence", "arousal"]
        assert {one["label"]: one["score"] for one in answer} == pytest.approx(row["predictions"], abs=1e-3)
        assert row["values"] == dict(zip(["valence", "arousal"], VALUES[int(row["id"].split("_")[1])], strict=False))
    with pytest.raises(ValueError, match="top_k chooses among emotions"):
        classify(str(rated / "anna_0_0.wav"), top_k=1)
    assert len(classify.adapt(sorted(rated.glob("anna*.wav")))(str(rated / "anna_0_0.wav"))) == 2


def test_a_final_model_of_values_learns_from_all(learned: Path) -> None:
    results = read_json(learned.parent / "results.json")
    assert results["train"]["speakers"] == sorted(SPEAKERS) and results["ranges"]["arousal"] == [10.0, 90.0]
    card = " ".join((learned.parent / "README.md").read_text().split())
    assert "nobody was left to test it" in card
    assert f"| test | {read_json(learned / 'results.json')['test']['metrics']['ccc']:.3f} |" in card


def test_predict_prints_values(rated: Path, learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(rated / f"anna_{number}_0.wav") for number in range(3)]
    assert ser(["predict", *files, "--model", str(learned)]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "valence", "arousal"]
    values = [[float(word) for word in line.split()[1:]] for line in lines]
    expected = {row["id"]: list(row["predictions"].values()) for row in read_rows(learned / "scores.jsonl")}
    assert values[0] == pytest.approx(expected["anna_0_0"], abs=2e-3)
    for name in ("out.csv", "out.jsonl"):
        assert ser(["predict", *files, "--model", str(learned), "--output", str(tmp_path / name)]) == 0
    table = (tmp_path / "out.csv").read_text().splitlines()
    assert table[0] == "file,valence,arousal" and len(table) == 4
    assert list(read_rows(tmp_path / "out.jsonl")[0]) == ["file", "scores"]
    for words, told in (
        (
            ["predict", files[0], "--timeline"],
            "--timeline tells emotions, and this model gives values: valence, arousal",
        ),
        (["robustness", files[0]], "The measurement of robustness tells emotions"),
    ):
        assert ser([*words, "--model", str(learned)]) == 1
        assert told in capsys.readouterr().err


def test_clips_that_do_not_say_an_attribute_are_left_out(
    rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(rated, tmp_path / "run", "--attributes", "dominance", "valence", "--num_train_epochs", "1") == 0
    assert "24 clip(s) are left out that do not say their dominance and valence" in capsys.readouterr().err
    assert read_json(tmp_path / "run" / "results.json")["train"]["clips"] == 16


def test_two_processes_learn_the_concordance_of_all_their_clips(
    rated: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    more = f"{LEARN} --attention_dropout 0 --max_steps 10 --logging_strategy steps --logging_steps 1"
    sizes = "--per_device_eval_batch_size 12 --per_device_train_batch_size"
    assert run(rated, tmp_path / "one", *f"{more} {sizes} 8".split()) == 0
    in_two_processes("train.py", line(rated, tmp_path / "two", *f"{more} {sizes} 4".split()), environment, tmp_path)
    logs = [
        read_json(last_checkpoint(tmp_path / name) / "trainer_state.json")["log_history"] for name in ("one", "two")
    ]
    losses, evaluations = ([[e[key] for e in log if key in e] for log in logs] for key in ("loss", "eval_ccc"))
    assert len(losses[0]) == 10 and losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert evaluations[0] == pytest.approx(evaluations[1], abs=1e-4)


@pytest.mark.parametrize("begin", ["emotions", "values"])
def test_what_was_learned_of_emotions_helps_with_values_and_the_other_way_round(
    begin: str, rated: Path, learned: Path, tmp_path: Path
) -> None:
    emotions = write_rated(tmp_path / "emotions", ["label"], [["anger"], ["sadness"], ["joy"]])
    first, more = learned, ["--num_train_epochs", "1"]
    if begin == "emotions":
        first = tmp_path / "first"
        assert run(emotions, first, *more, "--label_smoothing", "0.1") == 0
        more += ["--attributes", "valence"]
    folder = rated if begin == "emotions" else emotions
    # The speakers are the same people, so whoever taught the first model may only teach the second.
    same = ["--model_name_or_path", str(first)]
    assert run(folder, tmp_path / "tuned", *more, *same) == 0
    config = read_json(tmp_path / "tuned" / "config.json")
    expected = ("regression", "ccc", ["valence"]) if begin == "emotions" else (None, "cross_entropy", None)
    assert (config.get("problem_type"), config["loss"]) == expected[:2]
    assert list(config["id2label"].values()) == (expected[2] or ["anger", "happiness", "sadness"])
    assert (config.get("value_ranges") is None) is (begin == "values")


@pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
def test_iemocap_says_its_own_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_iemocap(tmp_path / "release")
    words = ["--config", "all-ten", "--corpus", "iemocap", "--attributes", "valence", "arousal", "dominance"]
    assert run(tmp_path / "release", tmp_path / "run", *words) == 1  # as the generated one has one value
    assert "The valence of every training clip is 2.5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("--attributes pain", "has no column of numbers pain"),
        ("--attributes valence valence", "asked for twice"),
        ("--attributes valence --labels anger sadness", "--labels are emotions to keep"),
        ("--attributes valence --class_weights balanced", "--class_weights is for emotions"),
        ("--attributes valence --metric_for_best_model ua", "have no UA"),
        ("", "has clips without an emotion"),
    ],
)
def test_what_does_not_go_with_values_is_refused(
    rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, told: str
) -> None:
    assert run(rated, tmp_path / "run", *more.split()) == 1
    assert told in capsys.readouterr().err
