"""What was read from a Whisper file becomes a network, its feature extractor and its tokenizer."""

import re
import warnings
from typing import Any

import numpy as np
import torch
from transformers import (
    AddedToken,
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from .file_bytes import ModelFileError
from .output_folder import Part
from .whisper_weights import END, NO_TIMES, START, WhisperFacts

TASKS = ("transcribe", "translate")


def build_whisper(facts: WhisperFacts) -> list[Part]:
    """Build what a converted folder holds."""
    model = build_network(facts)
    model.generation_config = GenerationConfig(**generation_settings(facts))
    parts: list[Part] = [model, WhisperFeatureExtractor(feature_size=facts.sizes["num_mel_bins"])]
    return parts if facts.tokenizer is None else [*parts, build_tokenizer(facts)]


def build_network(facts: WhisperFacts) -> WhisperForConditionalGeneration:
    """Build the network; its weights are views of the file, where the file has them as they are."""
    end, start = (facts.special_tokens[token] for token in (END, START))
    ids = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    config = WhisperConfig(**facts.sizes, **ids, suppress_tokens=None, begin_suppress_tokens=None)
    dtype = np.float16 if facts.is_half else np.float32
    config.dtype = torch.float16 if facts.is_half else torch.float32
    # Fresh weights would take longer to draw than everything else together.
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes: they are saved
        state = {name: torch.from_numpy(np.ascontiguousarray(value, dtype)) for name, value in facts.weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    wanted = ["proj_out.weight"] if config.tie_word_embeddings else []
    if missing != wanted or unexpected:
        raise ModelFileError(f"weights are missing ({missing}) or left over ({unexpected}): no Whisper has these")
    model.tie_weights()
    return model.eval()


def generation_settings(facts: WhisperFacts) -> dict[str, Any]:
    """Write what Whisper's `generate` has to know: which tokens are languages, tasks, and never said.

    Source: `generation_config.json` of openai/whisper-base and openai/whisper-tiny.en.
    """
    ids = facts.special_tokens
    settings = {
        "pad_token_id": ids[END],
        "bos_token_id": ids[END],
        "eos_token_id": ids[END],
        "decoder_start_token_id": ids[START],
        "no_timestamps_token_id": ids[NO_TIMES],
        "prev_sot_token_id": ids.get("<|startofprev|>"),
        "max_initial_timestamp_index": 50,
        "max_length": facts.sizes["max_target_positions"],
        "return_timestamps": False,
        "is_multilingual": several_languages(facts),
        **facts.settings,
    }
    if settings["is_multilingual"]:
        languages = {name: token for name, token in ids.items() if re.fullmatch(r"<\|[a-z]{2,3}\|>", name)}
        settings["lang_to_id"] = languages
        settings["task_to_id"] = {task: ids[f"<|{task}|>"] for task in TASKS if f"<|{task}|>" in ids}
        settings["task"] = TASKS[0]  # without a task Whisper says the same word for ever
    return settings


def several_languages(facts: WhisperFacts) -> bool:
    """Tell whether a Whisper is multilingual: those of English alone have tokens of languages too, but one token less.

    Source: openai/whisper, `whisper/model.py`.
    """
    return facts.sizes["vocab_size"] > 51_864


def build_tokenizer(facts: WhisperFacts) -> WhisperTokenizer:
    """Build the tokenizer; tokens that are no text are marked as special, as `decode` has to know them."""
    special = [AddedToken(name, special=True, normalized=False) for name in facts.special_tokens if name != END]
    try:
        return WhisperTokenizer(
            tokenizer_file=str(facts.tokenizer),
            extra_special_tokens=special,
            pad_token=END,
            model_max_length=facts.sizes["max_target_positions"],
        )
    except Exception as error:  # the library that reads it has no class of its own for errors
        raise ModelFileError(f"{facts.tokenizer} cannot be read: {error}") from error
