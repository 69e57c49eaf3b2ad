"""Ensembles: averaged posteriors, members that share nothing, one checkpoint."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_ser import SEREnsembleForAudioClassification, SERForAudioClassification, SERModel
from modeling_ser.classification_loss import classification_loss, log_mean_posterior
from tests.modeling_ser.small_models import (
    EMOTIONS,
    HEAD,
    LATE,
    LENGTHS,
    MIX,
    STATISTICS,
    STEM,
    clips_for,
    padded,
    random_clips,
    small_config,
    small_model,
)


def three_members(**fields: Any) -> list[SERForAudioClassification]:
    return [small_model(seed, **fields) for seed in range(3)]


def small_ensemble(**fields: Any) -> SEREnsembleForAudioClassification:
    return SEREnsembleForAudioClassification.from_members(three_members(**fields))


@pytest.mark.parametrize("fields", [{}, LATE | MIX | STATISTICS, HEAD], ids=str)
def test_scores_are_the_mean_of_the_members_posteriors(fields: dict) -> None:
    members = three_members(**fields)
    batch = clips_for(members[0])
    logits = SEREnsembleForAudioClassification.from_members(members)(*batch).logits
    posteriors = [member(*batch).logits.double().softmax(dim=-1) for member in members]
    assert min((one - other).abs().max() for one, other in itertools.pairwise(posteriors)) > 0.01
    expected = sum(posteriors) / 3
    torch.testing.assert_close(logits.softmax(dim=-1).double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(logits.exp().double(), expected, rtol=0, atol=1e-6)


def test_values_are_averaged() -> None:
    members = three_members(problem_type="regression", loss="ccc", value_ranges=[[1.0, 5.0]] * 3)
    ensemble, batch = SEREnsembleForAudioClassification.from_members(members), clips_for(members[0])
    own = torch.stack([member(*batch).logits for member in members])
    torch.testing.assert_close(ensemble(*batch, labels=own[0]).logits, own.mean(dim=0))


def test_log_posteriors_are_finite_where_probabilities_vanish() -> None:
    logits = [torch.tensor([[500.0, 0.0, -500.0]]), torch.tensor([[400.0, 0.0, 100.0]])]
    expected = [0.0, math.log((math.exp(-500) + math.exp(-400)) / 2), -300 - math.log(2)]
    assert log_mean_posterior(logits)[0].tolist() == pytest.approx(expected, rel=1e-6)
    half = log_mean_posterior([row.to(torch.bfloat16) for row in logits])
    assert half.dtype == torch.float32


def test_the_loss_is_the_mean_of_the_members_losses() -> None:
    members = three_members(class_weights=[0.5, 1.0, 2.5], label_smoothing=0.1)
    batch = clips_for(members[0])
    ensemble = SEREnsembleForAudioClassification.from_members(members)
    output = ensemble(*batch, labels=EMOTIONS)
    own = [member(*batch, labels=EMOTIONS).loss for member in members]
    torch.testing.assert_close(output.loss, torch.stack(own).mean())
    # It bounds the loss of the averaged posterior, as -log is convex.
    assert output.loss > classification_loss(output.logits, EMOTIONS, ensemble.config)
    assert ensemble(*batch).loss is None
    assert torch.equal(ensemble(*batch, labels=EMOTIONS, return_dict=False)[0], output.loss)


def test_each_member_is_trained_as_if_alone() -> None:
    members = three_members(dropout=0, attention_dropout=0)
    ensemble = SEREnsembleForAudioClassification.from_members(members).train()
    batch = clips_for(members[0])
    ensemble(*batch, labels=EMOTIONS).loss.backward()
    for member, own in zip(members, ensemble.members, strict=True):
        member.train()(*batch, labels=EMOTIONS).loss.backward()
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
    members[0].config.temperature = 2.0
    ensemble = SEREnsembleForAudioClassification.from_members(members)
    assert [ensemble.config.temperature, members[0].config.temperature] == [1.0, 2.0]
    assert (ensemble.training, members[1].training) == (False, True)
    assert [member.config.num_members for member in members] == [1, 1, 1]
    assert ensemble.config.num_members == 3
    before = ensemble.members[0].classifier.dense.weight.clone()
    with torch.no_grad():
        members[0].classifier.dense.weight.zero_()
    assert torch.equal(ensemble.members[0].classifier.dense.weight, before)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hidden_size": 10}, "hidden_size: 8 and 10"),
        ({"pooling": "attention_statistics"}, "pooling: 'mean' and 'attention_statistics'"),
        ({"id2label": {0: "fear", 1: "anger", 2: "calm"}}, "id2label"),
        ({"class_weights": [1.0, 1.0, 2.0]}, r"class_weights: None and .*set it anew"),
        ({"dropout": 0.5}, "dropout: 0.3 and 0.5"),
    ],
    ids=str,
)
def test_members_that_disagree_are_refused(fields: dict, named: str) -> None:
    with pytest.raises(ValueError, match=f"Members 0 and 1 disagree in {named}"):
        SEREnsembleForAudioClassification.from_members([small_model(), small_model(**fields)])


def test_members_whose_front_ends_differ_are_not_joined(tmp_path: Path) -> None:
    whisper = {"layer": 2, "digest": "1f", "context": "clip"}
    beside = {
        "old": {"streams": ["mel"], "win_length": 400},
        "same": {
            "streams": ["mel"],
            "win_length": 400,
            "front": "none",
            "encoders": None,
            "auto_map": {"A": "there--a"},
        },
        "front": {"streams": ["mel"], "win_length": 400, "front": "speech"},
        "encoder": {
            "streams": ["encoder"],
            "encoders": {"encoder": whisper | {"name_or_path": "/here", "bundled": True}},
        },
        "moved": {"streams": ["encoder"], "encoders": {"encoder": whisper | {"name_or_path": "/there"}}},
        "deeper": {"streams": ["encoder"], "encoders": {"encoder": whisper | {"layer": 3}}},
    }
    for name, settings in beside.items():
        small_model().save_pretrained(tmp_path / name)
        (tmp_path / name / "preprocessor_config.json").write_text(json.dumps(settings))

    def join(*names: str) -> SEREnsembleForAudioClassification:
        loaded = [SERForAudioClassification.from_pretrained(tmp_path / name) for name in names]
        return SEREnsembleForAudioClassification.from_members([small_model(), *loaded])

    assert join("old", "same").config.num_members == 3
    join("encoder", "moved")
    for one, other, named in (
        ("same", "front", r"1 and 2 read different features: front is None beside .*same and 'speech' beside .*front"),
        ("old", "encoder", "encoders is None"),
        ("moved", "deeper", "encoders is .*'layer': 2.* and .*'layer': 3"),
    ):
        with pytest.raises(ValueError, match=named):
            join(one, other)


def test_what_is_no_ensemble_is_refused() -> None:
    single, of_members = small_model(), SEREnsembleForAudioClassification.from_members
    for make, named in (
        (lambda: of_members([]), "not 0"),
        (lambda: of_members([single]), "not 1"),
        (lambda: SEREnsembleForAudioClassification(small_config()), "not 1"),
        (lambda: of_members([single, SERModel(small_config())]), "not a SERModel"),
        (lambda: of_members([single, small_model().half()]), r"torch\.float32 and torch\.float16"),
        (
            lambda: SEREnsembleForAudioClassification(
                small_config(num_members=2, problem_type="multi_label_classification")
            ),
            "'multi_label_classification'",
        ),
    ):
        with pytest.raises(ValueError, match=named):
            make()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attentions_and_hidden_states_come_member_by_member(attention: str) -> None:
    members = three_members(**LATE)
    ensemble = SEREnsembleForAudioClassification.from_members(members)
    ensemble.set_attn_implementation(attention)
    assert {member.ser.config._attn_implementation for member in ensemble.members} == {attention}
    batch = clips_for(members[0])
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
    ensemble = small_ensemble()
    clips = random_clips([*LENGTHS, 40])
    alone = torch.cat([ensemble(clip.unsqueeze(0)).logits for clip in clips])
    torch.testing.assert_close(ensemble(*padded(clips, 97, garbage)).logits, alone, rtol=0, atol=1e-5)


def test_a_saved_ensemble_and_its_members_score_bit_for_bit_the_same(tmp_path: Path) -> None:
    ensemble = small_ensemble(**LATE)
    models = {"whole": ensemble, "0": ensemble.members[0], "2": ensemble.members[2], "stem": small_model(**STEM)}
    for name, model in models.items():
        batch = clips_for(model)
        model.save_pretrained(tmp_path / name)
        loaded = type(model).from_pretrained(tmp_path / name)
        assert torch.equal(loaded(*batch).logits, model(*batch).logits)
        torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
        assert len(list((tmp_path / name).glob("*.safetensors"))) == 1
        saved = json.loads((tmp_path / name / "config.json").read_text())
        code, _, kind = saved["auto_map"]["AutoModelForAudioClassification"].partition(".")
        assert kind == type(model).__name__ and (tmp_path / name / f"{code}.py").is_file()


def test_loading_is_strict(tmp_path: Path) -> None:
    small_ensemble().save_pretrained(tmp_path)
    load, file = SEREnsembleForAudioClassification.from_pretrained, tmp_path / "model.safetensors"
    assert load(tmp_path, num_labels=5, ignore_mismatched_sizes=True)(torch.ones(1, 4, 6)).logits.shape == (1, 5)
    for fields, named in (
        ({"num_labels": 5}, "ignore_mismatched_sizes"),
        ({"dense_size": 9, "ignore_mismatched_sizes": True}, r"of another size: members\.0\.classifier\.dense\.bias"),
        ({"num_members": 2}, r"unexpected: members\.2\."),
        ({"num_members": 4}, r"missing: members\.3\."),
    ):
        with pytest.raises(RuntimeError, match=named):
            load(tmp_path, **fields)
    weights = load_file(file)
    del weights["members.1.ser.feature_std"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(RuntimeError, match=r"missing: members\.1\.ser\.feature_std\."):
        load(tmp_path)


def test_a_single_models_checkpoint_is_no_ensembles(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="2 members or more, not 1"):
        SEREnsembleForAudioClassification.from_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match=r"missing: members\.0\.classifier\.dense\.bias"):
        SEREnsembleForAudioClassification.from_pretrained(tmp_path, num_members=2)
