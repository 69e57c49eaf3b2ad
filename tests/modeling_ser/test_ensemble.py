"""Ensembles: averaged posteriors, members that share nothing, one checkpoint, one pass over the features."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_ser import SEREnsembleForAudioClassification, SERForAudioClassification, SERModel, SERPipeline
from modeling_ser.classification_loss import classification_loss
from modeling_ser.modeling_ser_ensemble import log_mean_posterior
from tests.modeling_ser.small_models import enlivened, padded, random_clips, small_config
from tests.modeling_ser.small_pipeline import CLIPS, small_classifier, write_clips

LENGTHS = [5, 1, 12, 8]
LATE = {"fusion": "late", "stream_sizes": [2, 4]}
LABELS = torch.tensor([0, 1, 2, 1])


def three_members(**fields: Any) -> list[SERForAudioClassification]:
    return [enlivened(SERForAudioClassification(small_config(**fields)), seed) for seed in range(3)]


def three_classifiers() -> tuple[list[SERForAudioClassification], Any]:
    """Three classifiers of mel features, and their extractor."""
    first, extractor = small_classifier()
    others = [SERForAudioClassification(first.config) for _ in range(2)]
    for factor, other in enumerate(others, 2):
        other.ser.set_normalization(first.ser.feature_mean * factor, first.ser.feature_std * factor)
    return [first, *others], extractor


@pytest.mark.parametrize("fields", [{}, LATE | {"pooling": "attention_statistics"}], ids=str)
def test_scores_are_the_mean_of_the_members_posteriors(fields: dict) -> None:
    members = three_members(**fields)
    batch = padded(random_clips(LENGTHS))
    logits = SEREnsembleForAudioClassification.from_members(members)(*batch).logits
    posteriors = [member(*batch).logits.double().softmax(dim=-1) for member in members]
    assert min((one - other).abs().max() for one, other in itertools.pairwise(posteriors)) > 0.01
    expected = sum(posteriors) / 3
    torch.testing.assert_close(logits.softmax(dim=-1).double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(logits.exp().double(), expected, rtol=0, atol=1e-6)


def test_log_posteriors_are_finite_where_probabilities_vanish() -> None:
    logits = [torch.tensor([[500.0, 0.0, -500.0]]), torch.tensor([[400.0, 0.0, 100.0]])]
    expected = [0.0, math.log((math.exp(-500) + math.exp(-400)) / 2), -300 - math.log(2)]
    assert log_mean_posterior(logits)[0].tolist() == pytest.approx(expected, rel=1e-6)
    half = log_mean_posterior([row.to(torch.bfloat16) for row in logits])
    assert half.dtype == torch.float32


def test_the_loss_is_the_mean_of_the_members_losses() -> None:
    members = three_members(class_weights=[0.5, 1.0, 2.5], label_smoothing=0.1)
    batch = padded(random_clips(LENGTHS))
    ensemble = SEREnsembleForAudioClassification.from_members(members)
    output = ensemble(*batch, labels=LABELS)
    own = [member(*batch, labels=LABELS).loss for member in members]
    torch.testing.assert_close(output.loss, torch.stack(own).mean())
    # It bounds the loss of the averaged posterior, as -log is convex.
    assert output.loss > classification_loss(output.logits, LABELS, ensemble.config)
    assert ensemble(*batch).loss is None
    assert torch.equal(ensemble(*batch, labels=LABELS, return_dict=False)[0], output.loss)


def test_each_member_is_trained_as_if_alone() -> None:
    members = three_members(dropout=0, attention_dropout=0)
    ensemble = SEREnsembleForAudioClassification.from_members(members).train()
    batch = padded(random_clips(LENGTHS))
    ensemble(*batch, labels=LABELS).loss.backward()
    for member, own in zip(members, ensemble.members, strict=True):
        member.train()(*batch, labels=LABELS).loss.backward()
        for (name, alone), together in zip(member.named_parameters(), own.parameters(), strict=True):
            torch.testing.assert_close(3 * together.grad, alone.grad, rtol=1e-4, atol=1e-7, msg=name)
        torch.testing.assert_close(dict(own.named_buffers()), dict(member.named_buffers()))


def test_members_share_nothing_and_fresh_ones_differ() -> None:
    torch.manual_seed(0)
    ensemble = SEREnsembleForAudioClassification(small_config(num_members=3))
    first, second, _ = ensemble.members
    assert not torch.equal(first.classifier.dense.weight, second.classifier.dense.weight)
    first.ser.set_normalization(torch.full((6,), 3.0), torch.full((6,), 2.0))
    assert second.ser.feature_mean.tolist() == [0.0] * 6
    addresses = [value.data_ptr() for value in ensemble.state_dict().values()]
    assert len(addresses) == len(set(addresses)) == 3 * len(first.state_dict())


def test_from_members_copies_and_leaves_the_members_as_they_are() -> None:
    members = three_members()
    members[1].train()
    ensemble = SEREnsembleForAudioClassification.from_members(members)
    assert (ensemble.training, members[1].training) == (False, True)
    assert [member.config.num_members for member in members] == [1, 1, 1]
    assert ensemble.config.num_members == 3
    before = ensemble.members[0].classifier.dense.weight.clone()
    with torch.no_grad():
        members[0].classifier.dense.weight.zero_()
    assert torch.equal(ensemble.members[0].classifier.dense.weight, before)


DISAGREEING = [
    ({"hidden_size": 10}, r"disagree in hidden_size: 8 and 10\. .*retrain one of them\."),
    ({"pooling": "attention_statistics"}, "disagree in pooling: 'mean' and 'attention_statistics'"),
    ({"id2label": {0: "fear", 1: "anger", 2: "calm"}}, "disagree in id2label"),
    ({"class_weights": [1.0, 1.0, 2.0]}, r"disagree in class_weights: None and .*set it anew in its config\."),
    ({"dropout": 0.5}, "disagree in dropout: 0.3 and 0.5"),
]


@pytest.mark.parametrize(("fields", "message"), DISAGREEING, ids=str)
def test_members_that_disagree_are_refused(fields: dict, message: str) -> None:
    members = [SERForAudioClassification(small_config()), SERForAudioClassification(small_config(**fields))]
    with pytest.raises(ValueError, match=f"Members 0 and 1 {message}"):
        SEREnsembleForAudioClassification.from_members(members)


def test_what_is_no_ensemble_is_refused() -> None:
    single = SERForAudioClassification(small_config())
    with pytest.raises(ValueError, match="2 members or more, not 0"):
        SEREnsembleForAudioClassification.from_members([])
    with pytest.raises(ValueError, match="2 members or more, not 1"):
        SEREnsembleForAudioClassification.from_members([single])
    with pytest.raises(ValueError, match="2 members or more, not 1; one is a SERForAudioClassification"):
        SEREnsembleForAudioClassification(small_config())
    with pytest.raises(ValueError, match="Member 1 must be a SERForAudioClassification, not a SERModel"):
        SEREnsembleForAudioClassification.from_members([single, SERModel(small_config())])
    with pytest.raises(ValueError, match=r"are of torch\.float32 and torch\.float16"):
        half = SERForAudioClassification(small_config()).half()
        SEREnsembleForAudioClassification.from_members([single, half])
    with pytest.raises(ValueError, match="problem_type 'multi_label_classification' has none"):
        config = small_config(num_members=2, problem_type="multi_label_classification")
        SEREnsembleForAudioClassification(config)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attentions_and_hidden_states_come_member_by_member(attention: str) -> None:
    members = three_members(**LATE)
    ensemble = SEREnsembleForAudioClassification.from_members(members)
    ensemble.set_attn_implementation(attention)
    assert {member.ser.config._attn_implementation for member in ensemble.members} == {attention}
    batch = padded(random_clips(LENGTHS))
    output = ensemble(*batch, output_attentions=True, output_hidden_states=True)
    own = [member(*batch, output_attentions=True, output_hidden_states=True) for member in members]
    assert (len(output.attentions), len(output.hidden_states)) == (6, 6)
    for member, alone in enumerate(own):
        for index in range(2):
            torch.testing.assert_close(output.attentions[2 * member + index], alone.attentions[index])
            torch.testing.assert_close(output.hidden_states[2 * member + index], alone.hidden_states[index])
    assert ensemble(*batch).attentions is None
    if attention == "eager":  # transformers takes the field of the configuration with no other
        ensemble.config.output_attentions = True
        assert len(ensemble(*batch).attentions) == 6


@pytest.mark.parametrize("garbage", [0.0, torch.nan])
def test_a_clip_scores_alone_as_in_any_batch(garbage: float) -> None:
    ensemble = SEREnsembleForAudioClassification.from_members(three_members())
    clips = random_clips([*LENGTHS, 40])
    alone = torch.cat([ensemble(clip.unsqueeze(0)).logits for clip in clips])
    torch.testing.assert_close(ensemble(*padded(clips, 97, garbage)).logits, alone, rtol=0, atol=1e-5)


def test_a_saved_ensemble_scores_bit_for_bit_the_same(tmp_path: Path) -> None:
    ensemble = SEREnsembleForAudioClassification.from_members(three_members(**LATE))
    ensemble.save_pretrained(tmp_path)
    loaded = SEREnsembleForAudioClassification.from_pretrained(tmp_path)
    batch = padded(random_clips(LENGTHS))
    assert torch.equal(loaded(*batch).logits, ensemble(*batch).logits)
    torch.testing.assert_close(loaded.state_dict(), ensemble.state_dict(), rtol=0, atol=0)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["auto_map"] == {
        "AutoConfig": "configuration_ser.SERConfig",
        "AutoModelForAudioClassification": "modeling_ser_ensemble.SEREnsembleForAudioClassification",
    }
    assert (tmp_path / "modeling_ser_ensemble.py").is_file()


@pytest.mark.parametrize("index", [0, 2])
def test_a_member_can_be_saved_as_a_model_of_its_own(tmp_path: Path, index: int) -> None:
    ensemble = SEREnsembleForAudioClassification.from_members(three_members())
    ensemble.members[index].save_pretrained(tmp_path)
    single = SERForAudioClassification.from_pretrained(tmp_path)
    batch = padded(random_clips(LENGTHS))
    assert torch.equal(single(*batch).logits, ensemble.members[index](*batch).logits)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["auto_map"]["AutoModelForAudioClassification"] == "modeling_ser.SERForAudioClassification"


def test_loading_is_strict(tmp_path: Path) -> None:
    SEREnsembleForAudioClassification.from_members(three_members()).save_pretrained(tmp_path)
    load, file = SEREnsembleForAudioClassification.from_pretrained, tmp_path / "model.safetensors"
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        load(tmp_path, num_labels=5)
    assert load(tmp_path, num_labels=5, ignore_mismatched_sizes=True)(torch.ones(1, 4, 6)).logits.shape == (1, 5)
    with pytest.raises(RuntimeError, match=r"Weights of another size: members\.0\.classifier\.dense\.bias"):
        load(tmp_path, dense_size=9, ignore_mismatched_sizes=True)
    with pytest.raises(RuntimeError, match=r"Weights unexpected: members\.2\."):
        load(tmp_path, num_members=2)
    with pytest.raises(RuntimeError, match=r"Weights missing: members\.3\."):
        load(tmp_path, num_members=4)
    weights = load_file(file)
    del weights["members.1.ser.feature_std"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(RuntimeError, match=r"Weights missing: members\.1\.ser\.feature_std\."):
        load(tmp_path)


def test_a_single_models_checkpoint_is_no_ensembles(tmp_path: Path) -> None:
    SERForAudioClassification(small_config()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="2 members or more, not 1"):
        SEREnsembleForAudioClassification.from_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match=r"missing: members\.0\.classifier\.dense\.bias"):
        SEREnsembleForAudioClassification.from_pretrained(tmp_path, num_members=2)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_pipeline_extracts_features_once_for_all_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    members, extractor = three_classifiers()
    calls: list[int] = []
    extract = extractor.extract

    def counting(waveforms: Any, device: Any = None) -> Any:
        calls.append(len(waveforms))
        return extract(waveforms, device)

    monkeypatch.setattr(extractor, "extract", counting)
    classifier = SEREnsembleForAudioClassification.from_members(members).as_pipeline(extractor)
    assert isinstance(classifier, SERPipeline)
    answers = classifier(write_clips(tmp_path), batch_size=batch_size)
    assert calls == {1: [1] * 5, 3: [3, 2]}[batch_size]
    for answer, waveform in zip(answers, CLIPS.values(), strict=True):
        features = extractor(waveform, sampling_rate=16000, return_tensors="pt")
        posteriors = [member.eval()(**features).logits[0].softmax(-1).tolist() for member in members]
        expected = np.mean(posteriors, axis=0)
        given = {item["label"]: item["score"] for item in answer}
        scores = [given[name] for name in classifier.model.config.id2label.values()]
        assert scores == pytest.approx(expected, abs=1e-5)
        assert sum(scores) == pytest.approx(1, abs=1e-5)
    best = classifier({"array": CLIPS["angry"], "sampling_rate": 16000}, top_k=1)
    assert best == [max(classifier(tmp_path / "angry.wav"), key=lambda item: item["score"])]
