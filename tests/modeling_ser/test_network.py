"""The network against the slides' formulas, and everything that padding must not change."""

import numpy as np
import pytest
import torch

from modeling_ser import SERForAudioClassification, SERModel
from tests.modeling_ser.slides_in_numpy import attend, logits_by_the_slides
from tests.modeling_ser.small_models import (
    EMOTIONS,
    FUNCTIONALS,
    HEAD,
    LATE,
    LENGTHS,
    MIX,
    STATISTICS,
    STEM,
    STEM_AND_ANOTHER,
    STEM_AND_LAYERS,
    clips_for,
    enlivened,
    padded,
    random_clips,
    small_config,
    small_model,
)

SHAPES = [
    {},
    {"conv_kernel_size": 4},
    {"conv_kernel_size": 9},
    {"head_size": 3, "attention_bias": True},
    {"num_attention_heads": 1},
    LATE,
    STATISTICS,
    LATE | STATISTICS,
    FUNCTIONALS,
    MIX,
    LATE | MIX,
]
POOLINGS = [{}, STATISTICS, FUNCTIONALS]
STEMS = [STEM, STEM_AND_ANOTHER, STEM_AND_LAYERS | {"fusion": "late"}]
NO_DROPOUT = {"dropout": 0, "attention_dropout": 0}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scores_follow_the_slides_formulas(shape: dict, attention: str) -> None:
    model = small_model(**shape).double()
    model.set_attn_implementation(attention)
    expected = logits_by_the_slides(model, random_clips(LENGTHS))
    assert expected.std(axis=0).min() > 0.01  # the clips are told apart
    np.testing.assert_allclose(model(*clips_for(model)).logits.detach(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [{}, LATE, LATE | STATISTICS, FUNCTIONALS], ids=str)
def test_training_scores_follow_the_slides_formulas(shape: dict) -> None:
    model = small_model(**NO_DROPOUT, **shape).double()
    expected = logits_by_the_slides(model, random_clips(LENGTHS), training=True)
    np.testing.assert_allclose(model.train()(*clips_for(model)).logits.detach(), expected, rtol=0, atol=1e-10)


def test_the_second_head_reads_what_each_feature_does_over_a_clip() -> None:
    model, clips = small_model(**HEAD).double(), random_clips(LENGTHS)
    clips_mean, clips_std = torch.linspace(-1, 1, 12), torch.linspace(0.5, 2, 12)
    model.ser.set_normalization(MEAN, STD, (clips_mean, clips_std))
    clips = [(clip * STD + MEAN).double() for clip in clips]
    features, mask = padded(clips)
    rows = torch.stack([torch.cat([clip.mean(dim=0), clip.std(dim=0, correction=0)]) for clip in clips])
    statistics = (rows - clips_mean) / clips_std  # (clips, 2 × features)
    output = model.ser(features, attention_mask=mask)
    found = output.pooler_output[:, model.ser.pooled_size :]
    # A deviation has a floor, so that its slope stays finite: a clip of one frame has none.
    several = torch.tensor(LENGTHS) > 1
    torch.testing.assert_close(found[several], statistics[several], rtol=1e-4, atol=1e-4)
    answers = model.classifier(output.pooler_output)
    average = sum(answer.softmax(dim=-1) for answer in answers) / 2
    scores = model(features, mask, labels=EMOTIONS)
    torch.testing.assert_close(scores.logits.exp(), average)
    own = [torch.nn.functional.cross_entropy(answer, EMOTIONS) for answer in answers]
    torch.testing.assert_close(scores.loss, sum(own) / 2)  # not that of the average
    with pytest.raises(ValueError, match="problem_type 'multi_label_classification' has none"):
        small_config(problem_type="multi_label_classification", **HEAD)


def test_layers_are_mixed_after_each_was_normalized() -> None:
    model = SERModel(small_config(**MIX)).eval()
    clip = torch.randn(1, 9, 6)
    model.set_normalization(torch.arange(6.0), torch.tensor([1.0, 1.0, 2.0, 4.0, 8.0, 16.0]))
    seen = []
    model.streams[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(clip)
    normalized = (clip - model.feature_mean) / model.feature_std
    even = torch.cat([normalized[..., :2], (normalized[..., 2:4] + normalized[..., 4:]) / 2], dim=-1)
    torch.testing.assert_close(seen[0], even)  # at birth all layers count alike
    with torch.no_grad():
        model.mix.scores.copy_(torch.tensor([0.0, 1.0]))
    model(clip)
    share = 1 / (1 + np.e)
    torch.testing.assert_close(seen[1][..., 2:], share * normalized[..., 2:4] + (1 - share) * normalized[..., 4:])


def test_a_mix_of_single_layers_has_no_weights() -> None:
    plain, single = (small_model(stream_sizes=[2, 4], layer_mix=mix) for mix in (None, [1, 1]))
    assert list(plain.state_dict()) == list(single.state_dict())
    assert torch.equal(plain(*clips_for(plain)).logits, single(*clips_for(plain)).logits)


@pytest.mark.parametrize("field", ["dropout", "attention_dropout", "encoder_dropout"])
def test_dropout_acts_in_training_only(field: str) -> None:
    model = small_model(**(NO_DROPOUT | {field: 0.5}))
    batch = clips_for(model)
    assert torch.equal(model(*batch).logits, model(*batch).logits)
    torch.manual_seed(0)
    assert not torch.equal(model.train()(*batch).logits, model(*batch).logits)


def test_dropout_of_the_encoder_is_what_the_attention_and_its_residual_read() -> None:
    model = SERModel(small_config(encoder_dropout=0.5, attention_dropout=0.0)).train()
    with torch.no_grad():
        model.streams[0].attention.output.weight.zero_()  # C = E
        model.streams[0].conv2.norm.bias.fill_(5.0)  # no value of E is 0 of itself
    torch.manual_seed(0)
    encoded, context = model(torch.randn(4, 50, 6), output_hidden_states=True).hidden_states
    assert torch.equal(encoded, context)
    assert (encoded == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert encoded[encoded != 0].mean().item() == pytest.approx(10.0, abs=0.5)  # the kept ones are doubled


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("shape", "streams"), [({}, 1), (LATE, 2)], ids=str)
def test_attentions(shape: dict, streams: int, attention: str) -> None:
    model = small_model(**shape)
    model.set_attn_implementation(attention)
    features, mask = clips_for(model)
    output = model(features, mask, output_attentions=True)
    assert len(output.attentions) == streams
    for weights in output.attentions:
        assert weights.shape == (4, 2, 12, 12)  # (batch, heads, frames, frames)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(4, 2, 12))
        padding = ~mask.bool()[:, None, None, :].expand_as(weights)
        assert (weights >= 0).all() and weights[padding].abs().max() == 0
        assert weights[~padding].std() > 1e-3  # not a uniform mean
    torch.testing.assert_close(output.logits, model(features, mask).logits)


@pytest.mark.parametrize("garbage", [0.0, 1e4, torch.nan, torch.inf])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    "shape",
    [{"conv_kernel_size": 5}, LATE, MIX, *POOLINGS, LATE | FUNCTIONALS, *STEMS, STEM | STATISTICS, MIX | HEAD],
    ids=str,
)
def test_a_clip_scores_alone_as_in_any_batch(shape: dict, attention: str, garbage: float) -> None:
    model = small_model(**shape)
    model.set_attn_implementation(attention)
    clips = random_clips([*LENGTHS, 9, 2, 40], model.config.input_size)
    alone = torch.cat([model(clip.unsqueeze(0)).logits for clip in clips])
    for frames in (40, 97):
        features, mask = padded(clips, frames, garbage)
        for kind in (torch.int64, torch.bool, torch.float32):
            torch.testing.assert_close(model(features, mask.to(kind)).logits, alone, rtol=0, atol=1e-5)
    reversed_logits = model(*padded(clips[::-1], padding=garbage)).logits
    torch.testing.assert_close(reversed_logits.flip(0), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [*POOLINGS, *STEMS, LATE | MIX, LATE | HEAD], ids=str)
def test_training_statistics_do_not_see_padding(shape: dict) -> None:
    states = []
    for frames in (12, 50):
        model = small_model(**NO_DROPOUT, **shape).train()
        logits = model(*clips_for(model, frames=frames, padding=torch.nan)).logits
        states.append({"logits": logits, **model.state_dict()})
    torch.testing.assert_close(*states)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [*POOLINGS, *STEMS, LATE | MIX, LATE | HEAD], ids=str)
def test_no_gradient_flows_into_padding(shape: dict, training: bool) -> None:
    # With few units in the first dense layer a clip may rectify all of them to 0, and has no gradient then.
    model = small_model(dense_size=20, **shape).train(training)
    features, mask = clips_for(model, padding=torch.nan)
    features.requires_grad_()
    model(features, mask, labels=EMOTIONS).loss.backward()
    assert (features.grad[~mask.bool()] == 0).all()
    assert (features.grad[mask.bool()].abs().sum(dim=-1) > 0).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize(
    "shape", [*({"attention_bias": True} | LATE | pooling for pooling in POOLINGS), *STEMS, MIX, HEAD]
)
def test_every_parameter_is_trained(shape: dict) -> None:
    model = small_model(dense_size=20, **shape).train().double()
    model(*clips_for(model), labels=EMOTIONS).loss.backward()
    idle = [name for name, value in model.named_parameters() if value.grad is None or value.grad.abs().max() < 1e-8]
    # A bias of the keys moves all scores of a query alike, and softmax takes it out again; one of the output moves
    # the mean of every clip alike, and the normalization of functionals takes it out.
    expected = ["key.bias", "output.bias"] if shape.get("pooling") == "functionals" else ["key.bias"]
    streams = 2 if "attention_bias" in shape else 0
    assert idle == [f"ser.streams.{stream}.attention.{name}" for stream in range(streams) for name in expected]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("shape", POOLINGS, ids=str)
def test_a_clip_without_a_real_frame_spoils_no_other(shape: dict, attention: str) -> None:
    model = small_model(**shape)
    model.set_attn_implementation(attention)
    features, mask = clips_for(model, [6, 4])
    expected = model(features, mask).logits[0]
    mask[1] = 0
    logits = model(features, mask).logits
    torch.testing.assert_close(logits[0], expected)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    model = small_model()
    features, mask = clips_for(model)
    # Features of half precision are taken at the model's.
    expected = model(features.to(dtype).float(), mask).logits
    assert torch.equal(model(features.to(dtype), mask).logits, expected)
    logits = model.to(dtype)(features, mask).logits
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=40 * torch.finfo(dtype).eps)


def test_training_under_autocast_stays_near_single_precision() -> None:
    losses = []
    for enabled in (False, True):
        model = small_model(**NO_DROPOUT).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = model(*clips_for(model), labels=EMOTIONS).loss
        loss.backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_hidden_states_are_what_attention_reads_and_writes() -> None:
    model = enlivened(SERModel(small_config()))
    features, mask = clips_for(model)
    output = model(features, mask, output_hidden_states=True)
    encoded, context = output.hidden_states
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    for row, length in enumerate(LENGTHS):
        expected = attend(encoded[row, :length].detach().double().numpy(), weights, "streams.0.attention.", 2)
        np.testing.assert_allclose(context[row, :length].detach(), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(output.pooler_output[row], context[row, :length].mean(dim=0))
    assert torch.equal(context, output.last_hidden_state)
    assert (encoded[~mask.bool()] == 0).all() and (context[~mask.bool()] == 0).all() and (encoded >= 0).all()
    plain = model(features, mask)
    assert plain.hidden_states is None and plain.attentions is None


def test_tuples_hold_what_the_output_objects_hold() -> None:
    model = small_model()
    batch = clips_for(model)
    demanded = {"output_hidden_states": True, "output_attentions": True}
    as_tuple = model.ser(*batch, **demanded, return_dict=False)
    assert isinstance(as_tuple, tuple)
    torch.testing.assert_close(as_tuple, model.ser(*batch, **demanded).to_tuple())
    assert len(model.ser(*batch, return_dict=False)) == 2
    (logits,) = model(*batch, return_dict=False)
    torch.testing.assert_close(logits, model(*batch).logits)
    model.config.return_dict = False
    assert isinstance(model(*batch), tuple)


def test_the_configuration_can_ask_for_attentions_and_hidden_states() -> None:
    model = small_model(output_hidden_states=True, output_attentions=True)
    output = model(*clips_for(model))
    assert len(output.hidden_states) == 2
    assert output.attentions[0].shape == (4, 2, 12, 12)


@pytest.mark.parametrize(
    ("features", "mask", "named"),
    [
        ((4, 12, 7), None, r"input_features .*6.* not \(4, 12, 7\)"),
        ((12, 6), None, r"input_features .* not \(12, 6\)"),
        ((1, 4, 12, 6), None, r"not \(1, 4, 12, 6\)"),
        ((4, 0, 6), None, r"not \(4, 0, 6\)"),
        ((4, 12, 6), (4, 11), r"attention_mask .*\(4, 12\), not \(4, 11\)"),
        ((4, 12, 6), (4, 12, 1), r"not \(4, 12, 1\)"),
        ((4, 12, 6), (1, 12), r"not \(1, 12\)"),
    ],
)
def test_a_wrong_shape_is_named(features: tuple[int, ...], mask: tuple[int, ...] | None, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        small_model()(torch.zeros(features), None if mask is None else torch.ones(mask))


def test_a_clip_of_many_frames_is_scored() -> None:
    model = small_model()
    with torch.no_grad():
        assert torch.isfinite(model(*clips_for(model, [5000])).logits).all()


@pytest.mark.parametrize(
    ("fields", "streams", "pooled"),
    [
        ({"stream_sizes": [2, 4]}, 1, 8),  # which fusion by frames does not heed
        (LATE, 2, 16),
        (STATISTICS, 1, 16),
        (STATISTICS | LATE, 2, 32),
        (FUNCTIONALS, 1, 64),
        (FUNCTIONALS | LATE, 2, 128),
        (HEAD, 1, 8),
    ],
    ids=str,
)
def test_streams_and_pooling_decide_the_size_of_what_is_pooled(fields: dict, streams: int, pooled: int) -> None:
    model = SERModel(small_config(**fields))
    assert (len(model.streams), model.pooled_size) == (streams, pooled)
    assert ("pooling" in " ".join(model.state_dict())) == ("pooling" in fields)  # the mean has no weights


def test_an_ensembles_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="num_members is 3"):
        SERForAudioClassification(small_config(num_members=3))


def test_fresh_weights_depend_on_the_seed_and_keep_the_scale_of_activations() -> None:
    models = []
    for seed in (1, 0, 0):
        torch.manual_seed(seed)
        models.append(SERForAudioClassification(small_config(input_size=384, hidden_size=128, dense_size=64)))
    other, same, model = (one.state_dict()["ser.streams.0.conv1.conv.weight"] for one in models)
    assert torch.equal(model, same) and not torch.equal(model, other)
    features, mask = clips_for(models[0], [200, 150])
    output = models[-1].train()(features, mask, output_hidden_states=True)
    encoded, context = (state[mask.bool()] for state in output.hidden_states)
    assert 0.3 < encoded.std() < 1.5
    assert 0.3 < context.std() < 3
    assert output.logits.abs().max() < 3


MEAN, STD = torch.linspace(-40.0, 10.0, 6), torch.linspace(0.5, 20.0, 6)


def test_features_are_centered_and_scaled_by_the_statistics_that_were_set() -> None:
    plain, normalizing = SERModel(small_config()).eval(), SERModel(small_config()).eval()
    assert (plain.feature_mean.tolist(), plain.feature_std.tolist()) == ([0.0] * 6, [1.0] * 6)
    normalizing.load_state_dict(plain.state_dict())
    normalizing.set_normalization(MEAN.double() + 1e-12, STD.double())
    assert normalizing.feature_mean.dtype == torch.float32
    clip = random_clips([9])[0].unsqueeze(0)  # (1, frames, features)
    torch.testing.assert_close(normalizing(clip * STD + MEAN)[0], plain(clip)[0], rtol=1e-4, atol=1e-5)
    assert not {"feature_mean", "feature_std"} & {name for name, _ in normalizing.named_parameters()}


@pytest.mark.parametrize(
    ("mean", "std", "named"),
    [
        (torch.zeros(5), STD, r"mean .*6.*\(5,\)"),
        (torch.zeros(1, 6), STD, r"mean .*6.*\(1, 6\)"),
        (MEAN, torch.tensor(1.0), r"std .*6.*\(\)"),
        (torch.full((6,), torch.nan), STD, "mean .*finite"),
        (MEAN, torch.full((6,), torch.inf), "std .*finite"),
        (MEAN, STD * torch.tensor([1, 1, 0, 1, 1, 1]), "deviation must be positive"),
        (MEAN, -STD, "deviation must be positive"),
    ],
)
def test_impossible_statistics_are_refused_and_change_nothing(
    mean: torch.Tensor, std: torch.Tensor, named: str
) -> None:
    model = SERModel(small_config())
    with pytest.raises(ValueError, match=named):
        model.set_normalization(mean, std)
    assert (model.feature_mean.tolist(), model.feature_std.tolist()) == ([0.0] * 6, [1.0] * 6)
