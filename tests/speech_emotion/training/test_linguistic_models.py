"""Models 2 and 3: trained on the activations of a DeepSpeech, shared with it bundled, run by strangers in batches."""

import json
import shlex
import sys
from pathlib import Path

import pytest
import torch

from feature_extraction import DeepSpeechConfig
from modeling_ser import SERForAudioClassification
from speech_emotion.cli.train import main as train
from speech_emotion.pretrained import SMALL_DEEPSPEECH, pretrained_path
from tests.feature_extraction.small_encoders import saved_encoder
from tests.hub.local_hub import LocalHub
from tests.speech_emotion.training.trainings import assert_scored_as_measured, read_json, scores_of, words
from tests.subprocess_tools import PROJECT_ROOT, run_command, run_python_json

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
REPO = "alice/model-3"


@pytest.fixture(scope="module")
def deepspeech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_encoder("deepspeech", tmp_path_factory.mktemp("encoders") / "tiny-deepspeech")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_encoder("whisper", tmp_path_factory.mktemp("encoders") / "tiny-whisper")


@pytest.fixture(scope="module")
def model_3(
    local_hub: LocalHub, polish_dir: Path, cache_dir: Path, deepspeech: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Train a Model-3 and push every checkpoint; the run's folder."""
    folder = tmp_path_factory.mktemp("model-3")
    more = f"--num_train_epochs 2 --streams mel deepspeech --encoder {shlex.quote(str(deepspeech))}"
    line = words(polish_dir, cache_dir, folder / "model", f"{more} --push_to_hub true --hub_model_id {REPO}")
    env = local_hub.env(folder / "home") | {"PYTHONPATH": str(PROJECT_ROOT)}
    run_command([sys.executable, PROJECT_ROOT / "train.py", *line], env=env, cwd=folder)
    return folder / "model"


def test_every_commit_brings_the_encoder_once(model_3: Path, local_hub: LocalHub) -> None:
    commits = local_hub.commits(REPO)
    for commit in commits:
        assert {"deepspeech/config.json", "deepspeech/model.safetensors"} <= set(commit.files)
        settings = json.loads(commit.files["preprocessor_config.json"])
        assert settings["encoders"]["deepspeech"]["bundled"] is True
        assert str(model_3.parent.parent).encode() not in b"".join(commit.files.values())
    assert len({commit.files["deepspeech/model.safetensors"] for commit in commits}) == 1
    assert "layer 5 of tiny-deepspeech, frozen" in commits[-1].files["README.md"].decode()
    weights = {path.stat().st_ino for path in model_3.rglob("deepspeech/model.safetensors")}
    assert len(weights) == 1  # checkpoints share one copy on disk


def test_a_stranger_scores_with_the_bundled_encoder_once_per_batch(
    model_3: Path, local_hub: LocalHub, polish_dir: Path, tmp_path: Path
) -> None:
    expected = scores_of(model_3)
    clips = list(expected)[:16]
    outcome = run_python_json(
        f"""
        import json
        from transformers import pipeline
        classifier = pipeline("audio-classification", model={REPO!r}, trust_remote_code=True)
        network = classifier.feature_extractor._networks["deepspeech"].model
        calls, forward = [], network.forward
        network.forward = lambda *args, **kwargs: (calls.append(1), forward(*args, **kwargs))[1]
        results = classifier({[str(polish_dir / f"{clip}.wav") for clip in clips]!r}, batch_size=8)
        print(json.dumps([len(calls), [{{e["label"]: e["score"] for e in result}} for result in results]]))
        """,
        env=local_hub.env(tmp_path / "home"),
        cwd=tmp_path,
    )
    calls, results = outcome
    assert calls == 2
    for clip, scores in zip(clips, results, strict=True):
        assert scores == pytest.approx(expected[clip], abs=1e-5), clip


def test_an_encoder_can_be_referred_to_by_id_and_revision(
    deepspeech: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    outcome = run_python_json(
        f"""
        import json
        from pathlib import Path
        import torch
        from huggingface_hub import HfApi
        from feature_extraction import SERFeatureExtractor
        HfApi().create_repo("alice/deepspeech")
        commit = HfApi().upload_folder(repo_id="alice/deepspeech", folder_path={str(deepspeech)!r})
        entry = {{"name_or_path": "alice/deepspeech", "revision": commit.oid}}
        extractor = SERFeatureExtractor(streams=("deepspeech",), encoders={{"deepspeech": entry}})
        extractor.save_pretrained("reference", bundle_encoders=False)
        extractor.save_pretrained("bundle")
        clip = torch.sin(torch.arange(16000) / 20)
        features = [e.extract([clip])["input_features"] for e in (
            extractor, SERFeatureExtractor.from_pretrained("reference"), SERFeatureExtractor.from_pretrained("bundle")
        )]
        print(json.dumps({{
            "equal": all(torch.equal(features[0], other) for other in features[1:]),
            "folders": [Path(name, "deepspeech").is_dir() for name in ("reference", "bundle")],
            "entry": json.loads(Path("reference/preprocessor_config.json").read_text())["encoders"]["deepspeech"],
            "oid": commit.oid,
        }}))
        """,
        env=local_hub.env(tmp_path / "home"),
        cwd=tmp_path,
        with_project=True,
    )
    assert outcome["equal"]
    assert outcome["folders"] == [False, True]
    assert outcome["entry"]["name_or_path"] == "alice/deepspeech"
    assert outcome["entry"]["revision"] == outcome["oid"]
    assert not outcome["entry"]["bundled"]


@pytest.mark.parametrize("bundled", [True, False], ids=["Model-2", "Model-3 late"])
def test_other_models_train_and_load(
    bundled: bool, deepspeech: Path, polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    more, sizes, named = f"mel encoder --fusion late --encoder {shlex.quote(str(deepspeech))}", [384, 24], "tiny"
    if bundled:  # where no encoder is named, the library's own
        small = DeepSpeechConfig.from_pretrained(pretrained_path(SMALL_DEEPSPEECH))
        more, sizes, named = "deepspeech", [small.hidden_size], "deepspeech-small"
    folder = tmp_path / "model"
    assert train(words(polish_dir, cache_dir, folder, f"--num_train_epochs 1 --streams {more}")) == 0
    assert f"layer 5 of {named}" in (folder / "README.md").read_text(encoding="utf-8")
    model = SERForAudioClassification.from_pretrained(folder)
    assert (model.config.input_size, list(model.config.stream_sizes)) == (sum(sizes), sizes)
    assert_scored_as_measured(folder, polish_dir)


@pytest.mark.parametrize("more", ["encoder", "mel encoder --fusion late"], ids=["Model-2", "Model-3 late"])
def test_layers_of_whisper_are_mixed(
    more: str, whisper: Path, polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    words_of_it = f"--preset layers --max_steps 2 --encoder {shlex.quote(str(whisper))} --encoder_layer 0 2"
    folder = tmp_path / "model"
    assert train(words(polish_dir, cache_dir, folder, f"{words_of_it} --streams {more}")) == 0
    assert "encoder: layers 0, 2 of tiny-whisper, frozen" in (folder / "README.md").read_text(encoding="utf-8")
    entry = read_json(folder / "preprocessor_config.json")["encoders"]["encoder"]
    assert (entry["layer"], entry["context"], entry["size"]) == ([0, 2], "clip", 32)
    model = SERForAudioClassification.from_pretrained(folder)
    assert list(model.config.layer_mix) == ([1, 2] if "mel" in more else [2])
    assert not torch.equal(model.ser.mix.scores, torch.zeros(2))  # it has learned
    assert_scored_as_measured(folder, polish_dir)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--streams deepspeech --encoder_revision abc", "'deepspeech' needs --encoder"),
        ("--streams mel encoder", "'encoder' needs --encoder, its network: one of deepspeech-small, whisper-base,"),
        ("--encoder somewhere", "for a stream of its own"),
        ("--streams a b --encoder somewhere", "takes one encoder"),
        ("--streams deepspeech --encoder no/such/folder", "no/such/folder"),
    ],
)
def test_encoders_that_are_not_there_are_named(
    more: str, message: str, polish_dir: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(words(polish_dir, cache_dir, tmp_path / "model", more)) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model" / "config.json").exists()
