"""Settings of the feature extractor, each checked before anything is computed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .mel_deltas import CLIP_NORMALIZATIONS
from .speech_front import FRONTS

MEL = "mel"
# What a stream's entry holds where its network belongs to the model: the kind of input that it reads, and its form.
INPUT_KEYS = {"log-mel": ("input", "size", "window"), "waveform": ("input", "size", "normalize", "shortest")}
INPUT_RANGES = {"size": (int, 1, 1024), "window": (int, 400, 1 << 24), "shortest": (int, 1, 1 << 20)}
INPUT_RANGES |= {"normalize": (bool, False, True)}
# The largest that has sense: beyond it a number is a mistake, or a file is hostile.
MOST = {"sampling_rate": 384_000, "n_fft": 1 << 15, "win_length": 1 << 15, "hop_length": 1 << 20, "num_mel_bins": 1024}
MOST_DB = 1000  # more than float32 can tell
DTYPES = {"float32": torch.float32, "float16": torch.float16}
# What an encoder's entry may hold: where it is from, what is taken of it, and what saving adds to recognize it by.
PLACE_KEYS, TAKEN_KEYS, FOUND_KEYS = ("name_or_path", "revision"), ("layer", "context", "dtype"), ("size", "digest")
ENCODER_KEYS = (*PLACE_KEYS, *TAKEN_KEYS, *FOUND_KEYS, "bundled")
SAVED_KINDS = {"name_or_path": str, "revision": str, "context": str, "dtype": str, "size": int, "digest": str}
SAVED_KINDS |= {"bundled": bool}
HUB_ID = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*")
# How Whisper reads a clip, at its own length or filled up to 30 s as in its training, and how precisely it computes.
WHISPER_CHOICES = {"context": ("clip", "30s"), "dtype": ("float32", "bfloat16")}


def check_streams(
    streams: Sequence[str], encoders: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, dict[str, Any]]:
    """Check streams and the entries of their encoders against each other."""
    named = isinstance(streams, list | tuple) and all(isinstance(stream, str) for stream in streams)
    if not named or not streams or len(set(streams)) != len(streams):
        raise ValueError(f'streams={streams!r}: give the streams once each in a tuple, for example ("mel",).')
    encoders = encoders or {}
    if not isinstance(encoders, Mapping) or not all(isinstance(entry, Mapping) for entry in encoders.values()):
        raise ValueError(f"encoders={encoders!r}: give a dictionary with an entry, a dictionary, for each stream.")
    entries = {name: dict(entry) for name, entry in encoders.items()}
    for name in streams:
        # Its name becomes a folder beside the model's own files.
        if name != MEL and not (name.isidentifier() and not name.startswith("_")):
            raise ValueError(f"streams={tuple(streams)!r}: {name!r} is no name; use letters, digits and _.")
        if name != MEL and name not in entries:
            raise ValueError(
                f"The stream {name!r} needs an encoder: encoders={{{name!r}: {{'name_or_path': ..., 'layer': ...}}}}. "
                f"Only {MEL!r} has none."
            )
    strangers = sorted(set(entries) - (set(streams) - {MEL}))
    if strangers:
        raise ValueError(f"encoders has an entry for {strangers[0]!r}, which is no stream of {tuple(streams)!r}.")
    for name, entry in entries.items():
        if "input" in entry:
            _check_input(name, entry, len(streams))
            continue
        unknown = sorted(set(entry) - set(ENCODER_KEYS))
        if unknown:
            raise ValueError(
                f"The entry of the encoder {name!r} has no {', '.join(map(repr, unknown))}; it has "
                f"{', '.join(PLACE_KEYS + TAKEN_KEYS)}."
            )
        if not entry.get("name_or_path") and not entry.get("bundled"):
            raise ValueError(f"The entry of the encoder {name!r} lacks name_or_path, a folder or an id on the Hub.")
        if isinstance(entry.get("layer"), tuple):
            entry["layer"] = list(entry["layer"])  # as it comes back from a file
        for key, choices in WHISPER_CHOICES.items():
            if entry.get(key) is not None and entry[key] not in choices:
                raise ValueError(
                    f"The entry of the encoder {name!r} has {key}={entry[key]!r}; choose one of {', '.join(choices)}."
                )
    return entries


def check_saved_entry(name: str, entry: Any) -> None:
    """Check what a file says of an encoder: one that lies beside it, or on the Hub, known by its digest."""
    if not isinstance(entry, Mapping) or "input" in entry:
        return  # checked like any other
    for key, kind in SAVED_KINDS.items():
        value = entry.get(key)
        needed = key in FOUND_KEYS or (key in PLACE_KEYS and not entry.get("bundled"))
        if type(value) is not kind and (needed or value is not None):
            raise ValueError(f"The entry of the encoder {name!r} has {key}={value!r}, which no saved one has.")
    if not entry.get("bundled") and not HUB_ID.fullmatch(entry["name_or_path"]):
        raise ValueError(
            f"The entry of the encoder {name!r} has name_or_path={entry['name_or_path']!r}; a saved encoder lies "
            "beside its extractor, or has an id on the Hub."
        )


def _check_input(name: str, entry: Mapping[str, Any], streams: int) -> None:
    keys = INPUT_KEYS.get(entry["input"]) if isinstance(entry["input"], str) else None
    if keys is None or sorted(entry) != sorted(keys):
        known = " or ".join(f"{kind!r} with {', '.join(others[1:])}" for kind, others in INPUT_KEYS.items())
        raise ValueError(f"The entry {entry!r} of the stream {name!r} is no input of an encoder: that is {known}.")
    for key, (kind, least, most) in INPUT_RANGES.items():
        if key in entry and not (type(entry[key]) is kind and least <= entry[key] <= most):
            raise ValueError(
                f"The entry of the stream {name!r} has {key}={entry[key]!r}; it must be from {least} to {most}."
            )
    if streams > 1:
        raise ValueError(
            f"The stream {name!r} is the input of the model's own encoder, which has no stream beside it."
        )


def check_settings(settings: Any) -> None:
    """Check the attributes that the log-mel energies of an extractor depend on."""
    for name in MOST:
        value = getattr(settings, name)
        if type(value) is not int or not 1 <= value <= MOST[name]:
            raise ValueError(f"{name}={value!r}: must be a whole number from 1 to {MOST[name]}.")
    n_fft, bins, span = settings.n_fft, settings.num_mel_bins, settings.dynamic_range
    if n_fft % 2:
        raise ValueError(f"n_fft={n_fft}: must be even.")
    if settings.win_length > n_fft:
        raise ValueError(f"win_length={settings.win_length}: the window must fit into the transform, n_fft={n_fft}.")
    if bins > n_fft // 2:
        raise ValueError(f"num_mel_bins={bins}: more than the n_fft // 2 = {n_fft // 2} bins there are to share.")
    for name, choices in (
        ("feature_dtype", DTYPES),
        ("clip_normalization", CLIP_NORMALIZATIONS),
        ("front", FRONTS),
    ):
        if getattr(settings, name) not in choices:
            raise ValueError(f"{name}={getattr(settings, name)!r}: choose one of {', '.join(choices)}.")
    numeric = isinstance(span, int | float) and not isinstance(span, bool)
    if span is not None and not (numeric and 0 < span <= MOST_DB):
        raise ValueError(f"dynamic_range={span!r}: must be positive and at most {MOST_DB} dB, or None for no floor.")
