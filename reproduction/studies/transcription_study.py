"""How many words recognizers get wrong on the adults of speechocean762's test half.

That they get few wrong proves that they were converted right. They transcribe through transformers' own pipeline,
greedily. Before words are compared, both texts are normalized: upper case, and nothing but A to Z, the apostrophe and
single spaces. Figures in digits therefore count as errors.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from tqdm import tqdm
from transformers import pipeline

from dataset_scripts import load_corpus
from feature_extraction import load_audio
from speech_emotion.evaluation.error_rates import ErrorRates, error_rates
from speech_emotion.files import write_json, write_text
from speech_emotion.pretrained import encoder_place
from speech_emotion.training.ctc_data import ADULT, age_group
from speech_emotion.training.run_record import public_name

LONGEST = 100  # tokens of a transcript; the longest of the corpus has about 30
SAMPLING_RATE = 16_000


def run_transcription(
    output_dir: str | Path,
    encoders: Sequence[str],
    data_dir: str | None,
    every: int,
    batch_size: int,
    cache_dir: str | None,
) -> dict[str, dict[str, Any]]:
    """Transcribe with one recognizer after the other; write `transcripts.json` and `transcripts.md`."""
    if every < 1 or batch_size < 1:
        raise ValueError(f"every={every} and batch_size={batch_size} have to be 1 or more.")
    rows = adult_test_half(load_corpus("speechocean762", data_dir=data_dir, cache_dir=cache_dir))
    if len(rows) == 0:
        raise ValueError("There is no adult in the test half; pass the folder of the whole corpus as --data_dir.")
    rows = rows.select(range(0, len(rows), every))
    clips = [load_audio(row["audio"], sampling_rate=SAMPLING_RATE) for row in rows]
    references = [plain_words(text) for text in rows["transcript"]]
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    found = {}
    for name in encoders:
        texts = transcribe(encoder_place(name), clips, batch_size)
        rates = error_rates(references, [plain_words(text) for text in texts])
        found[public_name(name)] = describe(rates, sum(map(len, clips)) / SAMPLING_RATE)
    title = f"adults of the test half of speechocean762, {'every clip' if every == 1 else f'one clip in {every}'}"
    write_json(Path(output_dir, "transcripts.json"), {"title": title, "recognizers": found})
    write_text(Path(output_dir, "transcripts.md"), transcription_table(title, found))
    return found


def adult_test_half(rows: datasets.Dataset) -> datasets.Dataset:
    """Keep the clips of the adults of the official test half."""
    known = zip(rows["split"], rows["age"], strict=True)
    return rows.select(
        [index for index, (split, age) in enumerate(known) if split == "test" and age_group(age) == ADULT]
    )


def transcribe(place: str, clips: Sequence[Any], batch_size: int) -> list[str]:
    """Transcribe clips at 16 kHz with a recognizer of transformers, in English where it knows several languages."""
    recognizer = pipeline("automatic-speech-recognition", model=place, dtype=torch.float32)
    room = recognizer.model.config.max_target_positions // 2
    settings: dict[str, Any] = {"max_new_tokens": min(LONGEST, room), "num_beams": 1}
    if recognizer.model.generation_config.is_multilingual:
        settings |= {"language": "en", "task": "transcribe"}
    inputs = ({"raw": clip, "sampling_rate": SAMPLING_RATE} for clip in clips)
    answers = recognizer(inputs, batch_size=batch_size, generate_kwargs=settings)
    shown = tqdm(answers, total=len(clips), desc=Path(place).name, file=sys.stderr, disable=not sys.stderr.isatty())
    return [answer["text"] for answer in shown]


def plain_words(text: str) -> str:
    """Normalize a text for comparing words.

    >>> plain_words("It’s 9 o'clock – SURE.")
    "IT'S O'CLOCK SURE"
    """
    return " ".join(re.sub(r"[^A-Z']+", " ", text.upper().replace("’", "'")).split())


def describe(rates: ErrorRates, seconds: float) -> dict[str, Any]:
    """Write down the rates, in %, and what they are of."""
    return {
        "clips": rates.clips,
        "minutes": round(seconds / 60, 1),
        "words": rates.words,
        "word_errors": rates.word_errors,
        "wer": round(100 * rates.wer, 2),
        "cer": round(100 * rates.cer, 2),
    }


def transcription_table(title: str, found: dict[str, dict[str, Any]]) -> str:
    """Write the rates as a table in Markdown."""
    lines = [f"Words and letters that are wrong, {title}; greedy; A to Z and apostrophe only.", ""]
    lines += ["| recognizer | clips | words | WER (%) | CER (%) |", "| --- | --- | --- | --- | --- |"]
    for name, one in found.items():
        lines.append(f"| {name} | {one['clips']} | {one['words']} | {one['wer']:.1f} | {one['cer']:.1f} |")
    return "\n".join(lines) + "\n"
