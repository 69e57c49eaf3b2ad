"""Checkpoints of strangers, and damaged ones: what their files hold is looked at before it is believed.

Weights are read from safetensors of the checkpoint's own folder only; what a network would take of memory is held
against what the files hold before it is made; and no number that is none leaves the loading.
"""

import errno
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedConfig
from transformers.utils import cached_file
from transformers.utils.hub import resolve_revision

WEIGHTS = "model.safetensors"
SHARD = re.compile(r"[A-Za-z0-9_][\w.-]*\.safetensors")
FLOATING, DTYPES = {"F64", "F32", "F16", "BF16"}, ("float64", "float32", "float16", "bfloat16")
# What would change how, or from where, a network is loaded, and what no checkpoint of this library says.
FOREIGN_SETTINGS = ("transformers_weights", "attn_implementation", "experts_implementation", "per_layer_config")
FOREIGN_SETTINGS += ("fusion_config", "_attn_implementation", "_experts_implementation")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MOST_NAMES = 20
MOST_HEADER_BYTES = 16 << 20
SPARE_WEIGHTS = 1 << 24  # a new head may be larger than the old one
MOST_LAYERS, LONGEST_LIST, LARGEST_NUMBER = 500, 1000, 1 << 24
HUB_KEYS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


@contextmanager
def naming(place: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Give whatever error a stranger's file makes a sentence and the file's name."""
    try:
        yield
    except (OSError, MemoryError, ImportError, torch.OutOfMemoryError):
        raise
    except SafetensorError as error:
        raise OSError(
            f"The weights of {str(place)!r} are damaged, or a pointer of git-lfs in their place ({error}); fetch them "
            "anew."
        ) from error
    except Exception as error:
        if isinstance(error, ValueError | RuntimeError) and str(place) in str(error):
            raise
        said = " ".join(str(error).split()).rstrip(".")
        if isinstance(error, StrictDataclassError):  # whose own sentence comes last
            said = said.rpartition("Error: ")[2]
        elif not isinstance(error, ValueError):
            said = f"{type(error).__name__}: {said}"
        raise ValueError(f"{place}: {what}: {said[:600]}.") from error


@contextmanager
def without_report() -> Iterator[None]:
    """Keep back transformers' table of weights that do not fit what this thread loads: our own sentence tells it."""
    thread, source = threading.get_ident(), logging.getLogger("transformers.modeling_utils")

    def passes(record: logging.LogRecord) -> bool:
        # Errors of a conversion are told by the table alone, to which transformers' own error then points.
        ours = record.thread == thread and record.funcName == "log_state_dict_report"
        return not ours or "CONVERSION" in record.getMessage()

    source.addFilter(passes)
    try:
        yield
    finally:
        source.removeFilter(passes)


def with_sizes(mismatched: Iterable[tuple[str, Iterable[int], Iterable[int]]]) -> dict[str, str]:
    """Tell of weights of another size, by name, which size the file holds and which the network has.

    >>> with_sizes([("bias", (3,), (5,))])
    {'bias': 'bias (3 there, 5 here)'}
    """
    return {
        name: f"{name} ({'x'.join(map(str, there))} there, {'x'.join(map(str, here))} here)"
        for name, there, here in mismatched
    }


def check_settings(settings: dict[str, Any]) -> None:
    """Check what a checkpoint says of a network of transformers: sizes with sense, and nothing that loads more."""
    if not isinstance(settings, dict):
        raise ValueError(f"a JSON object is needed, not {type(settings).__name__}")
    for name, value in settings.items():
        if name in FOREIGN_SETTINGS and value is not None:
            raise ValueError(f"{name} is not for checkpoints of this library; take it out")
        if name in ("dtype", "torch_dtype") and str(value).removeprefix("torch.") not in ("None", *DTYPES):
            raise ValueError(f"{name} is {value!r}; weights are of one of {', '.join(DTYPES)}")
        numbers = value if isinstance(value, list | tuple) else [value]
        size = len(value) if isinstance(value, dict) else len(numbers)
        if size > LONGEST_LIST:
            raise ValueError(f"{name} has {size} values, more than the {LONGEST_LIST} that have sense")
        most = MOST_LAYERS if str(name).endswith("layers") else LARGEST_NUMBER
        for number in numbers:
            if isinstance(number, int | float) and not abs(number) <= most:
                raise ValueError(f"{name} is {number}, more than the {most} that have sense")
        if isinstance(value, dict):
            check_settings(value)


def check_weights(
    place: str | os.PathLike[str],
    config: PreTrainedConfig | type[PreTrainedConfig],
    make: Callable[[PreTrainedConfig], nn.Module],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Check a checkpoint's files, and that they hold about as much as the network that its settings describe.

    Args:
        place: The checkpoint, a folder or an id on the Hub.
        config: Its settings; a class where they are to be read as `from_pretrained` will read them.
        make: What makes the network of settings; here it takes no memory.
        options: Those of `from_pretrained`.

    Returns:
        The options to load with: of a branch on the Hub the commit that was looked at, whatever is pushed meanwhile.
    """
    access = {key: options[key] for key in ("token", "local_files_only", "cache_dir") if options.get(key) is not None}
    options = {**options, "revision": resolve_revision(place, options.get("revision"), **access)}
    if isinstance(config, type):
        given = options.get("config")
        known = {*HUB_KEYS, *config.__dataclass_fields__, "num_labels"} - {"dtype"}
        changed = {name: value for name, value in options.items() if name in known}
        read = isinstance(given, PreTrainedConfig)
        config = given if read else config.from_pretrained(place if given is None else given, **changed)
    asked = options.get("quantization_config") is not None
    if getattr(config, "quantization_config", None) is not None and not asked:
        raise ValueError(
            f"{place}: its config.json has a quantization_config, and nobody asked for quantized weights; pass "
            "quantization_config= to load them, or take it out."
        )
    hub = {key: value for key, value in options.items() if key in HUB_KEYS and value is not None}
    files = _weight_files(place, hub, options.get("variant"))
    stored = sum(_count(file, place, integers=asked) for file in files)
    with naming(place, "its settings describe no network that can be made"), torch.device("meta"):
        network = make(config)
    needed = sum(tensor.numel() for tensor in network.state_dict().values())
    if needed > 2 * stored + SPARE_WEIGHTS:
        raise ValueError(
            f"{place}: its settings describe a network of {needed:,} weights, and its files hold {stored:,}; one of "
            "them is of another model. Fetch both anew."
        )
    return options


def check_values(place: str | os.PathLike[str], network: nn.Module) -> None:
    """Check that loaded weights can be computed with: finite numbers, variances and deviations of their range."""
    wrong = []
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        least, most = torch.aminmax(tensor)  # NaN where there is one; a tenth of the time of `isfinite`
        if not bool(least.isfinite() & most.isfinite()):
            wrong.append(f"{name} (not finite)")
        elif name.endswith("running_var") and least < 0:
            wrong.append(f"{name} (a variance below 0)")
        elif name.endswith(("feature_std", ".std")) and least <= 0:
            wrong.append(f"{name} (a deviation that is not above 0)")
    if wrong:
        raise ValueError(
            f"{place}: weights that cannot be computed with: {listed(wrong)}. The training diverged, or the file is "
            "damaged; fetch it anew."
        )


@contextmanager
def writing(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Save into a folder: weights with the mode that the umask says, and an error by name where there is no room."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        said, name = str(error), WEIGHTS if isinstance(error, SafetensorError) else ""
        if isinstance(error, OSError):
            said, name = str(error.strerror), Path(error.filename2 or error.filename or "").name
        if isinstance(error, OSError) and error.errno not in NO_ROOM:
            raise
        if isinstance(error, RuntimeError) and "inline_container" not in said:  # where torch.save writes
            raise
        raise OSError(
            f"{Path(folder, name)} could not be written whole: {said}. Make room on the disk, or save elsewhere."
        ) from error
    mask = os.umask(0o077)
    os.umask(mask)
    for file in Path(folder).glob("*.safetensors"):  # written for the owner only, whatever the umask says
        with suppress(PermissionError):  # an older one, of somebody else's
            file.chmod(0o666 & ~mask)


def listed(names: Iterable[str]) -> str:
    """Join names, of many only the first.

    >>> listed(["b", "a"])
    'a, b'
    """
    names = sorted(names)
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _weight_files(place: str | os.PathLike[str], hub: dict[str, Any], variant: str | None) -> list[str]:
    """Find the files of a checkpoint's weights."""
    name, _, rest = WEIGHTS.partition(".")
    weights, index_name = (
        f"{name}.{variant}.{end}" if variant else f"{name}.{end}" for end in (rest, f"{rest}.index.json")
    )

    def find(name: str, **how: bool) -> str | None:
        return cached_file(place, name, _raise_exceptions_for_missing_entries=False, **how, **hub)

    if find("adapter_config.json", _raise_exceptions_for_connection_errors=False) is not None:
        raise ValueError(
            f"{place} holds adapter_config.json: weights on top of another model, which are not read here. Merge them "
            "into that model, and save it whole."
        )
    folder = Path(place, hub.get("subfolder") or "")
    if parts := sorted(folder.glob("shard-*.safetensors")) if folder.is_dir() else []:
        raise ValueError(f"{place} holds {parts[0].name}, a part of a distributed training; save the model whole.")
    if (file := find(weights)) is not None:
        return [file]
    if (index := find(index_name)) is None:
        raise OSError(
            f"{place} holds no {weights}, and pickled weights are not read here: they would run whatever code they "
            "hold."
        )
    with naming(place, f"{index_name} is damaged"):
        content = json.loads(Path(index).read_text(encoding="utf-8"))
        places, notes = (content.get(key) if isinstance(content, dict) else None for key in ("weight_map", "metadata"))
        if not isinstance(places, dict) or not places or not isinstance(notes, dict):
            raise ValueError("it does not say where weights are")
    for shard in places.values():
        if not isinstance(shard, str) or not SHARD.fullmatch(shard):
            raise ValueError(f"{place}: {index_name} names {shard!r}; weights are *.safetensors of this folder only.")
    shards = sorted(set(places.values()))
    found = [find(shard) for shard in shards]
    if None in found:
        raise OSError(f"{place}: {index_name} names {shards[found.index(None)]}, which is not there; fetch it anew.")
    return found


def _count(file: str, place: str | os.PathLike[str], integers: bool) -> int:
    """Count the numbers that a file of weights holds, all of them floating where integers were not asked for."""
    with naming(place, f"{Path(file).name} is damaged"):
        with open(file, "rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
        if length > MOST_HEADER_BYTES and length < os.path.getsize(file):
            raise ValueError(f"a header of {length:,} bytes, larger than any model's")
        count = 0
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a dictionary
                part = weights.get_slice(name)
                if part.get_dtype() not in FLOATING and not integers:
                    raise ValueError(f"{name} is of {part.get_dtype()}; weights are floating-point numbers")
                count += torch.Size(part.get_shape()).numel()
    return count
