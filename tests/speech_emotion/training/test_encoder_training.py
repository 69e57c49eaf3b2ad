"""Encoders that are trained, over cached states, by adapters or whole: saved, resumed, shared and used as one."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification
from speech_emotion.cli.train import main as train
from speech_emotion.inference import explain
from speech_emotion.inference.saved_model import load_saved
from speech_emotion.training import EmotionTask, TaskTrainer, run_training
from speech_emotion.training.low_rank import STATE, add_low_rank, load_exact_state, low_rank_layers, merge_low_rank
from tests.hub.local_hub import LocalHub
from tests.modeling_ser.test_encoder_network import encoder_config, model_with
from tests.speech_emotion.training.trainings import (
    arguments,
    assert_equal_runs,
    assert_scored_as_measured,
    emotion_task,
    in_two_processes,
    last_checkpoint,
    read_json,
    scores_of,
    signal_at,
    words,
)
from tests.subprocess_tools import PROJECT_ROOT, run_command, run_python_json

pytestmark = pytest.mark.filterwarnings("ignore:.*published are:UserWarning", "ignore:.*pin_memory.*:UserWarning")
REPO = "alice/trained-encoder"


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny encoders of three blocks, each in its folder."""
    folders = {}
    for kind, name in {"whisper": "Whisper", "wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}.items():
        folders[kind] = tmp_path_factory.mktemp("encoders") / f"tiny-{kind}"
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(**encoder_config(kind))
        getattr(transformers, f"{name}Model")(config).save_pretrained(folders[kind])
        own = {"feature_size": config.num_mel_bins} if kind == "whisper" else {"do_normalize": True}
        extractor = "Whisper" if kind == "whisper" else "Wav2Vec2"
        getattr(transformers, f"{extractor}FeatureExtractor")(**own).save_pretrained(folders[kind])
    return folders


def line(encoder: Path, how: str, layers: str = "2 3", more: str = "") -> str:
    return (
        f"--streams encoder --encoder {shlex.quote(str(encoder))} --encoder_layer {layers} --train_encoder {how} "
        f"--encoder_learning_rate 0.003 --num_train_epochs 1 {more}"
    )


def task_with(
    encoder: Path, how: str, corpus_dir: Path, cache_dir: Path, layers: tuple[int, ...] = (2, 3), **more: Any
) -> EmotionTask:
    settings = {"streams": ["encoder"], "encoder": str(encoder), "encoder_layer": list(layers), "train_encoder": how}
    rate = {} if how == "none" else {"encoder_learning_rate": 3e-3}
    return emotion_task(corpus_dir, cache_dir, **settings | rate | more)


@pytest.mark.parametrize(
    ("kind", "how", "given"),
    [
        ("whisper", "top-1", [2]),
        ("whisper", "all", None),
        ("wav2vec2", "lora", [0]),
        ("hubert", "all", None),
        ("wavlm", "top-2", [1]),
        ("wavlm", "lora", [0]),
    ],
)
def test_what_is_saved_is_whole_and_scores_as_it_was_measured(
    kind: str, how: str, given: list[int] | None, encoders: dict[str, Path], polish_dir: Path, cache_dir: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    assert train(words(polish_dir, cache_dir, tmp_path, line(encoders[kind], how))) == 0
    network, extractor = load_saved(str(tmp_path))
    entry = extractor.encoders["encoder"]
    assert entry["input"] == ("log-mel" if kind == "whisper" else "waveform") and not (tmp_path / "encoder").exists()
    assert network.config.encoder_layers == [2, 3] and network.config.layer_mix == [2]
    assert_scored_as_measured(tmp_path, polish_dir, sizes=(1, 5))
    seen = explain(network.as_pipeline(extractor), min(polish_dir.glob("*.wav")))
    assert len(seen.times) == seen.attention.shape[-1] and seen.times[1] - seen.times[0] == pytest.approx(0.02)
    # What lies below the blocks that learn is as it was, and they are not.
    before = transformers.AutoModel.from_pretrained(encoders[kind])
    before = (before.encoder if kind == "whisper" else before).state_dict()
    after = network.ser.encoder.network.state_dict()
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    blocks = {int(found[1]) for name in changed if (found := re.search(r"(?:^|\.)layers\.(\d+)", name))}
    assert blocks == ({0, 1, 2} if how in ("all", "lora") else {1, 2} if how == "top-2" else {2})
    assert any("conv" in name for name in changed) == (how == "all")
    card = " ".join((tmp_path / "README.md").read_text(encoding="utf-8").split())
    assert f"on layers 2, 3 of a {kind} encoder that was trained with it" in card
    learned = {"top-1": "the last block", "top-2": "the last 2 blocks", "lora": "low-rank", "all": "every block"}
    assert f"Of the encoder, tiny-{kind}, {learned[how]}" in card
    assert read_json(tmp_path / "results.json")["arguments"]["train_encoder"] == how
    assert given is None or max(given) == {"top-1": 2, "top-2": 1, "lora": 0}[how]


def test_training_begins_where_the_frozen_model_of_the_same_layers_would(
    encoders: dict[str, Path], polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    scores: list[torch.Tensor] = []
    first: dict[str, torch.Tensor] = {}
    for how in ("none", "top-1", "top-2", "lora", "all"):
        task = task_with(encoders["whisper"], how, polish_dir, cache_dir, layers=(1, 3))
        training = arguments(tmp_path)
        task.prepare(training)
        assert task.extractor.feature_size == {"none": 32, "top-1": 32, "top-2": 16, "lora": 16, "all": 20}[how]
        network = task.make_network()
        head = {name: weight for name, weight in network.state_dict().items() if not name.startswith("ser.encoder.")}
        if scores:  # the encoder's own first weights took other chances
            for name in ("ser.feature_mean", "ser.feature_std"):
                torch.testing.assert_close(head[name], first[name], rtol=1e-3, atol=1e-4)
            network.load_state_dict(first, strict=False)
        else:
            first = head
        output = TaskTrainer(task, network, training).predict(task.validation)
        scores.append(torch.from_numpy(output.predictions))
    for other in scores[2:]:
        torch.testing.assert_close(other, scores[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        scores[0], scores[1], rtol=0, atol=0.03
    )  # of features that are cached in half precision


def test_what_is_pretrained_learns_at_a_rate_of_its_own(
    encoders: dict[str, Path], polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    task = task_with(encoders["hubert"], "top-1", polish_dir, cache_dir, encoder_learning_rate=None)
    training = arguments(tmp_path, learning_rate=1e-2, weight_decay=0.1)
    task.prepare(training)
    network = task.make_network()
    groups = task.make_optimizer(network).param_groups
    rates = {id(one): (group["lr"], group["weight_decay"]) for group in groups for one in group["params"]}
    for name, parameter in network.named_parameters():
        assert (id(parameter) in rates) == parameter.requires_grad
        assert parameter.requires_grad == (not name.startswith("ser.encoder.") or ".layers.2." in name)
        if parameter.requires_grad:
            rate = 1e-4 if name.startswith("ser.encoder.") else 1e-2
            assert rates[id(parameter)] == (pytest.approx(rate), 0.1 if parameter.dim() > 1 else 0.0), name


@pytest.mark.parametrize(
    ("kind", "how", "frames"), [("hubert", "top-1", 20), ("hubert", "all", 6400), ("whisper", "all", 40)]
)
def test_a_time_mask_is_as_long_whatever_the_features_are(
    kind: str, how: str, frames: int, encoders: dict[str, Path], polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    task = task_with(encoders[kind], how, polish_dir, cache_dir, time_masks=1)
    task.prepare(arguments(tmp_path))
    (masking,) = task.augmentations(task.make_network())
    assert masking.time_mask_frames == frames  # 0.4 s


@pytest.mark.parametrize("how", ["top-1", "lora"])
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    how: str, encoders: dict[str, Path], polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    def run(folder: str, *callbacks: Any, **changes: Any) -> Path:
        task = task_with(encoders["whisper"], how, polish_dir, cache_dir)
        changes |= {"num_train_epochs": 2, "activation_checkpointing": how == "lora"}
        run_training(task, arguments(tmp_path / folder, **changes), callbacks=list(callbacks))
        return tmp_path / folder

    whole, parts = run("whole"), run("parts", signal_at("on_step_begin", 5))
    assert last_checkpoint(parts).name == "checkpoint-6"
    assert (last_checkpoint(parts) / STATE).exists() == (how == "lora")
    run("parts", resume_from_checkpoint=True)
    assert_equal_runs(whole, parts, "eval_ua")
    # A checkpoint is a plain model, too.
    network = SERForAudioClassification.from_pretrained(whole / "checkpoint-4")
    extractor = SERFeatureExtractor.from_pretrained(whole / "checkpoint-4")
    assert network.ser.frame_size == extractor.feature_size == 20
    with pytest.raises(ValueError, match=r"encoder_learning_rate is 0\.003 there and 0\.01 here"):
        task = task_with(encoders["whisper"], how, polish_dir, cache_dir, encoder_learning_rate=1e-2)
        run_training(task, arguments(parts, num_train_epochs=2, resume_from_checkpoint=True))


@pytest.mark.parametrize("how", ["top-1", "lora"])
def test_the_best_epoch_is_kept_in_memory_too(
    how: str, encoders: dict[str, Path], polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    saved = run_training(task_with(encoders["whisper"], how, polish_dir, cache_dir), arguments(tmp_path))
    kept = run_training(task_with(encoders["whisper"], how, polish_dir, cache_dir), arguments(tmp_path), save=False)
    assert saved.best_epoch == kept.best_epoch and saved.parameters == kept.parameters
    for name, output in saved.outputs.items():
        torch.testing.assert_close(*map(torch.from_numpy, (output.predictions, kept.outputs[name].predictions)))
    assert not low_rank_layers(kept.network)


def test_two_processes_train_as_one(
    encoders: dict[str, Path], large_polish_dir: Path, cache_dir: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    steps = "--dropout 0 --attention_dropout 0 --max_steps 10 --logging_strategy steps --logging_steps 1"
    more = f"{line(encoders['whisper'], 'top-2')} {steps} --per_device_train_batch_size"
    one, two = (tmp_path / name for name in ("one", "two"))
    assert train(words(large_polish_dir, cache_dir, one, f"{more} 16")) == 0
    in_two_processes("train.py", words(large_polish_dir, cache_dir, two, f"{more} 8"), environment, tmp_path)
    logs = [read_json(last_checkpoint(folder) / "trainer_state.json")["log_history"] for folder in (one, two)]
    losses = [[entry["loss"] for entry in log if "loss" in entry] for log in logs]
    assert len(losses[0]) == 10 and losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("how", ["none", pytest.param("top-1", marks=pytest.mark.slow), "lora"])
def test_a_stranger_needs_neither_the_project_nor_peft(
    how: str, encoders: dict[str, Path], polish_dir: Path, cache_dir: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    repo = f"{REPO}-{how}"
    asked = line(encoders["whisper"], how, "1 2 3", f"--push_to_hub true --hub_model_id {repo}")
    asked = asked if how != "none" else asked.replace("--encoder_learning_rate 0.003 ", "")
    command = words(polish_dir, cache_dir, tmp_path / "model", asked)
    env = local_hub.env(tmp_path / "home") | {"PYTHONPATH": str(PROJECT_ROOT)}
    run_command([sys.executable, PROJECT_ROOT / "train.py", *command], env=env, cwd=tmp_path)
    assert (last_checkpoint(tmp_path / "model") / STATE).is_file() == (how == "lora")
    for commit in local_hub.commits(repo):
        assert STATE not in commit.files and ("encoder/model.safetensors" in commit.files) == (how == "none")
        assert "encoder_network.py" in commit.files and "encoder_inputs.py" in commit.files
        assert str(tmp_path).encode() not in b"".join(commit.files.values())
        assert not [name for name in load_keys(commit.files["model.safetensors"]) if "lora" in name or "base" in name]
    expected = scores_of(tmp_path / "model")
    clips = list(expected)[:6]
    both = run_python_json(
        f"""
        import json, sys
        sys.modules["peft"] = None
        from transformers import pipeline
        classifier = pipeline("audio-classification", model={repo!r}, trust_remote_code=True)
        clips = {[str(polish_dir / f"{clip}.wav") for clip in clips]!r}
        both = [[classifier(clip) for clip in clips], classifier(clips, batch_size=3)]
        print(json.dumps([[{{e["label"]: e["score"] for e in one}} for one in results] for results in both]))
        """,
        env=local_hub.env(tmp_path / "other home"),
        cwd=tmp_path,
    )
    for results in both:  # alone, and in batches
        for clip, scores in zip(clips, results, strict=True):
            assert scores == pytest.approx(expected[clip], abs=1e-5), clip


def load_keys(weights: bytes) -> list[str]:
    """Read the names of tensors from the head of a file of safetensors."""
    return list(json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")]))


def test_a_trained_model_is_trained_further(
    encoders: dict[str, Path], polish_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    assert train(words(polish_dir, cache_dir, first, line(encoders["whisper"], "top-1"))) == 0
    before = load_file(first / "model.safetensors")
    for how in ("none", "top-1", "lora"):
        more = f"--model_name_or_path {shlex.quote(str(first))} --num_train_epochs 1 --train_encoder {how}"
        folder = tmp_path / how
        line_ = [
            "--corpus",
            "polish",
            "--preset",
            "paper",
            "--use_cpu",
            "true",
            *shlex.split(more),
            "--output_dir",
            str(folder),
        ]
        assert train([*line_, "--data_dir", str(polish_dir), "--cache_dir", str(cache_dir)]) == 0
        after = load_file(folder / "model.safetensors")
        assert after.keys() == before.keys()
        changed = [name for name in after if name.startswith("ser.encoder") and not after[name].equal(before[name])]
        assert bool(changed) == (how != "none")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--streams mel encoder --encoder {}", "is the model's only stream"),
        ("--streams encoder --encoder {} --encoder_layer 2 --train_encoder top-3", "take top-2 or fewer"),
        ("--streams encoder --encoder {} --encoder_layer 4", "has the layers 0 to 3"),
        ("--streams encoder --encoder {} --encoder_layer 0 --train_encoder lora", "below layer 0"),
        ("--streams encoder --encoder {} --train_encoder some", "none, top-N (such as top-2), lora or all"),
        ("--streams deepspeech", "'deepspeech' model stays frozen"),
        ("--streams mel", "is the model's only stream"),
        (
            "--streams encoder --encoder {} --train_encoder none --encoder_learning_rate 0.1",
            "for an encoder that learns",
        ),
        ("--streams encoder --encoder {} --train_encoder top-1 --lora_rank 4", "that of --train_encoder lora"),
        ("--streams encoder --encoder {} --train_encoder none --band_masks 2", "--band_masks is for mel bands"),
    ],
)
def test_what_cannot_be_trained_is_said(
    more: str, message: str, encoders: dict[str, Path], polish_dir: Path, cache_dir: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    more = more.format(shlex.quote(str(encoders["whisper"])))
    more = more if "--train_encoder" in more else f"{more} --train_encoder top-1"
    assert train(words(polish_dir, cache_dir, tmp_path / "model", more)) == 1
    assert message in " ".join(capsys.readouterr().err.split())


# Adapters ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["whisper", "hubert", "wavlm"])
def test_adapters_are_plain_weights_to_whoever_saves_or_loads(kind: str, tmp_path: Path) -> None:
    model, names = model_with(kind), set(model_with(kind).state_dict())
    inputs = torch.randn(2, 60, 20) if kind == "whisper" else torch.randn(2, 2000, 1)
    before = model(inputs).logits
    model.ser.encoder.requires_grad_(False)
    add_low_rank(model.ser.encoder.blocks, rank=2)
    torch.testing.assert_close(model(inputs).logits, before)  # at first they give nothing
    layers = low_rank_layers(model)
    assert len(layers) == 2 * (2 if kind == "wavlm" else 6)
    for layer in layers.values():
        torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
    adapted = model(inputs).logits
    assert not torch.allclose(adapted, before)
    state = model.state_dict()
    assert set(state) == names
    plain = model_with(kind)
    plain.load_state_dict(state)
    torch.testing.assert_close(plain(inputs).logits, adapted)
    model.load_state_dict(state)  # from a plain state the adapters give nothing again
    torch.testing.assert_close(model(inputs).logits, adapted)
    merge_low_rank(model)
    torch.testing.assert_close(model(inputs).logits, plain(inputs).logits)
    assert set(model.state_dict()) == names
    with pytest.raises(FileNotFoundError, match=f"has no {STATE}"):
        add_low_rank(model.ser.encoder.blocks)
        load_exact_state(model, tmp_path)


def test_adapters_without_their_package_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"pip install 'modeling-ser\[lora\]'"):
        add_low_rank(model_with("whisper").ser.encoder.blocks)
