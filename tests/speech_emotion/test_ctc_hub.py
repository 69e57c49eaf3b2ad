"""A DeepSpeech training that pushes: every commit transcribes without the project, and nothing private travels."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.hub.local_hub import HubCommit, LocalHub
from tests.speech_emotion.spelled_speech import write_spelled
from tests.subprocess_tools import PROJECT_ROOT, run_command, run_python_json

REPO = "alice/deepspeech-small"
MODEL = {
    "audio_decoding.py",
    "audio_download.py",
    "config.json",
    "configuration_deepspeech.py",
    "feature_extraction_deepspeech.py",
    "frontend_deepspeech.py",
    "lstm_deepspeech.py",
    "model.safetensors",
    "modeling_deepspeech.py",
    "pipeline_deepspeech.py",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "vocab.json",
    "waveform_extractor.py",
}


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spelled(tmp_path_factory.mktemp("spelled"))


@pytest.fixture(scope="module")
def run(local_hub: LocalHub, corpus_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    words = shlex.split(
        "--hidden_size 16 --validation_speakers 2 --use_cpu true --num_train_epochs 2 --half true "
        f"--push_to_hub true --hub_model_id {REPO}"
    )
    places = ["--data_dir", corpus_dir, "--cache_dir", folder / "cache", "--output_dir", folder / "model"]
    env = local_hub.env(folder / "home") | {"PYTHONPATH": str(PROJECT_ROOT)}
    run_command([sys.executable, PROJECT_ROOT / "train_deepspeech.py", *words, *places], env=env, cwd=folder)
    return folder / "model"


@pytest.fixture(scope="module")
def commits(run: Path, local_hub: LocalHub) -> list[HubCommit]:
    return local_hub.commits(REPO)


def test_each_checkpoint_is_one_whole_commit_and_nothing_else_travels(commits: list[HubCommit], run: Path) -> None:
    titles = [commit.title for commit in commits]
    assert titles == [*(f"Training in progress, step {step}" for step in (3, 6)), "End of training", "Model card"]
    for commit in commits[:2]:
        assert set(commit.files) == MODEL
    final = commits[-1].files
    assert set(final) == MODEL | {"README.md", "results.json"}
    assert final["model.safetensors"] == (run / "model.safetensors").read_bytes()
    card = final["README.md"].decode()
    assert f'model="{REPO}"' in card
    assert f'revision="{commits[-2].oid}"' in card
    for name, content in final.items():
        assert str(run.parent).encode() not in content, name


def test_a_stranger_transcribes_with_every_commit(
    run: Path, commits: list[HubCommit], local_hub: LocalHub, corpus_dir: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (run / "transcripts.jsonl").read_text().splitlines()]
    files = [str(corpus_dir / "WAVE" / f"SPEAKER{row['speaker']}" / f"{row['id']}.WAV") for row in rows]
    given = run_python_json(
        f"""
        import json
        from transformers import pipeline
        texts = []
        for revision in {[commit.oid for commit in commits]!r}:
            recognizer = pipeline(
                "automatic-speech-recognition", model={REPO!r}, revision=revision, trust_remote_code=True
            )
            texts.append([result["text"] for result in recognizer({files!r}, batch_size=4)])
        print(json.dumps(texts))
        """,
        env=local_hub.env(tmp_path / "home"),
        cwd=tmp_path,
    )
    assert len(given) == 4
    assert given[-1] == given[-2] == [row["hypothesis"] for row in rows]
