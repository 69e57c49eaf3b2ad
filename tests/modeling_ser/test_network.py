"""The network against the slides' formulas, and everything that padding must not change."""

import numpy as np
import pytest
import torch

from modeling_ser import SERForAudioClassification, SERModel
from tests.modeling_ser.small_models import enlivened, padded, random_clips, small_config

LENGTHS = [5, 1, 12, 8]
LATE = {"fusion": "late", "stream_sizes": [2, 4]}
STATISTICS = {"pooling": "attention_statistics"}
FUNCTIONALS = {"pooling": "functionals"}
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
]

Weights = dict[str, np.ndarray]


def convolve(clip: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Slide a kernel (out, in, width) over (frames, in); zeros beyond both ends keep the number of frames."""
    width = kernel.shape[2]
    before = (width - 1) // 2
    framed = np.pad(clip, ((before, width - 1 - before), (0, 0)))
    return np.stack(
        [sum(kernel[:, :, k] @ framed[frame + k] for k in range(width)) for frame in range(len(clip))]
    )  # (frames, out)


def normalize(clips: list[np.ndarray], weights: Weights, layer: str, training: bool) -> list[np.ndarray]:
    mean, variance = weights[layer + "running_mean"], weights[layer + "running_var"]
    if training:
        frames = np.concatenate(clips)
        mean, variance = frames.mean(axis=0), frames.var(axis=0)
    return [
        (clip - mean) / np.sqrt(variance + 1e-5) * weights[layer + "weight"] + weights[layer + "bias"]
        for clip in clips
    ]


def attend(encoded: np.ndarray, weights: Weights, layer: str, heads: int) -> np.ndarray:
    """C = E + (A_1 ‖ … ‖ A_h) W_E, with A_i = softmax(Q_i K_iᵀ / √d_K) V_i."""

    def project(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{layer}{name}.weight"].T + weights.get(f"{layer}{name}.bias", 0.0)

    queries, keys, values = (np.split(project(encoded, name), heads, axis=1) for name in ("query", "key", "value"))
    attended = []
    for query, key, value in zip(queries, keys, values, strict=True):  # each (frames, d_K)
        exponentials = np.exp(query @ key.T / np.sqrt(query.shape[1]))  # (frames, frames)
        attended.append(exponentials / exponentials.sum(axis=1, keepdims=True) @ value)
    return encoded + project(np.concatenate(attended, axis=1), "output")


def weighted_statistics(context: np.ndarray, weights: Weights, layer: str) -> np.ndarray:
    """Okabe et al.'s equations, as they print them: e = vᵀ tanh(W c + b), σ² = Σ a c² - μ²; (2 × channels,)."""
    hidden = np.tanh(context @ weights[layer + "hidden.weight"].T + weights[layer + "hidden.bias"])
    exponentials = np.exp(hidden @ weights[layer + "score.weight"][0])  # (frames,)
    shares = exponentials / exponentials.sum()
    mean = shares @ context
    return np.concatenate([mean, np.sqrt(np.maximum(shares @ context**2 - mean**2, 1e-6))])


def clip_functionals(context: np.ndarray) -> np.ndarray:
    """Mean, deviation, trend and autocorrelations of a clip's channels, (8 × channels,)."""
    frames, mean = len(context), context.mean(axis=0)
    d, place = context - mean, (np.arange(frames) + 0.5) / frames * 2 - 1
    trend = [place @ d / frames, (1.5 * place**2 - 0.5) @ d / frames]
    products = [(d[lag:] * d[:-lag]).sum(axis=0) if lag < frames else 0 * mean for lag in (1, 2, 4, 8)]
    rhythm = [product / frames / (d.var(axis=0) + 0.01) for product in products]
    return np.concatenate([mean, np.sqrt(np.maximum(d.var(axis=0), 1e-6)), *trend, *rhythm])


def logits_by_the_slides(
    model: SERForAudioClassification, clips: list[torch.Tensor], training: bool = False
) -> np.ndarray:
    """Score clips in numpy, without batch or mask: (clips, labels)."""
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    normalized = [(clip.double().numpy() - weights["ser.feature_mean"]) / weights["ser.feature_std"] for clip in clips]
    sizes = model.config.stream_sizes if model.config.fusion == "late" else [model.config.input_size]
    pooled = []
    for stream in range(len(sizes)):
        start = sum(sizes[:stream])
        x = [clip[:, start : start + sizes[stream]] for clip in normalized]
        for layer in (f"ser.streams.{stream}.conv1.", f"ser.streams.{stream}.conv2."):
            x = [convolve(clip, weights[layer + "conv.weight"]) for clip in x]
            x = [np.maximum(clip, 0) for clip in normalize(x, weights, layer + "norm.", training)]
        layer = f"ser.streams.{stream}.attention."
        contexts = [attend(clip, weights, layer, model.config.num_attention_heads) for clip in x]
        if model.config.pooling == "mean":
            pooled.append([context.mean(axis=0) for context in contexts])
        elif model.config.pooling == "functionals":
            rows = [clip_functionals(context)[None] for context in contexts]
            rows = normalize(rows, weights, f"ser.poolings.{stream}.norm.", training)
            pooled.append([row[0] for row in rows])
        else:
            pooled.append([weighted_statistics(context, weights, f"ser.poolings.{stream}.") for context in contexts])
    joined = np.concatenate([np.stack(rows) for rows in pooled], axis=1)  # (clips, channels × streams)
    dense = np.maximum(joined @ weights["classifier.dense.weight"].T + weights["classifier.dense.bias"], 0)
    return dense @ weights["classifier.out_proj.weight"].T + weights["classifier.out_proj.bias"]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scores_follow_the_slides_formulas(shape: dict, attention: str) -> None:
    model = enlivened(SERForAudioClassification(small_config(**shape))).double()
    model.set_attn_implementation(attention)
    clips = random_clips(LENGTHS)
    features, mask = padded(clips)
    expected = logits_by_the_slides(model, clips)
    assert expected.std(axis=0).min() > 0.01  # the clips are told apart
    np.testing.assert_allclose(model(features, mask).logits.detach(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [{}, LATE, LATE | STATISTICS, FUNCTIONALS], ids=str)
def test_training_scores_follow_the_slides_formulas(shape: dict) -> None:
    model = enlivened(SERForAudioClassification(small_config(dropout=0, attention_dropout=0, **shape))).double()
    clips = random_clips(LENGTHS)
    expected = logits_by_the_slides(model, clips, training=True)
    np.testing.assert_allclose(model.train()(*padded(clips)).logits.detach(), expected, rtol=0, atol=1e-10)


def test_dropout_acts_in_training_only() -> None:
    for field in ("dropout", "attention_dropout", "encoder_dropout"):
        config = small_config(**({"dropout": 0.0, "attention_dropout": 0.0} | {field: 0.5}))
        model = enlivened(SERForAudioClassification(config))
        batch = padded(random_clips(LENGTHS))
        assert torch.equal(model(*batch).logits, model(*batch).logits)
        model.train()
        torch.manual_seed(0)
        assert not torch.equal(model(*batch).logits, model(*batch).logits), field


@pytest.mark.parametrize("masked", [True, False])
def test_sdpa_equals_eager_attention(masked: bool) -> None:
    torch.manual_seed(0)
    model = SERForAudioClassification(small_config(hidden_size=64, num_attention_heads=4)).eval()
    features, mask = padded(random_clips([300, 17, 1, 120]))
    outputs = []
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        assert model.ser.config._attn_implementation == attention
        outputs.append(model.ser(features, mask if masked else None))
    torch.testing.assert_close(*(output.pooler_output for output in outputs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("shape", "streams"), [({}, 1), (LATE, 2)], ids=str)
def test_attentions(shape: dict, streams: int, attention: str) -> None:
    model = enlivened(SERForAudioClassification(small_config(**shape)))
    model.set_attn_implementation(attention)
    features, mask = padded(random_clips(LENGTHS))
    output = model(features, mask, output_attentions=True)
    assert len(output.attentions) == streams
    for weights in output.attentions:
        assert weights.shape == (4, 2, 12, 12)  # (batch, heads, frames, frames)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(4, 2, 12))
        assert (weights >= 0).all()
        padding = ~mask.bool()[:, None, None, :].expand_as(weights)
        assert weights[padding].abs().max() == 0
        assert weights[~padding].std() > 1e-3  # not a uniform mean
    torch.testing.assert_close(output.logits, model(features, mask).logits)


@pytest.mark.parametrize("garbage", [0.0, 1e4, torch.nan, torch.inf])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("shape", [{"conv_kernel_size": 5}, LATE, STATISTICS, LATE | FUNCTIONALS], ids=str)
def test_a_clip_scores_alone_as_in_any_batch(shape: dict, attention: str, garbage: float) -> None:
    model = enlivened(SERForAudioClassification(small_config(**shape)))
    model.set_attn_implementation(attention)
    clips = random_clips([*LENGTHS, 2, 40])
    alone = torch.cat([model(clip.unsqueeze(0)).logits for clip in clips])
    for frames in (40, 97):
        features, mask = padded(clips, frames, garbage)
        for kind in (torch.int64, torch.bool, torch.float32):
            torch.testing.assert_close(model(features, mask.to(kind)).logits, alone, rtol=0, atol=1e-5)
    reversed_logits = model(*padded(clips[::-1], padding=garbage)).logits
    torch.testing.assert_close(reversed_logits.flip(0), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [{}, STATISTICS, FUNCTIONALS], ids=str)
def test_training_statistics_do_not_see_padding(shape: dict) -> None:
    states = []
    for frames in (12, 50):
        model = enlivened(SERForAudioClassification(small_config(dropout=0, attention_dropout=0, **shape))).train()
        logits = model(*padded(random_clips(LENGTHS), frames, torch.nan)).logits
        states.append({"logits": logits, **model.state_dict()})
    torch.testing.assert_close(*states)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [{}, STATISTICS, FUNCTIONALS], ids=str)
def test_no_gradient_flows_into_padding(shape: dict, training: bool) -> None:
    # With few units in the first dense layer a clip may rectify all of them to 0, and has no gradient then.
    model = enlivened(SERForAudioClassification(small_config(dense_size=20, **shape))).train(training)
    features, mask = padded(random_clips(LENGTHS), padding=torch.nan)
    features.requires_grad_()
    model(features, mask, labels=torch.tensor([0, 1, 2, 1])).loss.backward()
    assert (features.grad[~mask.bool()] == 0).all()
    assert (features.grad[mask.bool()].abs().sum(dim=-1) > 0).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("pooling", ["mean", "attention_statistics", "functionals"])
def test_every_parameter_is_trained(pooling: str) -> None:
    model = enlivened(SERForAudioClassification(small_config(attention_bias=True, pooling=pooling, **LATE))).train()
    model.double()(*padded(random_clips(LENGTHS)), labels=torch.tensor([0, 1, 2, 1])).loss.backward()
    # A bias of the keys moves all scores of a query alike, and softmax takes it out again.
    idle = [name for name, value in model.named_parameters() if value.grad is None or value.grad.abs().max() < 1e-8]
    expected = ["key.bias"]
    if (
        pooling == "functionals"
    ):  # a bias of the output moves the mean of every clip alike: the batch's mean takes it out
        expected.append("output.bias")
    assert idle == [f"ser.streams.{stream}.attention.{name}" for stream in range(2) for name in expected]


@pytest.mark.parametrize("frames", [1, 5000])
def test_shortest_and_long_clips(frames: int) -> None:
    model = enlivened(SERForAudioClassification(small_config()))
    clip = random_clips([frames])
    with torch.no_grad():
        output = model(clip[0].unsqueeze(0), output_hidden_states=True)
    assert output.hidden_states[-1].shape == (1, frames, 8)
    if frames == 1:
        np.testing.assert_allclose(output.logits, logits_by_the_slides(model, clip), rtol=0, atol=1e-5)
    assert torch.isfinite(output.logits).all()


@pytest.mark.parametrize("shape", [{}, STATISTICS, FUNCTIONALS], ids=str)
def test_a_clip_without_a_real_frame_spoils_no_other(shape: dict) -> None:
    for attention in ("sdpa", "eager"):
        model = enlivened(SERForAudioClassification(small_config(**shape)))
        model.set_attn_implementation(attention)
        features, mask = padded(random_clips([6, 4]))
        expected = model(features, mask).logits[0]
        mask[1] = 0
        logits = model(features, mask).logits
        torch.testing.assert_close(logits[0], expected)
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_taken_at_the_models_precision(dtype: torch.dtype) -> None:
    model = enlivened(SERForAudioClassification(small_config()))
    features, mask = padded([clip.to(dtype) for clip in random_clips(LENGTHS)])
    output = model(features, mask)
    assert output.logits.dtype == torch.float32
    assert torch.equal(output.logits, model(features.float(), mask).logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_model_scores_nearly_the_same(dtype: torch.dtype) -> None:
    model = enlivened(SERForAudioClassification(small_config()))
    batch = padded(random_clips(LENGTHS))
    expected = model(*batch).logits
    logits = model.to(dtype)(*batch).logits
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=40 * torch.finfo(dtype).eps)


def test_training_under_autocast_stays_near_single_precision() -> None:
    losses = []
    for enabled in (False, True):
        model = enlivened(SERForAudioClassification(small_config(dropout=0, attention_dropout=0))).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = model(*padded(random_clips(LENGTHS)), labels=torch.tensor([0, 1, 2, 1])).loss
        loss.backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_late_fusion_is_one_encoder_per_stream() -> None:
    late = enlivened(SERModel(small_config(**LATE)))
    features, mask = padded(random_clips(LENGTHS))
    output = late(features, mask, output_attentions=True)
    assert late.pooled_size == 16
    start = 0
    for index, size in enumerate(LATE["stream_sizes"]):
        stop = start + size
        single = SERModel(small_config(input_size=size)).eval()
        single.streams[0].load_state_dict(late.streams[index].state_dict())
        single.set_normalization(late.feature_mean[start:stop], late.feature_std[start:stop])
        expected = single(features[..., start:stop], mask, output_attentions=True)
        channels = slice(8 * index, 8 * index + 8)
        torch.testing.assert_close(output.last_hidden_state[..., channels], expected.last_hidden_state)
        torch.testing.assert_close(output.pooler_output[:, channels], expected.pooler_output)
        torch.testing.assert_close(output.attentions[index], expected.attentions[0])
        start = stop


def test_frame_fusion_ignores_the_sizes_of_the_streams() -> None:
    model = SERModel(small_config(stream_sizes=[2, 4]))
    assert len(model.streams) == 1
    assert model.pooled_size == 8


def test_hidden_states_are_what_attention_reads_and_writes() -> None:
    model = enlivened(SERModel(small_config()))
    features, mask = padded(random_clips(LENGTHS))
    output = model(features, mask, output_hidden_states=True)
    encoded, context = output.hidden_states
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    for row, length in enumerate(LENGTHS):
        expected = attend(encoded[row, :length].detach().double().numpy(), weights, "streams.0.attention.", 2)
        np.testing.assert_allclose(context[row, :length].detach(), expected, rtol=0, atol=1e-5)
        mean = context[row, :length].mean(dim=0)
        torch.testing.assert_close(output.pooler_output[row], mean)
    assert torch.equal(context, output.last_hidden_state)
    assert (encoded[~mask.bool()] == 0).all()
    assert (context[~mask.bool()] == 0).all()
    assert (encoded >= 0).all()
    plain = model(features, mask)
    assert plain.hidden_states is None
    assert plain.attentions is None


def test_tuples_hold_what_the_output_objects_hold() -> None:
    model = enlivened(SERForAudioClassification(small_config()))
    batch = padded(random_clips(LENGTHS))
    output = model.ser(*batch, output_hidden_states=True, output_attentions=True)
    as_tuple = model.ser(*batch, output_hidden_states=True, output_attentions=True, return_dict=False)
    assert isinstance(as_tuple, tuple)
    torch.testing.assert_close(as_tuple, output.to_tuple())
    assert len(model.ser(*batch, return_dict=False)) == 2
    (logits,) = model(*batch, return_dict=False)
    torch.testing.assert_close(logits, model(*batch).logits)
    model.config.return_dict = False
    assert isinstance(model(*batch), tuple)


def test_the_configuration_can_ask_for_attentions_and_hidden_states() -> None:
    model = enlivened(SERForAudioClassification(small_config(output_hidden_states=True, output_attentions=True)))
    output = model(*padded(random_clips(LENGTHS)))
    assert len(output.hidden_states) == 2
    assert output.attentions[0].shape == (4, 2, 12, 12)


@pytest.mark.parametrize(
    ("features", "mask", "message"),
    [
        ((4, 12, 7), None, r"input_features must be \(batch, frames, 6\).* not \(4, 12, 7\)"),
        ((12, 6), None, r"input_features must be \(batch, frames, 6\).* not \(12, 6\)"),
        ((1, 4, 12, 6), None, r"not \(1, 4, 12, 6\)"),
        ((4, 0, 6), None, r"not \(4, 0, 6\)"),
        ((4, 12, 6), (4, 11), r"attention_mask must be \(batch, frames\) = \(4, 12\), not \(4, 11\)"),
        ((4, 12, 6), (4, 12, 1), r"not \(4, 12, 1\)"),
        ((4, 12, 6), (1, 12), r"not \(1, 12\)"),
    ],
)
def test_a_wrong_shape_is_named(features: tuple[int, ...], mask: tuple[int, ...] | None, message: str) -> None:
    model = SERForAudioClassification(small_config())
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(features), None if mask is None else torch.ones(mask))


def test_an_ensembles_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="one model; num_members is 3"):
        SERForAudioClassification(small_config(num_members=3))


def test_fresh_models_of_one_seed_are_equal_and_of_two_seeds_are_not() -> None:
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(SERForAudioClassification(small_config()))
    first, same, other = (model.state_dict()["ser.streams.0.conv1.conv.weight"] for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_fresh_activations_keep_their_scale() -> None:
    torch.manual_seed(0)
    model = SERForAudioClassification(small_config(input_size=384, hidden_size=128, dense_size=64)).train()
    features, mask = padded(random_clips([200, 150], size=384))
    output = model(features, mask, output_hidden_states=True)
    encoded, context = (state[mask.bool()] for state in output.hidden_states)
    assert 0.3 < encoded.std() < 1.5
    assert 0.3 < context.std() < 3
    assert output.logits.abs().max() < 3
