"""In words, for people: who is in which split, what features and what network, and where things lie."""

from pathlib import Path

import numpy as np

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERConfig

from .card import ENCODER
from .split_report import speakers_of
from .splits import Splits

# What an extractor subtracts from a clip's energies, in words, by its `clip_normalization`.
SUBTRACTED = {"none": "", "level": ", less the clip's mean", "band": ", less each band's mean over the clip"}


def describe_splits(corpus: str, fold: str, labels: list[str], splits: Splits) -> str:
    """Say in words who trains, validates and is tested."""
    lines = [f"{corpus}, {fold}: {', '.join(labels)}"]
    for name, clips in splits.items():
        counts = np.bincount(clips.labels, minlength=len(labels))
        classes = ", ".join(f"{label} {count}" for label, count in zip(labels, counts, strict=True))
        lines.append(f"  {name:<10} {len(clips):5} clips ({classes}); speakers {', '.join(speakers_of(clips))}")
    return "\n".join(lines)


def describe_streams(extractor: SERFeatureExtractor) -> list[str]:
    """Say in words what each stream of an extractor is.

    >>> describe_streams(SERFeatureExtractor())
    ['mel: 128 log-mel bands with Δ and ΔΔ, 40 frames a second of 25 ms']
    >>> print(*describe_streams(SERFeatureExtractor(dynamic_range=60.0, clip_normalization="level")))
    mel: 128 log-mel bands with Δ and ΔΔ, 40 frames ... 25 ms, floor 60 dB below the loudest, less the clip's mean
    """
    rate, length = extractor.sampling_rate / extractor.hop_length, extractor.win_length / extractor.sampling_rate
    mel = f"{extractor.num_mel_bins} log-mel bands with Δ and ΔΔ, {rate:g} frames a second of {1000 * length:g} ms"
    if extractor.dynamic_range is not None:
        mel += f", floor {extractor.dynamic_range:g} dB below the loudest"
    mel += SUBTRACTED[extractor.clip_normalization]
    phrases = {"mel": mel}
    for stream, entry in extractor.encoders.items():
        source = public_name(entry.get("name_or_path")) or "a bundled encoder"
        phrases[stream] = f"layer {entry['layer']} of {source}, frozen"
    return [f"{stream}: {phrases[stream]}" for stream in extractor.streams]


def describe_architecture(config: SERConfig) -> str:
    """Say in words what network a configuration makes.

    >>> describe_architecture(SERConfig(stem_channels=[8, 16]))
    'A two-layer convolutional encoder ... self-attention, behind 2 convolutions over frames × mel bands'
    """
    several = ", one for each stream" if config.fusion == "late" else ""
    depth = len(config.stem_channels or [])
    stem = f", behind {depth} convolution{'s' * (depth > 1)} over frames × mel bands" if depth else ""
    pooling = "" if config.pooling == "mean" else f", pooled by {config.pooling.replace('_', ' ')}"
    return f"{ENCODER}{several}{stem}{pooling}"


def public_name(name: str | None) -> str | None:
    """Name a folder without what lies above it, which is nobody's business; other names are kept.

    >>> public_name("you/polish-emotions")
    'you/polish-emotions'
    """
    return Path(name).resolve().name if name is not None and Path(name).is_dir() else name


def place_on_card(folder: Path) -> str:
    """Say where a model lies: as the user named the folder, but for what lies above it on this machine.

    >>> place_on_card(Path("outputs/polish")), place_on_card(Path("/home/anna/polish"))
    ('./outputs/polish', 'path/to/polish')
    """
    outside = folder.is_absolute() or ".." in folder.parts
    return f"path/to/{folder.resolve().name}" if outside else f"./{folder.as_posix()}"


__all__ = ["describe_architecture", "describe_splits", "describe_streams", "place_on_card", "public_name"]
