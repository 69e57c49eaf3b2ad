"""The slides' formulas clip by clip in numpy, with neither batch nor mask: what the network is compared with."""

import numpy as np
import torch

from modeling_ser import SERForAudioClassification

Weights = dict[str, np.ndarray]


def convolve(clip: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Slide a kernel (out, in, width) over (frames, in); zeros beyond both ends keep the number of frames."""
    width = kernel.shape[2]
    before = (width - 1) // 2
    framed = np.pad(clip, ((before, width - 1 - before), (0, 0)))
    return np.stack(
        [sum(kernel[:, :, k] @ framed[frame + k] for k in range(width)) for frame in range(len(clip))]
    )  # (frames, out)


def mix_layers(clip: np.ndarray, sizes: list[int], layers: list[int], weights: Weights) -> np.ndarray:
    """Average each stream's layers, with scores in the order of the streams that have several."""
    several = [number for number in layers if number > 1]
    scores = iter(np.split(weights["ser.mix.scores"], np.cumsum(several)[:-1]))
    parts = []
    for part, number in zip(np.split(clip, np.cumsum(sizes)[:-1], axis=1), layers, strict=True):
        exponentials = np.exp(next(scores)) if number > 1 else np.ones(1)
        layer_by_layer = part.reshape(len(clip), number, -1)
        parts.append(np.einsum("k,tkd->td", exponentials / exponentials.sum(), layer_by_layer))
    return np.concatenate(parts, axis=1)


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
    sizes = model.config.stream_sizes or [model.config.input_size]
    if model.config.layer_mix:
        normalized = [mix_layers(clip, sizes, model.config.layer_mix, weights) for clip in normalized]
        sizes = [size // layers for size, layers in zip(sizes, model.config.layer_mix, strict=True)]
    sizes = sizes if model.config.fusion == "late" else [sum(sizes)]
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
