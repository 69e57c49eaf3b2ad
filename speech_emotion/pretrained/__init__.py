"""Weights that come with the library."""

from pathlib import Path

SMALL_DEEPSPEECH = "deepspeech-small"


def pretrained_path(name: str) -> Path:
    """Find weights that come with the library.

    Args:
        name: Of the model: `"deepspeech-small"`, a DeepSpeech trained on speechocean762 by `train_deepspeech.py`.

    Returns:
        Its folder, as `from_pretrained` takes it.

    Raises:
        FileNotFoundError: If no such weights came with this installation.

    Example:
        >>> pretrained_path("deepspeech-small").name
        'deepspeech-small'
    """
    folder = Path(__file__).parent / name
    if not (folder / "config.json").is_file():
        shipped = sorted(path.parent.name for path in Path(__file__).parent.glob("*/config.json"))
        raise FileNotFoundError(f"No weights {name!r} came with this installation; it has {shipped or 'none'}.")
    return folder


__all__ = ["SMALL_DEEPSPEECH", "pretrained_path"]
