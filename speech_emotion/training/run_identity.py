"""A training that is resumed must be of the clips, labels and features that it began with."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import SequenceFeatureExtractor, TrainingArguments

from .feature_cache import extractor_state

RUN_FILE = "run.json"
# What `--save_only_model` leaves out, without which another training would go on.
KEPT = (("optimizer.pt", "the optimizer's state"), ("scheduler.pt", "the schedule's state"))
# What a checkpoint brings back whatever is asked for, so that a change of it would be claimed and not be made.
RESTORED = ("learning_rate", "weight_decay", "early_stopping_patience")


def clips_identity(
    clips: Sequence[Sequence[Any]], speakers: Sequence[str], recordings: Sequence[str | None]
) -> dict[str, Any]:
    """Describe a split so that another can be told from it.

    >>> identity = clips_identity([("a", 0), ("b", 1)], ["m1", "m1"], ["1f", "2e"])
    >>> identity["speakers"], list(identity)
    (['m1'], ['speakers', 'clips', 'recordings'])
    """
    return {
        "speakers": sorted(set(speakers)),
        "clips": _digest([list(clip) for clip in clips]),
        "recordings": _digest(list(recordings)),
    }


def features_identity(extractor: SequenceFeatureExtractor) -> str:
    """Return a digest of all that an extractor's features depend on."""
    _, version, settings = extractor_state(extractor)  # how the cache lays them out says nothing of the features
    # Where an encoder lies says nothing of what it computes: its digest does.
    encoders = {name: [entry["layer"], entry["digest"]] for name, entry in (settings.get("encoders") or {}).items()}
    state = json.dumps([version, settings | {"encoders": encoders}], sort_keys=True, default=str)
    return hashlib.sha256(state.encode()).hexdigest()


def restored_settings(training: TrainingArguments) -> dict[str, Any]:
    """Return the settings that are those of the checkpoint when a training is resumed."""
    return {name: getattr(training, name) for name in RESTORED}


def check_identity(checkpoint: Path, identity: Mapping[str, Any]) -> None:
    """Refuse to resume a run of something else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     for file in ("optimizer.pt", "scheduler.pt"):
    ...         Path(name, file).touch()
    ...     _ = Path(name, "run.json").write_text('{"labels": ["anger", "fear"]}')
    ...     check_identity(Path(name), {"labels": ["fear", "anger"]})
    Traceback (most recent call last):
        ...
    ValueError: ... is of a run with other labels: anger, fear, not fear, anger. Resume it ...
    """
    for file, what in ((RUN_FILE, "which says whom its run was trained with"), *KEPT):
        if not (checkpoint / file).is_file():
            raise FileNotFoundError(f"{checkpoint} cannot be resumed: {file}, {what}, is missing.")
    current = json.loads(json.dumps(dict(identity)))  # as it will be read back
    earlier = json.loads((checkpoint / RUN_FILE).read_text(encoding="utf-8"))
    different = [_difference(name, earlier.get(name), value) for name, value in current.items()]
    if any(different):
        # Of what is stored exactly, samples are the same everywhere.
        decoded = any(phrase.endswith("recordings") for phrase in different)
        lossy = " (or Opus, Vorbis or MP3 that another machine decoded a little otherwise)" if decoded else ""
        raise ValueError(
            f"{checkpoint} is of a run with {' and '.join(filter(None, different))}{lossy}. Resume it with the "
            "arguments that it began with, or start anew: --overwrite_output_dir true, or another --output_dir."
        )


def _difference(name: str, before: Any, now: Any) -> str:
    """Say what an earlier run had otherwise; nothing if it is the same."""
    if before == now:
        return ""
    if isinstance(before, dict) and isinstance(now, dict) and "speakers" in now:  # a split
        changed = [part for part in now if part in before and before[part] != now[part]]  # what both tell of
        if not changed:
            return ""
        name, before, now = f"{name} {changed[0]}", before[changed[0]], now[changed[0]]
    hashed = name.endswith(("features", "clips", "recordings"))
    told = before is not None and not hashed
    return f"other {name}" + (f": {_words(before)}, not {_words(now)}" if told else "")


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


__all__ = ["RUN_FILE", "check_identity", "clips_identity", "features_identity", "restored_settings"]
