"""Whisper base at the clips' own lengths against transformers, wav2vec 2.0 base, and bare matrix products."""

import copy
import statistics
from collections.abc import Callable, Sequence
from functools import partial

import torch
from transformers import (
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder as WhisperNetwork

from benchmarks.measuring import (
    SAMPLING_RATE,
    audio_seconds,
    load_clips,
    ratios,
    seconds_of,
    section,
    spread,
    table,
    take_turns,
    threads,
)
from feature_extraction.onednn_linear import OneDNNLinear
from feature_extraction.whisper_encoder import WhisperClipEncoder, WhisperEncoder

CLIPS, ROUNDS, LAYER = 8, 3, 4
SIZE, HEADS, INNER, BLOCKS, BINS = 512, 8, 2048, 6, 80
PADDED, WAV2VEC2, PRODUCTS = "transformers, Whisper base", "transformers, wav2vec 2.0 base", "torch.mm"

Product = tuple[int, int, int]  # rows, inner size, columns


def whisper() -> PreTrainedModel:
    config = WhisperConfig(
        d_model=SIZE, encoder_layers=BLOCKS, encoder_attention_heads=HEADS, encoder_ffn_dim=INNER, num_mel_bins=BINS
    )
    return WhisperNetwork(config).eval()


def products(frames: int) -> list[Product]:
    """The matrix products to the layer of a clip with so many frames."""
    attention = [(frames, SIZE // HEADS, frames), (frames, frames, SIZE // HEADS)] * HEADS
    dense = [(frames, SIZE, SIZE)] * 4 + [(frames, SIZE, INNER), (frames, INNER, SIZE)]
    return [(2 * frames, 3 * BINS, SIZE), (frames, 3 * SIZE, SIZE), *(attention + dense) * LAYER]


def multiply(shapes: Sequence[Product]) -> Callable[[], None]:
    """Some products and nothing else, by `torch.mm`."""
    tensors = {
        shape: torch.randn(shape) for rows, inner, columns in shapes for shape in ((rows, inner), (inner, columns))
    }
    pairs = [(tensors[rows, inner], tensors[inner, columns]) for rows, inner, columns in shapes]

    def work() -> None:
        for left, right in pairs:
            torch.mm(left, right)

    return work


def by_transformers(model: PreTrainedModel, extractor: WhisperFeatureExtractor, clips: Sequence[torch.Tensor]) -> None:
    """Clip by clip as transformers reads them."""
    for clip in clips:
        inputs = extractor(clip.numpy(), sampling_rate=SAMPLING_RATE, return_tensors="pt")
        model(**inputs, output_hidden_states=True)


@torch.no_grad()
def main() -> str:
    clips, kind = load_clips(CLIPS)
    audio = audio_seconds(clips)
    waveforms = [torch.from_numpy(clip[: len(clip) // 320 * 320]) for clip in clips]
    torch.manual_seed(0)
    model, extractor = whisper(), WhisperFeatureExtractor()
    wav2vec2 = Wav2Vec2Model(Wav2Vec2Config()).eval()
    shapes = [product for clip in waveforms for product in products(len(clip) // 320)]
    ways = {
        PADDED: partial(by_transformers, model, extractor, waveforms),
        WAV2VEC2: partial(by_transformers, wav2vec2, Wav2Vec2FeatureExtractor(), waveforms),
        'ours, `"context": "30s"`': partial(WhisperEncoder(model, extractor, LAYER), waveforms),
        'ours, `"context": "clip"`': partial(WhisperClipEncoder(model, extractor, LAYER), waveforms),
        'ours, `"context": "clip"`, `"dtype": "bfloat16"`': partial(
            WhisperClipEncoder(copy.deepcopy(model).bfloat16(), extractor, LAYER), waveforms
        ),
        PRODUCTS: multiply(shapes),
    }
    with threads(1):
        times = take_turns({name: partial(seconds_of, way) for name, way in ways.items()}, ROUNDS)
    operations = sum(2 * rows * inner * columns for rows, inner, columns in shapes)
    rows = []
    for name, seconds in times.items():
        ours = '"clip"' in name
        rows.append(
            [
                name,
                f"{1000 * statistics.median(seconds) / CLIPS:.0f}",
                f"{audio / statistics.median(seconds):.0f}",
                *(spread(ratios(times[other], seconds), 1) if ours else "" for other in (PADDED, WAV2VEC2)),
                f"{operations / statistics.median(seconds) / 1e9:.0f}" if ours or name == PRODUCTS else "",
                f"{100 * statistics.median(ratios(times[PRODUCTS], seconds)):.0f} %" if ours else "",
            ]
        )
    text = (
        f"Log-mel and encoder of Whisper base to layer {LAYER}, random weights, float32 where nothing else is said, "
        f"one thread; {CLIPS} {kind} clips of {audio / CLIPS:.1f} s on average. Transformers fills each clip up to "
        f"30 s and computes all {BLOCKS} blocks; wav2vec 2.0 base, with all of its 12 layers, reads a clip at its "
        "length, and so does ours, one after another. The products are those that the convolutions, the attention and "
        f"the dense layers of ours consist of, {operations / audio / 1e9:.2f} Gflop for a second of audio, by "
        "`torch.mm` and with nothing between them. Linear maps of ours are "
        f"{'oneDNN' if OneDNNLinear.available() else 'torch'}'s here; oneDNN's can be faster than `torch.mm`. Medians "
        f"of {ROUNDS} rounds in which all take turns, ratios taken within each round (least to greatest in brackets)."
    )
    columns = ["", "ms a clip", "times real time", f"times {PADDED}", f"times {WAV2VEC2}", "Gflop/s", "of `torch.mm`"]
    return section("Speech encoders", text, table(columns, rows))
