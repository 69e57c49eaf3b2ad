"""The words that recognizers get wrong: whose clips count, what is written, and what is refused."""

import argparse
import json
from pathlib import Path

import pytest

from feature_extraction import convert_whisper
from reproduction.studies.command import add_studies
from speech_emotion.cli.command import run_command
from tests.feature_extraction.convert.ctranslate2_fixtures import pack, tiny_whisper, variables_of, write_model
from tests.synthetic_corpora import write_speechocean762

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")


def run_study(*words: object) -> int:
    parser = argparse.ArgumentParser()
    add_studies(parser.add_subparsers())
    return run_command(parser, ["transcripts", *map(str, words)])


def test_adults_of_the_test_half_are_transcribed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write_speechocean762(tmp_path / "corpus")
    source = write_model(tmp_path / "source", pack(variables_of(tiny_whisper())))
    recognizer = convert_whisper(source, tmp_path / "tiny")
    words = ["--data_dir", corpus, "--cache_dir", tmp_path / "cache", "--encoder", recognizer]
    words += ["--output_dir", tmp_path / "out"]
    assert run_study(*words) == 1
    assert "no adult in the test half" in capsys.readouterr().err
    (corpus / "test/spk2age").write_text("0003\t6\n0024\t30\n")
    assert run_study(*words, "--cache_dir", tmp_path / "other", "--every", 2) == 0
    found = json.loads((tmp_path / "out/transcripts.json").read_text())
    assert "one clip in 2" in found["title"] and "adults of the test half" in found["title"]
    assert found["recognizers"].keys() == {"tiny"}  # and not where it lies
    assert (found["recognizers"]["tiny"]["clips"], found["recognizers"]["tiny"]["words"]) == (1, 4)
    assert "| tiny | 1 | 4 |" in (tmp_path / "out/transcripts.md").read_text()
    assert run_study(*words, "--every", 0) == 1
    assert "every=0" in capsys.readouterr().err
