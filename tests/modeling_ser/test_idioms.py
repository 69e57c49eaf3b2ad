"""Ways in which users of transformers, datasets, torch and Gradio call what is here."""

import warnings
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Trainer,
    TrainingArguments,
    pipeline,
)

from feature_extraction import DeepSpeechFeatureExtractor
from modeling_ser import SERPipeline, modeling_ser
from tests.modeling_ser.small_pipeline import CLIPS, by_label, expected_scores, small_classifier
from tests.modeling_ser.test_encoder_network import model_with
from tests.subprocess_tools import offline_environment, run_python_json

NAMES = sorted(CLIPS)


def test_the_official_example_of_audio_classification_gives_the_scores_of_clips_alone(tmp_path: Path) -> None:
    """Do as `run_audio_classification.py` does, which keeps the first of `model_input_names`, and so no mask."""
    folder, labels = str(tmp_path / "saved"), ["joy", "zeal"]
    for part in small_classifier():
        part.save_pretrained(folder)
    hub = {"cache_dir": None, "revision": "main", "token": None, "trust_remote_code": True}
    feature_extractor = AutoFeatureExtractor.from_pretrained(folder, return_attention_mask=True, **hub)
    config = AutoConfig.from_pretrained(
        folder,
        num_labels=len(labels),
        label2id={label: str(index) for index, label in enumerate(labels)},
        id2label={str(index): label for index, label in enumerate(labels)},
        finetuning_task="audio-classification",
        **hub,
    )
    model = AutoModelForAudioClassification.from_pretrained(
        folder, from_tf=False, config=config, ignore_mismatched_sizes=True, **hub
    )
    model.freeze_feature_encoder()
    model_input_name = feature_extractor.model_input_names[0]

    def transforms(batch: dict[str, list]) -> dict[str, Any]:
        wavs = [np.asarray(audio, np.float32) for audio in batch["audio"]]
        inputs = feature_extractor(wavs, sampling_rate=feature_extractor.sampling_rate)
        return {model_input_name: inputs.get(model_input_name), "labels": list(batch["labels"])}

    clips = {"audio": [CLIPS[name] for name in NAMES], "labels": [0, 1, 0, 1, 0]}
    rows = datasets.Dataset.from_dict(clips)
    rows.set_transform(transforms, output_all_columns=False)
    arguments = TrainingArguments(
        str(tmp_path / "run"),
        remove_unused_columns=False,
        per_device_train_batch_size=3,
        per_device_eval_batch_size=5,
        max_steps=3,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows, processing_class=feature_extractor
    )
    trainer.train()
    trainer.save_model()
    predicted = trainer.predict(rows).predictions
    classifier = pipeline("audio-classification", model=str(tmp_path / "run"), trust_remote_code=True, device="cpu")
    answers = classifier(clips["audio"], function_to_apply="none")
    by_name = [{entry["label"]: entry["score"] for entry in answer} for answer in answers]
    expected = np.array([[scores[label] for label in labels] for scores in by_name])
    np.testing.assert_allclose(predicted, expected, atol=1e-5)


def test_an_encoder_of_the_models_own_keeps_its_convolutions_where_that_is_asked_for() -> None:
    model = model_with("wav2vec2")
    model.freeze_feature_encoder()
    encoder = model.ser.encoder
    assert not any(one.requires_grad for one in encoder.front_parameters().values())
    assert all(one.requires_grad for one in encoder.blocks.parameters())


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "in a trace"])
def test_padding_without_a_mask_is_told_once(compiled: bool) -> None:
    model, extractor = small_classifier()
    batch = extractor([CLIPS[name] for name in NAMES], 16000, padding=True, return_tensors="pt")
    padded = batch["input_features"]
    modeling_ser._warn_of_missing_mask.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(**batch)
        model(input_features=padded[:1, :10])  # whole
        model(input_features=torch.zeros(2, 10, 48))  # digital silence, normalized
        if compiled:
            torch.export.export(model, (padded,), strict=False)
            return
    with pytest.warns(UserWarning, match=r"came without attention_mask.*Pass the attention_mask"):
        model(input_features=padded)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(input_features=padded)


WAYS = {
    "Gradio": lambda clip: (32000, (clip * 32767).astype(np.int16)),
    "Gradio, two channels": lambda clip: (32000, np.stack([clip, clip], 1)),
    "soundfile": lambda clip: (clip, 32000),
    "torchaudio": lambda clip: (torch.from_numpy(clip)[None], 32000),
    "a list": lambda clip: [np.int64(32000), clip],
}


@pytest.mark.parametrize("way", WAYS)
def test_samples_come_with_their_rate(way: str) -> None:
    model, extractor = small_classifier()
    classifier = SERPipeline(model=model, feature_extractor=extractor, device="cpu")
    clip = CLIPS["angry"]
    pair = WAYS[way](clip)
    expected = expected_scores(model, extractor, extractor.load_audio({"array": clip, "sampling_rate": 32000}))
    answers = [classifier(pair), *classifier([pair, pair])]
    assert [by_label(answer) for answer in answers] == [pytest.approx(expected, abs=1e-3)] * 3
    for kind in (extractor, DeepSpeechFeatureExtractor()):
        with pytest.raises(TypeError, match=r"pair of samples and their rate.*extractor\.load_audio\(pair\)"):
            kind(pair)
    with pytest.raises(ValueError, match="sampling rate of 0 Hz"):
        classifier((0, clip))


def test_forked_processes_compute_though_their_parent_has_used_threads(tmp_path: Path) -> None:
    code = """
        import json
        import multiprocessing
        import datasets
        import numpy as np
        import torch
        from tests.modeling_ser.small_pipeline import small_classifier
        torch.set_num_threads(2)
        model, extractor = small_classifier()
        clip = np.random.default_rng(0).standard_normal(400_000).astype("float32") / 10
        def frames(batch):
            features = extractor([np.asarray(clip, "float32") for clip in batch["audio"]], sampling_rate=16000)
            return {"frames": [len(row) for row in features["input_features"]]}
        def logits(_):
            with torch.no_grad():
                return model(**extractor(clip, sampling_rate=16000, return_tensors="pt")).logits.tolist()
        expected = logits(0)
        rows = datasets.Dataset.from_dict({"audio": [clip] * 4})
        found = rows.map(frames, batched=True, batch_size=1, num_proc=2, remove_columns=["audio"])["frames"][:]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            forked = pool.map(logits, range(2))
        print(json.dumps([found, bool(np.allclose(forked, [expected] * 2, atol=1e-5)), torch.get_num_threads()]))
    """
    env = offline_environment(tmp_path / "home") | {"OMP_NUM_THREADS": "2"}
    found = run_python_json(code, env=env, cwd=tmp_path, with_project=True, timeout=120)
    assert found == [[1001] * 4, True, 2]
