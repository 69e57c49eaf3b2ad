"""`ser predict` and `ser demo` where no training is needed to tell."""

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import BatchFeature

from feature_extraction import SERFeatureExtractor
from modeling_ser import SEREnsembleForAudioClassification, SERPipeline
from speech_emotion.cli import predict
from speech_emotion.cli.demo import earlier_run
from speech_emotion.cli.main import main as ser
from speech_emotion.cli.predict import csv_rows, file_records, find_files
from speech_emotion.files import write_csv
from tests.babble import babble
from tests.modeling_ser.small_pipeline import CLIPS, LABELS, small_classifier, write_clips
from tests.modeling_ser.test_adaptation import OWN, decided
from tests.subprocess_tools import PROJECT_ROOT, run_command
from tests.synthetic import speech_like


@pytest.fixture
def ensemble(tmp_path: Path) -> Path:
    member, extractor = small_classifier()
    other, _ = small_classifier()
    other.classifier.out_proj.bias.data += 1.0 * other.classifier.out_proj.weight.data.new_tensor([1, 0, -1])
    folder = tmp_path / "ensemble"
    SEREnsembleForAudioClassification.from_members([member, other]).save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def test_an_ensemble_predicts_too(ensemble: Path, tmp_path: Path) -> None:
    (tmp_path / "clips" / "folder.wav").mkdir(parents=True)  # whose name is no reason to decode it
    write_clips(tmp_path / "clips")
    output = tmp_path / "scores.csv"
    assert ser(["predict", str(tmp_path / "clips"), "--model", str(ensemble), "--output", str(output)]) == 0
    header, *lines = output.read_text().splitlines()
    assert header == f"file,prediction,{','.join(LABELS)}" and len(lines) == len(CLIPS)
    model = SEREnsembleForAudioClassification.from_pretrained(ensemble)
    classifier = model.as_pipeline(small_classifier()[1])
    for line in lines:
        file, _, *scores = line.split(",")
        expected = {entry["label"]: entry["score"] for entry in classifier(file)}
        assert [float(score) for score in scores] == pytest.approx([expected[name] for name in LABELS], abs=2e-6)


def test_one_channel_pipes_and_too_long_sounds(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stereo, mono = tmp_path / "clips" / "1.wav", tmp_path / "mono" / "1.wav"
    for path, samples in ((stereo, np.stack([CLIPS["short"], CLIPS["short"][::-1]], 1)), (mono, CLIPS["short"][::-1])):
        path.parent.mkdir()
        soundfile.write(path, samples, 16000)
    words = ["predict", "--model", str(ensemble), "--output", str(tmp_path / "a.csv")]
    scores = []
    for more in ([str(mono)], [str(stereo), "--channel", "1"], [str(stereo)]):
        assert ser([*words, *more]) == 0
        scores.append((tmp_path / "a.csv").read_text().splitlines()[1].split(",")[1:])
    assert scores[0] == scores[1] != scores[2]
    assert ser([*words, str(mono), "--max-seconds", "0.01"]) == 1
    assert "holds more than 0.01 s of sound" in capsys.readouterr().err
    if hasattr(os, "mkfifo"):
        os.mkfifo(mono.with_name("2.wav"))
        assert ser([*words, str(mono.parent), str(mono.with_name("2.wav")), "--skip-bad"]) == 0
        assert "2.wav: is no regular file" in capsys.readouterr().err


def test_names_and_labels_command_neither_terminal_nor_spreadsheet(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((ensemble / "config.json").read_text())
    config["id2label"] = {str(place): f"{begin}cmd|x" for place, begin in enumerate(("=", "\t@", "\x1b[2J\u202e"))}
    config["label2id"] = {label: int(place) for place, label in config["id2label"].items()}
    (ensemble / "config.json").write_text(json.dumps(config))
    for name in (b"1.wav", b"a\x1b]0;x\x07\n\r\t.wav", b"\xff.wav", b"bad\x1b.wav"):
        path = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"clips", name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        content = io.BytesIO()
        soundfile.write(content, speech_like("sad", seconds=0.5, seed=len(name)), 16000, format="WAV")
        Path(path).write_bytes(b"none" if b"bad" in name else content.getvalue())
    words = ["predict", str(tmp_path / "clips"), "--model", str(ensemble), "--skip-bad"]
    assert ser(words) == 0 and ser([*words, "--output", str(tmp_path / "a.csv")]) == 0
    out, err = capsys.readouterr()
    assert "bad\\x1b.wav" in err and "\\udcff.wav" in out
    for text in (out, err):
        assert all(line.isprintable() for line in text.split("\n"))
    for row in csv.reader((tmp_path / "a.csv").open(encoding="utf-8", newline="")):
        assert all(cell.isprintable() and cell[0] not in "=+-@" for cell in row)


@pytest.mark.parametrize(
    ("more", "code", "names", "message"),
    [
        ([], 1, ["0", "1", "3", "4"], "error: 1 file(s) could not be used, as told above; the table has the other 4"),
        (["--skip-bad"], 0, ["0", "1", "3", "4"], "1 file(s) could not be used"),
        (["--strict"], 1, ["0", "1"], "error: "),
    ],
    ids=["in between", "skipped", "strict"],
)
@pytest.mark.parametrize("csv", [True, False], ids=["csv", "table"])
def test_a_bad_file_among_many_is_told_and_the_rest_is_kept(
    more: list[str],
    code: int,
    names: list[str],
    message: str,
    csv: bool,
    ensemble: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number, clip in enumerate(CLIPS.values()):
        soundfile.write(tmp_path / f"{number}.wav", clip, 16000)
    (tmp_path / "2.wav").write_bytes(b"RIFF")
    files = [str(tmp_path / f"{number}.wav") for number in range(5)]
    output = tmp_path / "scores.csv"
    words = ["predict", *files, "--model", str(ensemble), *(["--output", str(output)] if csv else []), *more]
    assert ser(words) == code
    out, error = capsys.readouterr()
    lines = output.read_text().splitlines()[1:] if csv else out.splitlines()[2:]
    assert [Path(line.split("," if csv else " ")[0]).stem for line in lines] == names
    assert message in error and error.count("2.wav") == 1
    (tmp_path / "2.wav").rename(tmp_path / "alone.wav")
    before = output.read_bytes() if csv else None
    assert ser(["predict", str(tmp_path / "alone.wav"), *words[6:], *more]) == 1
    assert not csv or output.read_bytes() == before


def test_rows_come_while_others_are_still_to_be_read(
    ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [CLIPS["short"]] * 20
    for number, clip in enumerate(clips):
        soundfile.write(tmp_path / f"{number:02}.wav", clip, 16000)
    output, read = tmp_path / "scores.csv", []

    def load_some(extractor: SERFeatureExtractor, source: Path, **options: Any) -> np.ndarray:
        if len(read) == 18:
            raise KeyboardInterrupt
        read.append(source)
        return clips[0]

    monkeypatch.setattr(SERFeatureExtractor, "load_audio", load_some)
    words = ["predict", str(tmp_path), "--model", str(ensemble), "--batch-size", "1", "--output", str(output)]
    assert ser(words) == 130
    assert len(output.read_text().splitlines()) == 1 + 16  # of eight at a time


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_told_with_the_files_name(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.csv").symlink_to("/dev/full")
    words = ["predict", str(write_clips(tmp_path)[0]), "--model", str(ensemble)]
    assert ser([*words, "--output", str(tmp_path / "scores.csv")]) == 1
    assert f"error: {tmp_path / 'scores.csv'}: No space left" in capsys.readouterr().err


def test_clips_of_like_length_are_scored_together(
    ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = [4.0, 40.0, 4.5, 0.5, 4.2, 2.9, 7.0, 4.1]
    for number, length in enumerate(seconds):
        soundfile.write(tmp_path / f"{number}.wav", speech_like("sad", seconds=length, seed=number), 16000)
    batches, extract = [], SERFeatureExtractor.extract

    def watched(self: SERFeatureExtractor, waveforms: list[np.ndarray], device: str) -> BatchFeature:
        batches.append([len(waveform) / 16000 for waveform in waveforms])
        return extract(self, waveforms, device)

    monkeypatch.setattr(SERFeatureExtractor, "extract", watched)
    assert ser(["predict", str(tmp_path), "--model", str(ensemble), "--batch-size", "4"]) == 0
    assert batches == [[0.5, 2.9], [4.0, 4.1, 4.2, 4.5], [7.0], [40.0]]
    assert [Path(line.split()[0]).stem for line in capsys.readouterr().out.splitlines()[2:]] == list("01234567")


@pytest.mark.parametrize("content", ["{", "{}", json.dumps({"train": {}, "validation": {}, "test": {}})])
def test_a_demo_takes_no_report_of_another_form(content: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "results.json").write_text(content)
    assert earlier_run(tmp_path, 42, ["mel"]) is None


def test_a_model_that_cannot_be_loaded_is_named_in_a_line(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(write_clips(tmp_path)[0])
    pointers = {}
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        pointers[name] = shutil.copytree(ensemble, tmp_path / f"pointer_{name}")
        (pointers[name] / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    cut = shutil.copytree(ensemble, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((ensemble / "model.safetensors").read_bytes()[:-20])
    other = shutil.copytree(ensemble, tmp_path / "other")
    (other / "config.json").write_text(json.dumps({"model_type": "wav2vec2", "adapter_stride": 2}))
    for folder, message in (
        (pointers["model.safetensors"], "are damaged, or a pointer of git-lfs"),
        (pointers["config.json"], "config.json is a Git LFS pointer"),
        (pointers["preprocessor_config.json"], "preprocessor_config.json is a Git LFS pointer"),
        (cut, "are damaged, or a pointer of git-lfs"),
        (other, "a model of the type 'wav2vec2', not of a speech-emotion model"),
    ):
        assert ser(["predict", clip, "--model", str(folder)]) == 1
        error = capsys.readouterr().err
        assert message in error and str(folder) in error and "Traceback" not in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_named(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(write_clips(tmp_path)[0])
    assert ser(["predict", clip, "--model", str(ensemble), "--device", "cuda:0"]) == 1
    assert "error: There is no device cuda:0" in capsys.readouterr().err


def test_names_of_files_are_no_formulas_and_can_always_be_written(tmp_path: Path) -> None:
    scores = [{"label": "joy", "score": 0.75}, {"label": "fear", "score": 0.25}]
    names = ["a.wav", "=1+1.wav", "-x.wav", "na\udce9ve.wav"]
    rows = list(csv_rows(file_records([(Path(name), scores) for name in names]), ["fear", "joy"]))
    assert rows[0] == ["a.wav", "joy", "0.250000", "0.750000"]
    assert [row[0] for row in rows[1:]] == ["./=1+1.wav", "./-x.wav", "na\\udce9ve.wav"]
    write_csv(tmp_path / "scores.csv", ["file", "prediction", "fear", "joy"], rows)


def test_of_a_folder_the_files_are_those_that_a_corpus_would_have(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for name in ("in/a.wav", "in/._a.wav", "elsewhere/b.WAV"):
        (tmp_path / name).touch()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    found = [path.relative_to(tmp_path).as_posix() for path in find_files([str(tmp_path / "in")])]
    assert found == ["in/a.wav", "in/link/b.WAV"]


def test_audio_that_cannot_be_read_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.wav", "b.wma", "c.CAF", "d.wave", "e.WMA", "f.sph", "g.VOC", "h.M4A", "notes.txt"):
        (tmp_path / name).touch()
    found = [path.name for path in find_files([str(tmp_path)])]
    assert found == ["a.wav", "c.CAF", "d.wave", "f.sph", "g.VOC", "h.M4A"]
    assert "left out: 2 file(s) of" in (error := capsys.readouterr().err) and "such as b.wma; convert" in error


def test_a_file_that_is_not_there_is_one_bad_file_among_others(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, link = write_clips(tmp_path)[0], tmp_path / "link.wav"
    link.symlink_to("nowhere")
    words = ["predict", str(link), str(clip), str(tmp_path / "gone.wav"), 300 * "a", "--model", str(ensemble)]
    for flags, code in ((["--skip-bad"], 0), ([], 1), (["--strict"], 1)):
        assert ser([*words, *flags]) == code
        out, error = capsys.readouterr()
        assert "link.wav: no such file" in error
        assert flags == ["--strict"] or ("gone.wav: no such file" in error and clip.name in out)


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "the name of a file is empty"), ("https://a.example/b.wav", "addresses are read in Python")],
)
def test_names_that_are_no_files_are_called_so(name: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ser(["predict", name, "--model", "you/model"]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("word", ["0", "-1", "nan", "long"])
def test_the_longest_sound_is_a_positive_number(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        ser(["predict", "clip.wav", "--model", "you/model", "--max-seconds", word])
    assert f"--max-seconds: must be a positive number, not {word}" in capsys.readouterr().err


def test_a_table_is_printed_whatever_bytes_names_have(ensemble: Path, tmp_path: Path) -> None:
    clip = write_clips(tmp_path)[0]
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    clip.rename(odd)
    command = [sys.executable, "-m", "speech_emotion.cli", "predict", str(odd), "--model", str(ensemble)]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict", "PYTHONPATH": str(PROJECT_ROOT)}
    done = run_command(command, env=strict, cwd=tmp_path)
    assert "caf\\udce9.wav" in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone/scores.csv", "gone to write"),
        (".", "is a folder"),
        ("clip.wav", "give it a name that ends in .csv"),
        ("link.csv", "is one of the files to be read"),
    ],
)
def test_where_the_scores_go_is_checked_before_the_work(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(predict, "load_classifier", lambda *args: pytest.fail("it went to work"))
    clip = write_clips(tmp_path)[0].rename(tmp_path / "clip.wav")
    (tmp_path / "link.csv").symlink_to(clip)
    before = clip.read_bytes()
    assert ser(["predict", str(clip), "--model", "you/model", "--output", str(tmp_path / name)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert clip.read_bytes() == before


def test_a_model_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clips(tmp_path)[0]
    for model in (str(tmp_path / "typo"), "nobody/typo"):
        assert ser(["predict", str(clip), "--model", model]) == 1
        assert f"There is no folder {model}, and" in capsys.readouterr().err


# Adaptation ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Write clips of two speakers, in a folder for each emotion, and a model that tells them apart."""
    for number, clip in enumerate(OWN):
        for speaker, loudness in (("anna", 1.0), ("ben", 0.2)):
            folder = tmp_path / "clips" / ("angry", "sad")[number % 2] / speaker
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{number}.wav", clip * loudness, 16000, subtype="FLOAT")
    model, extractor = decided()
    model.as_pipeline(extractor).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "results.json").write_text("{}")
    (tmp_path / "model" / "README.md").write_text("---\ntags: []\n---\n\n# mine\n\nFigures.\n")
    return tmp_path


def table(path: Path) -> dict[Path, list[float]]:
    lines = [line.split(",") for line in path.read_text().splitlines()[1:]]
    return {Path(file): [float(score) for score in scores] for file, _, *scores in lines}


def scores_by_hand(classifier: SERPipeline, file: Path) -> list[float]:
    by_label = {entry["label"]: entry["score"] for entry in classifier(file)}
    return pytest.approx([by_label[label] for label in LABELS], abs=1e-4)  # the logits are many times larger


def test_all_files_together_are_adapted_to_and_the_model_is_saved(recordings: Path) -> None:
    output, folder = recordings / "scores.csv", recordings / "adapted"
    words = ["predict", str(recordings / "clips"), "--model", str(recordings / "model"), "--output", str(output)]
    assert ser([*words, "--adapt", "all", "--save-adapted", str(folder)]) == 0
    classifier = predict.load_classifier(str(recordings / "model"))
    found = table(output)
    adapted, saved = classifier.adapt(list(found)), predict.load_classifier(str(folder))
    assert len(found) == saved.model.config.adapted_clips == 24
    for file, scores in found.items():
        assert scores == scores_by_hand(adapted, file)
        assert scores == scores_by_hand(saved, file)
    card = (folder / "README.md").read_text()
    assert "# mine\n\n> **Adapted without labels**: " in card and "statistics of 24 clips" in card
    assert card.startswith("---\n") and card.endswith("\n\nFigures.\n")
    assert (folder / "results.json").read_text() == "{}"


def test_each_speaker_is_adapted_to_after_the_place(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = recordings / "clips" / "angry" / "few"
    few.mkdir()
    shutil.copy(recordings / "clips" / "angry" / "anna" / "0.wav", few)
    (few / "broken.wav").write_bytes(b"RIFF")
    output = recordings / "scores.csv"
    words = ["predict", str(recordings / "clips"), "--model", str(recordings / "model"), "--output", str(output)]
    assert ser([*words, "--adapt", "speaker", "--skip-bad"]) == 0
    told = capsys.readouterr().err
    assert "not adapted to few: 1 clips are too few" in told and told.count("broken.wav") == 1
    found = table(output)
    place = predict.load_classifier(str(recordings / "model")).adapt(list(found))
    for speaker in ("anna", "ben", "few"):
        own = [file for file in found if file.parent.name == speaker]
        adapted = place if speaker == "few" else place.adapt(own)
        assert len(own) == (1 if speaker == "few" else 12)
        assert all(found[file] == scores_by_hand(adapted, file) for file in own)


@pytest.mark.parametrize("adapt", ["all", "speaker"])
def test_a_timeline_is_adapted_to_its_windows(recordings: Path, adapt: str) -> None:
    model, output = recordings / "model", recordings / "scores.jsonl"
    words = ["predict", str(recordings / "clips"), "--model", str(model), "--output", str(output), "--adapt", adapt]
    assert ser([*words, "--timeline", "--window", "0.5", "--hop", "0.25"]) == 0
    records = [json.loads(line) for line in output.read_text().splitlines()]
    whole = {Path(record["file"]): record["scores"] for record in records if record["part"] == "whole"}
    plain = predict.load_classifier(str(model))
    windows = {"chunk_length_s": 0.5, "stride_length_s": 0.125}
    chunked = plain.model.as_pipeline(plain.feature_extractor, device="cpu", **windows)
    of_all = chunked.adapt(list(whole))
    assert of_all.model.config.adapted_clips > len(whole) == 24
    for speaker in ("anna", "ben"):
        own = [file for file in whole if file.parent.name == speaker]
        adapted = of_all.adapt(own) if adapt == "speaker" else of_all
        for file in own:
            expected = {entry["label"]: entry["score"] for entry in adapted(file)["scores"]}
            assert whole[file] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--adapt", "all"], "1 clips are too few to adapt to: 8 are needed"),
        (["--save-adapted", "x"], "Add --adapt all"),
        (["--adapt", "speaker", "--save-adapted", "x"], "Add --adapt all"),
        (["--adapt", "all", "--save-adapted", "."], "something is there already"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_adapted_is_told(
    recordings: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = recordings / "clips" / "sad" / "ben" / "1.wav"
    assert ser(["predict", str(clip), "--model", str(recordings / "model"), *more]) == 1
    assert message in capsys.readouterr().err


def test_a_timeline_as_table_csv_json_and_picture(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, broken = tmp_path / "long.wav", tmp_path / "broken.wav"
    soundfile.write(recording, np.concatenate(list(CLIPS.values())), 16000)  # 3.23 s
    broken.write_bytes(recording.read_bytes()[:50_000])
    words = ["predict", "--model", str(ensemble), "--timeline", "--window", "1", "--hop", "0.5"]
    picture = tmp_path / "a.png"
    assert ser([*words, str(recording), "--picture", str(picture), "--smooth", "1"]) == 0
    whole, *runs = capsys.readouterr().out.splitlines()
    assert whole.startswith(f"{recording} (0:03.2): ") and runs[0].split()[0] == "0:00"
    assert picture.stat().st_size > 5000

    assert ser([*words, str(recording), str(broken), "--output", str(tmp_path / "a.csv"), "--skip-bad"]) == 0
    assert "broken.wav: truncated" in capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["part"] for row in rows] == ["whole", *["window"] * 6]
    assert [(row["start"], row["end"]) for row in rows][-2:] == [("2.0", "3.0"), ("2.23", "3.23")]
    assert ser([*words, str(recording), "--format", "jsonl"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row, record in zip(rows, records, strict=True):
        assert {label: float(row[label]) for label in LABELS} == record.pop("scores")
        assert record == {
            **{name: row[name] for name in record},
            "start": float(row["start"]),
            "end": float(row["end"]),
        }
    classifier = SEREnsembleForAudioClassification.from_pretrained(ensemble).as_pipeline(small_classifier()[1])
    expected = classifier(str(recording), chunk_length_s=1, stride_length_s=0.25)["scores"]
    assert {label: float(rows[0][label]) for label in LABELS} == pytest.approx(
        {entry["label"]: entry["score"] for entry in expected}, abs=2e-6
    )


def test_a_timeline_of_speech_alone(ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("silero_vad")
    recording, speech, rate = tmp_path / "long.wav", babble(1.5), 16000
    soundfile.write(recording, np.concatenate([np.zeros(rate), speech, np.zeros(rate), speech, np.zeros(rate)]), rate)
    words = ["predict", "--model", str(ensemble), "--timeline", "--vad", "--window", "2", "--hop", "1"]
    assert ser([*words, str(recording)]) == 0
    whole, *runs = capsys.readouterr().out.splitlines()
    assert whole.startswith(f"{recording} (0:06): ") and whole.endswith("of speech")
    assert [line.split()[3] == "no_speech" for line in runs] == [True, False, True, False, True]
    assert ser([*words, str(recording), "--output", str(tmp_path / "a.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["prediction"] == "no_speech" for row in rows] == [False, True, False, True, False, True]
    assert all((row[label] == "") == (row["prediction"] == "no_speech") for row in rows for label in LABELS)
    assert ser([*words, str(recording), "--format", "jsonl"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[1]["scores"] == dict.fromkeys(LABELS) and records[2]["scores"].keys() == set(LABELS)
    soundfile.write(recording, np.full(rate * 3, 1e-3), rate)
    assert ser([*words, str(recording)]) == 0
    assert capsys.readouterr().out.startswith(f"{recording} (0:03): nobody speaks\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--vad"], "--vad is of a timeline. Add --timeline."),
        (["--window", "4"], "--window is of a timeline. Add --timeline."),
        (["--picture", "a.png"], "--picture draws a timeline. Add --timeline."),
        (["--timeline", "--picture", "a.gif"], "ends in .png or .svg"),
        (["--timeline", "--picture", "a.png", "--picture-width", "1"], "4 to 100 inches"),
        (["--timeline", "--hop", "9"], "--hop 9 is more than --window 4"),
        (["--timeline", "--window", "0.01", "--hop", "0.01"], "0.1 s at least"),
        (["--timeline", "--smooth", "-1"], "--smooth -1"),
        (["--output", "a.csv", "--format", "csv"], "--format is of what is printed"),
        (["--output", "a.txt"], "ends in .csv or .jsonl"),
    ],
)
def test_words_that_do_not_go_together(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    clip = write_clips(tmp_path)[0]
    words = [str(tmp_path / word) if word.startswith("a.") else word for word in words]
    assert ser(["predict", str(clip), "--model", str(ensemble), *words]) == 1
    assert complaint in capsys.readouterr().err
