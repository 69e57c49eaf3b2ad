"""Whisper as CTranslate2 and faster-whisper keep it becomes a folder that `from_pretrained` loads. No CTranslate2.

Reading needs neither torch nor transformers, so a file that is missing or damaged is told at once.
"""

import json
import warnings
from pathlib import Path
from typing import Any

from .ctranslate2_model import find_spec
from .file_bytes import ModelFileError, map_file
from .output_folder import check_output, write_folder
from .whisper_weights import END, NO_TIMES, START, WhisperFacts, read_weights

MODEL_FILE = "model.bin"
MOST_JSON_BYTES = 64 << 20  # tokenizer.json of Whisper has 2 to 4 MB
ENGLISH_TOKENS = 51_864  # tokens of the models that know English only; the others have more
NOT_LANGUAGES = 51_765  # tokens of these that stand for no language


def is_ctranslate2(source: str | Path) -> bool:
    """Tell whether a file, or the one in a folder, is CTranslate2's, by its first bytes."""
    path = _model_file(source)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return find_spec(memoryview(file.read(1024))) is not None


def convert_whisper(source: str | Path, output_dir: str | Path, *, overwrite: bool = False) -> Path:
    """Convert a Whisper of CTranslate2 or faster-whisper, of any size and type.

    The whole model is converted: encoder, decoder and, where `tokenizer.json` lies beside the file, the tokenizer. So
    the folder transcribes: `transformers.pipeline("automatic-speech-recognition", model=folder)`. Files of float16
    give a folder of float16, all others one of float32.

    Args:
        source: The file `model.bin`, or its folder. Its `config.json` says which tokens are never generated.
        output_dir: The folder to write: weights, configuration, feature extractor, tokenizer.
        overwrite: Whether to replace a model that is in `output_dir` already.

    Returns:
        The folder, written whole or not at all.

    Raises:
        FileNotFoundError: The source is missing.
        FileExistsError: `output_dir` exists and is not to be, or not safely, replaced.
        ValueError: A file is damaged, hostile or of another kind (`ModelFileError`).

    Example:
        >>> from feature_extraction import convert_whisper
        >>> convert_whisper("faster-whisper-base/model.bin", "whisper-base")  # doctest: +SKIP
        PosixPath('whisper-base')
    """
    output_dir = Path(output_dir)
    check_output(output_dir, overwrite, "whisper")
    facts = read_whisper(source)
    if facts.tokenizer is None:
        warnings.warn(
            f"{source}: there is no tokenizer.json beside it, so the folder gets none: its encoder can be used, "
            "but to transcribe, put the tokenizer of this Whisper into it.",
            stacklevel=2,
        )
    from .whisper_model import build_whisper

    return write_folder(output_dir, build_whisper(facts), overwrite, "whisper")


def read_whisper(source: str | Path) -> WhisperFacts:
    """Read a model file and what lies beside it."""
    path = _model_file(source)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path.")
    try:
        facts = read_weights(map_file(path))
        facts.settings = _settings(_read_json(path.with_name("config.json")), facts.sizes)
        tokenizer = _read_json(path.with_name("tokenizer.json"))
        facts.special_tokens = _special_tokens(tokenizer, facts.sizes["vocab_size"])
        facts.tokenizer = None if tokenizer is None else path.with_name("tokenizer.json")
    except ModelFileError as error:
        raise ModelFileError(f"{source}: {error}.") from error
    return facts


def _model_file(source: str | Path) -> Path:
    return Path(source, MODEL_FILE) if Path(source).is_dir() else Path(source)


def _read_json(path: Path) -> dict[str, Any] | None:
    """Read a file beside the model; None if there is none."""
    if not path.is_file():
        return None
    if path.stat().st_size > MOST_JSON_BYTES:
        raise ModelFileError(f"{path.name} beside it is larger than {MOST_JSON_BYTES >> 20} MB, as none is")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name} beside it is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path.name} beside it is no JSON object")
    return content


def _settings(config: dict[str, Any] | None, sizes: dict[str, Any]) -> dict[str, Any]:
    """Check what CTranslate2's config.json says of generating, and call it what transformers does."""
    settings: dict[str, Any] = {}
    for name, own_name in (("suppress_ids", "suppress_tokens"), ("suppress_ids_begin", "begin_suppress_tokens")):
        if tokens := (config or {}).get(name):
            if not _all_below(tokens, sizes["vocab_size"]):
                raise ModelFileError(f"{name} in config.json beside it are no numbers of tokens")
            settings[own_name] = tokens
    if heads := (config or {}).get("alignment_heads"):
        limits = sizes["decoder_layers"], sizes["decoder_attention_heads"]
        if not isinstance(heads, list) or not all(_is_pair(head, *limits) for head in heads):
            raise ModelFileError("alignment_heads in config.json beside it are no pairs of a layer and a head")
        settings["alignment_heads"] = heads
    return settings


def _all_below(values: Any, limit: int) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < limit for value in values)


def _is_pair(head: Any, layers: int, heads: int) -> bool:
    return _all_below(head, max(layers, heads)) and len(head) == 2 and head[0] < layers and head[1] < heads


def _special_tokens(tokenizer: dict[str, Any] | None, vocab_size: int) -> dict[str, int]:
    """Find the tokens that are no text: as the tokenizer says, else as OpenAI's tokenizers have them."""
    if tokenizer is None:
        return released_tokens(vocab_size)
    try:
        added = {str(one["content"]): one["id"] for one in tokenizer["added_tokens"]}
    except (KeyError, TypeError) as error:
        raise ModelFileError("tokenizer.json beside it has no list added_tokens, as Whisper's has") from error
    if not _all_below(list(added.values()), vocab_size):
        raise ModelFileError(f"tokenizer.json beside it has tokens that the model, with {vocab_size}, has not")
    for token in (END, START, NO_TIMES):
        if token not in added:
            raise ModelFileError(f"tokenizer.json beside it has no token {token}: it is not of a Whisper")
    return dict(sorted(added.items(), key=lambda item: item[1]))


def released_tokens(vocab_size: int) -> dict[str, int]:
    """Return the numbers of the special tokens of a released Whisper.

    Source: openai/whisper, `whisper/tokenizer.py`.

    >>> released_tokens(51_865)["<|transcribe|>"], released_tokens(51_864)["<|transcribe|>"]
    (50359, 50358)
    """
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    several = vocab_size > ENGLISH_TOKENS
    number = vocab_size - NOT_LANGUAGES - several
    if not 99 <= number <= len(LANGUAGES):
        raise ModelFileError(
            f"the model has {vocab_size} tokens, as no released Whisper has, so its tokenizer.json has to be beside it"
        )
    names = ["endoftext", "startoftranscript", *list(LANGUAGES)[:number], "translate", "transcribe"]
    names += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    return {f"<|{name}|>": 50_256 + several + index for index, name in enumerate(names)}
