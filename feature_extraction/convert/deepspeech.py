"""Released DeepSpeech models, in whatever container, become folders that `from_pretrained` loads. No TensorFlow.

Reading needs neither torch nor transformers, so a file that is missing or damaged is told at once.
"""

from collections.abc import Sequence
from pathlib import Path

from ..content_kind import what_is_there
from ..tokenizer_deepspeech import BLANK
from .alphabet import read_alphabet
from .deepspeech_graph import read_graph
from .deepspeech_lite import read_lite
from .file_bytes import ModelFileError, map_file
from .model_facts import (
    INPUT_SIZE,
    RELEASES,
    RELU_CLIP,
    SAMPLING_RATE,
    STEP_MS,
    WINDOW_MS,
    ModelFacts,
    find_release,
    releases_with,
)
from .output_folder import check_output, write_folder
from .tensorflow_checkpoint import Checkpoint, find_prefix
from .tensorflow_lite import IDENTIFIER
from .weights import find_variables


def convert_deepspeech(
    source: str | Path,
    output_dir: str | Path,
    *,
    version: str | None = None,
    alphabet: str | Path | Sequence[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Convert a model of Mozilla DeepSpeech 0.4 to 0.9 or of Coqui STT.

    Whatever the file states is read from it. What it does not state is asked for by name, never guessed.

    Args:
        source: A .pb, .pbmm or .tflite file, told apart by content; or a checkpoint: its folder, its prefix or one of
            its files.
        output_dir: The folder to write: weights, configuration, feature extractor, tokenizer and the code to load
            them, so that it can be pushed to the Hub as it is.
        version: The release that the model is of, for example "0.4.1". Checkpoints need it where several releases
            write the same names; elsewhere it is only checked.
        alphabet: "english" for the labels of the released English models, the path of the model's alphabet.txt, or the
            labels in order. Needed where the file does not state it (releases 0.4 and 0.5, and checkpoints).
        overwrite: Whether to replace a model that is in `output_dir` already.

    Returns:
        The folder, written whole or not at all.

    Raises:
        FileNotFoundError: The source, or a file that belongs to it, is missing.
        FileExistsError: `output_dir` exists and is not to be, or not safely, replaced.
        ValueError: The file is damaged, hostile or of another kind (`ModelFileError`); or something that it does not
            state is missing; or an argument contradicts it.
        ImportError: A package of the extra `convert` is needed for this container.

    Example:
        >>> from feature_extraction import convert_deepspeech
        >>> convert_deepspeech("output_graph.pbmm", "deepspeech-0.4.1", alphabet="alphabet.txt")  # doctest: +SKIP
        PosixPath('deepspeech-0.4.1')
    """
    output_dir = Path(output_dir)
    check_output(output_dir, overwrite, "deepspeech")
    facts = read_model(source)
    complete_facts(facts, str(source), version, alphabet)
    from .torch_model import build_model

    parts = build_model(facts)
    return write_folder(output_dir, parts, overwrite, "deepspeech")


def read_model(source: str | Path) -> ModelFacts:
    """Read a model file of any kind."""
    path = Path(source)
    try:
        prefix = find_prefix(path)
        if prefix is not None:
            return read_checkpoint(prefix)
        if path.exists() and not path.is_file():
            raise ValueError(f"{source}: is no regular file but a pipe or a device; copy what it holds into a file.")
        if not path.is_file():
            raise FileNotFoundError(f"{source}: no such file, folder or checkpoint; check the path.")
        content = map_file(path)
        return read_lite(content) if content[4:8] == IDENTIFIER else read_graph(content)
    except ModelFileError as error:
        kind = what_is_there(_head(path)) if path.is_file() else None
        told = error if kind is None else f"no model but {kind.replace('the sound', 'the model')}"
        raise ModelFileError(f"{source}: {told}.") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def read_checkpoint(prefix: Path) -> ModelFacts:
    """Read a checkpoint, which states little more than its weights."""
    checkpoint = Checkpoint(prefix)
    style, names = find_variables(checkpoint.entries)
    weights = {key: checkpoint.read(name) for key, name in names.items()}
    return ModelFacts(weights=weights, releases=releases_with("variables", style))


def complete_facts(
    facts: ModelFacts, source: str, version: str | None, alphabet: str | Path | Sequence[str] | None
) -> None:
    """Fill in what a file does not state."""
    possible = facts.releases
    if version is not None:
        release = find_release(version)
        if release.name not in possible:
            raise ValueError(
                f"{source}: version={version!r} contradicts the file, which is of {' or '.join(possible)}; leave it "
                "out, or name the right one."
            )
        possible = (release.name,)
    # Names of variables of release 0.4 are those of 0.2 and 0.3 too, which only its graphs tell apart.
    ambiguous = len(possible) > 1 or (version is None and possible == ("0.4",))
    missing = []
    if facts.forget_bias is None and ambiguous:
        older = "; older ones, which name their variables alike, have other features" if possible == ("0.4",) else ""
        missing.append(f"its release (pass version=, one of {', '.join(map(repr, possible))}{older})")
    if facts.alphabet is None and alphabet is None:
        missing.append("its alphabet (pass alphabet='english', the path of its alphabet.txt, or the labels)")
    if missing:
        raise ValueError(f"{source}: the file does not state {' and '.join(missing)}.")

    release = RELEASES[possible[0]]
    if facts.forget_bias is None:
        facts.forget_bias = release.forget_bias
        facts.relu_clip = RELU_CLIP
        facts.input_size, facts.context_size = INPUT_SIZE, (facts.window_size // INPUT_SIZE - 1) // 2
    frames = 2 * facts.context_size + 1
    if facts.input_size * frames != facts.window_size:
        raise ModelFileError(
            f"{source}: the first layer has {facts.window_size} inputs, which are not windows of {frames} frames of "
            f"{facts.input_size} coefficients."
        )
    if facts.front_end is None:
        facts.front_end = {
            "mfcc": release.mfcc,
            "sampling_rate": SAMPLING_RATE,
            "win_length": SAMPLING_RATE * WINDOW_MS // 1000,
            "hop_length": SAMPLING_RATE * STEP_MS // 1000,
            "num_coefficients": facts.input_size,
            "upper_frequency": release.upper_frequency,
        }
    if facts.front_end["num_coefficients"] != facts.input_size:
        raise ModelFileError(
            f"{source}: the features have {facts.front_end['num_coefficients']} coefficients, but the network expects "
            f"{facts.input_size}."
        )
    _complete_alphabet(facts, source, alphabet)


def _complete_alphabet(facts: ModelFacts, source: str, alphabet: str | Path | Sequence[str] | None) -> None:
    if alphabet is not None:
        given = read_alphabet(alphabet)
        if facts.alphabet is not None and given != facts.alphabet:
            raise ValueError(f"{source}: alphabet= contradicts the file, which states its own; leave it out.")
        facts.alphabet = given
    if len(facts.alphabet) + 1 != facts.outputs:
        raise ValueError(
            f"{source}: the network has {facts.outputs} outputs, so its alphabet has {facts.outputs - 1} labels and a "
            f"blank; the one given has {len(facts.alphabet)}."
        )
    if BLANK in facts.alphabet:
        raise ValueError(f"{source}: the alphabet has a label {BLANK!r}, which names the blank here.")
