"""What a GPU gives: the CPU's scores and losses, or not, in which time; where there is none, it says so."""

import copy
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import soundfile
import torch
import transformers
from torch import nn

from benchmarks.measuring import (
    ROOT,
    SAMPLING_RATE,
    audio_seconds,
    load_clips,
    seconds_of,
    section,
    spread,
    table,
    take_turns,
)
from feature_extraction.whisper_log_mel import whisper_log_mel
from modeling_ser import SERConfig, SERForAudioClassification, SERPipeline
from speech_emotion.inference.clip_scores import logits_of
from speech_emotion.inference.saved_model import load_saved
from speech_emotion.pretrained.shipped_model import packaged_model
from speech_emotion.training.encoder_training import choose_parameters

TITLE, ROUNDS, STEPS, BATCH = "On a GPU", 3, 3, 16
BATCHES = (8, 64)
FILES, PROCESSES = 4096, 2
KINDS = ("none", "top-2", "lora", "all")
# Of Whisper base; its layers 2 to 5 are read, as in the recommended recipe.
WHISPER = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
LAYERS = [2, 3, 4, 5]
# How the model is computed: type of the encoder's weights, products in TF32, compiled.
PLAIN = {
    "float32": (torch.float32, False, False),
    "float32, products in TF32": (torch.float32, True, False),
    "encoder in bfloat16": (torch.bfloat16, False, False),
}
COMPILED = {
    "float32, compiled": (torch.float32, False, True),
    "encoder in bfloat16, compiled": (torch.bfloat16, False, True),
}


# Scores -------------------------------------------------------------------------------------------------------------


def classifier_on(device: str, kind: torch.dtype, compiled: bool) -> SERPipeline:
    """The model that comes along, its encoder's weights of a type."""
    network, extractor = load_saved(str(packaged_model()))
    for stream in extractor.encoders:
        encoder = extractor._network(stream).model.to(kind)
        for block in encoder.layers if compiled else ():
            block.compile(dynamic=True)
    if compiled:
        network.compile(dynamic=True)
    return network.as_pipeline(extractor, device=device)


def logits_in_batches(classifier: SERPipeline, clips: Sequence[np.ndarray], size: int) -> torch.Tensor:
    """Logits of clips, (clips, num_labels)."""
    return torch.cat([logits_of(classifier, clips[start : start + size]) for start in range(0, len(clips), size)])


def scores(
    device: str,
    clips: Sequence[np.ndarray],
    ways: Mapping[str, tuple[torch.dtype, bool, bool]],
    batches: Sequence[int],
) -> list[list[object]]:
    """Rows: the time of each way, and how far its scores are from the CPU's."""
    expected = logits_in_batches(classifier_on("cpu", torch.float32, False), clips, 8).softmax(dim=-1)
    rows = []
    for name, (kind, tf32, compiled) in ways.items():
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        classifier = classifier_on(device, kind, compiled)
        for size in batches:
            forget_peak(device)
            found = logits_in_batches(classifier, clips, size).softmax(dim=-1)
            work = partial(logits_in_batches, classifier, clips, size)
            seconds = take_turns({name: partial(seconds_of, work)}, ROUNDS)[name]
            rows.append(
                [
                    name,
                    size,
                    spread([len(clips) / one for one in seconds], 0),
                    f"{audio_seconds(clips) / statistics.median(seconds):.0f}",
                    peak_megabytes(device),
                    f"{float((found - expected).abs().max()):.1e}",
                    int((found.argmax(dim=-1) != expected.argmax(dim=-1)).sum()),
                ]
            )
    torch.set_float32_matmul_precision("highest")
    return rows


# Training -----------------------------------------------------------------------------------------------------------


def learner(how: str, whisper: Mapping[str, int], layers: Sequence[int]) -> SERForAudioClassification:
    """A model without dropout, with an encoder of its own unless that is frozen: random weights, always the same."""
    size = whisper["d_model"] * len(layers)
    encoder: dict[str, Any] = {}
    if how != "none":
        settings = transformers.WhisperConfig(**whisper).to_diff_dict() | {"model_type": "whisper"}
        encoder = {"encoder_config": settings, "encoder_layers": list(layers)}
    torch.manual_seed(0)
    streams = {"input_size": size, "stream_sizes": [size], "layer_mix": [len(layers)]}
    config = SERConfig(num_labels=7, dropout=0.0, attention_dropout=0.0, **streams, **encoder)
    network = SERForAudioClassification(config)
    if how != "none":
        choose_parameters(network, how)
    return network.train()


def training_batch(how: str, clips: Sequence[np.ndarray], size: int) -> dict[str, torch.Tensor]:
    """What such a model reads: log-mel energies of clips, or, where the encoder is frozen, states at their rate."""
    filters = transformers.WhisperFeatureExtractor().mel_filters
    waves = [torch.from_numpy(clip) for clip in clips]
    features, frames = whisper_log_mel(waves, torch.from_numpy(filters).float(), 400, 160)  # (batch, bins, frames)
    features = features.transpose(1, 2)  # (batch, frames, bins)
    if how == "none":
        frames = (frames + 1) // 2
        features = torch.randn(len(clips), int(frames.max()), size, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(features.shape[1]) < torch.as_tensor(frames)[:, None]  # (batch, frames)
    return {
        "input_features": features.float() * mask[..., None],
        "attention_mask": mask.long(),
        "labels": torch.arange(len(clips)) % 7,
    }


def steps(
    network: nn.Module, batch: Mapping[str, torch.Tensor], device: str, bfloat16: bool, number: int
) -> tuple[list[float], list[float]]:
    """Losses and seconds of so many training steps."""
    network = copy.deepcopy(network).to(device)
    batch = {name: value.to(device) for name, value in batch.items()}
    optimizer = torch.optim.AdamW([one for one in network.parameters() if one.requires_grad], lr=1e-4)
    losses, seconds = [], []
    for _ in range(number):
        start = time.perf_counter()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bfloat16):
            loss = network(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())  # which waits for the GPU
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return losses, seconds


def trainings(
    device: str, clips: Sequence[np.ndarray], kinds: Sequence[str] = KINDS,
    whisper: Mapping[str, int] = WHISPER, layers: Sequence[int] = LAYERS,
) -> list[list[object]]:  # fmt: skip
    """Rows: of each kind the time of a step, and how far its losses are from the CPU's."""
    rows = []
    for how in kinds:
        network = learner(how, whisper, layers)
        batch = training_batch(how, clips, network.config.input_size)
        expected, _ = steps(network, batch, "cpu", False, STEPS)
        learned = sum(one.numel() for one in network.parameters() if one.requires_grad)
        for name, bfloat16 in (("float32", False), ("bfloat16 where autocast says so", True)):
            forget_peak(device)
            found, seconds = steps(network, batch, device, bfloat16, STEPS + 5)
            far = max(abs(a / b - 1) for a, b in zip(found, expected, strict=False))
            milliseconds = f"{1000 * statistics.median(seconds[STEPS:]):.1f}"
            rows.append([how, name, f"{learned / 1e6:.1f}", milliseconds, peak_megabytes(device), f"{far:.1e}"])
    return rows


# Processes ----------------------------------------------------------------------------------------------------------


def predicted(folder: Path, output: str, processes: int, device: str | None) -> float:
    """Let so many processes score the files of a folder; the rows that they write in a second, once all is loaded."""
    command = [sys.executable, "-m", "speech_emotion.cli", "predict", str(folder), "--output", f"{output}/"]
    command += ["--files-per-part", "64", "--batch-size", "64", *(["--device", device] if device else [])]
    shared = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(processes)}
    started = [
        subprocess.Popen(
            command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank in range(processes)
    ]
    told = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f"ser predict on {device or 'all GPUs'} failed, as told above.")
    ends = [re.search(r"^(\d+) rows in \d+ part\(s\), ([\d.]+) s;", text, re.MULTILINE) for text in told]
    return sum(int(end[1]) for end in ends) / max(float(end[2]) for end in ends)


def shared_device(device: str, clips: Sequence[np.ndarray], number: int = FILES) -> list[list[object]]:
    """Rows: files a second of one process, and of several on one GPU, and how far their scores are from the CPU's."""
    with tempfile.TemporaryDirectory(prefix="ser-gpu-") as place:
        folder = Path(place, "clips")
        folder.mkdir()
        for index in range(number):
            soundfile.write(folder / f"{index:05}.wav", clips[index % len(clips)], SAMPLING_RATE)
        few = Path(place, "few")
        few.mkdir()
        for file in sorted(folder.iterdir())[: len(clips)]:
            (few / file.name).symlink_to(file)
        predicted(few, f"{place}/cpu", 1, "cpu")
        columns = [column for column in pandas.read_parquet(f"{place}/cpu") if column.startswith("score_")]
        expected = pandas.read_parquet(f"{place}/cpu")[columns].to_numpy()
        rows = []
        for processes in (1, PROCESSES):
            rate = predicted(folder, f"{place}/{processes}", processes, device)
            found = pandas.read_parquet(f"{place}/{processes}")
            if not (found["row"].count() == found["file"].nunique() == number and found["error"].isna().all()):
                raise RuntimeError(f"{processes} process(es) did not give each file one row of scores.")
            far = np.abs(found[columns].to_numpy()[: len(clips)] - expected).max()
            rows.append([processes, f"{rate:.0f}", f"{far:.1e}"])
    return rows


# The section --------------------------------------------------------------------------------------------------------


def forget_peak(device: str) -> None:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)


def peak_megabytes(device: str) -> str:
    return "" if device == "cpu" else f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}"


def attempted(title: str, columns: Sequence[str], work: Callable[[], list[list[object]]]) -> str:
    """The table of a measurement, or why there is none; the others are made nevertheless, as time on a GPU is dear."""
    try:
        return f"{title}\n\n{table(columns, work())}"
    except (RuntimeError, ValueError, OSError, ImportError, AssertionError) as error:
        traceback.print_exc()
        return f"{title} **Could not be run:** {type(error).__name__}: {str(error).splitlines()[0]}"


def main() -> str:
    """Return the section of RESULTS.md."""
    if not torch.cuda.is_available():
        return section(TITLE, "Not measured: torch sees no GPU here.")
    device = "cuda:0"
    clips, kind = load_clips()
    few = clips[:BATCH]
    return section(
        TITLE,
        f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}. {kind} clips of "
        f"{audio_seconds(clips) / len(clips):.1f} s on average. Differences are from float32 on the CPU of the same "
        "machine.",
        *(
            attempted(
                f"Waveforms in memory to scores, by the model that comes along{more}; {len(clips)} clips, medians of "
                f"{ROUNDS} rounds (least to greatest in brackets).",
                [
                    "",
                    "batch",
                    "clips a second",
                    "times real time",
                    "peak MB",
                    "largest difference of a score",
                    "other labels",
                ],
                partial(scores, device, clips, ways, BATCHES),
            )
            for more, ways in (("", PLAIN), (", its blocks by torch.compile", COMPILED))
        ),
        attempted(
            f"Training steps of {len(few)} clips, without dropout, on layers 2 to 5 of Whisper base with random "
            f"weights; differences are those of the first {STEPS} losses.",
            ["what of the encoder learns", "", "million parameters", "ms a step", "peak MB", "relative difference"],
            partial(trainings, device, few),
        ),
        attempted(
            f"Files to Parquet, {FILES} of them, by processes that share one GPU.",
            ["processes", "files a second", "largest difference of a score"],
            partial(shared_device, device, clips),
        ),
    )
