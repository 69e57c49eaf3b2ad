"""Adaptation without labels, to everybody's clips and then to each speaker's, and what is saved of it."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_ser.feature_statistics import AdaptationError
from speech_emotion.files import write_text

if TYPE_CHECKING:
    from modeling_ser import SERPipeline

NOTE = """> **Adapted without labels**: the features are normalized by statistics of {clips} clips of somebody's own
> recordings, not by those of the training clips alone. The weights and the temperature are as they were; every figure
> on this card is of the model before that.
"""


def by_speaker(files: Iterable[Path]) -> dict[str, list[Path]]:
    """Group files by the name of the folder that they lie in: `angry/anna/1.wav` and `sad/anna/2.wav` are Anna's.

    >>> groups = by_speaker(map(Path, ["angry/anna/1.wav", "sad/anna/2.wav", "ben/1.wav"]))
    >>> {speaker: len(files) for speaker, files in groups.items()}
    {'anna': 2, 'ben': 1}
    """
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(file.absolute().parent.name, []).append(file)
    return groups


def adapt_to_speakers(
    classifier: "SERPipeline",
    recordings: Mapping[str, Sequence[Any]],
    check: bool = True,
    clips_of: Callable[[Any], Iterable[Any]] = lambda recording: [recording],
) -> Iterator[tuple[str, "SERPipeline", str | None]]:
    """Adapt to the clips of all speakers and then to those of each; give speaker, pipeline, and what was refused.

    A recording is one clip if nothing else is said. Where a speaker's clips are refused, the pipeline is that of all;
    where those are, it is the one that was given.
    """
    of_all, refused = classifier, None
    try:
        of_all = classifier.adapt(chain.from_iterable(map(clips_of, chain.from_iterable(recordings.values()))), check)
    except AdaptationError as error:
        refused = f"all clips together: {error}"
    for speaker, own in recordings.items():
        try:
            several = len(recordings) > 1
            yield speaker, of_all.adapt(chain.from_iterable(map(clips_of, own)), check) if several else of_all, refused
        except AdaptationError as error:
            yield speaker, of_all, f"{error} All clips together are refused, too." if refused else str(error)


def save_adapted(classifier: "SERPipeline", folder: str | Path, model: str, revision: str | None = None) -> Path:
    """Save an adapted pipeline with the card and the report of the model that it was made from, where it has them."""
    from transformers.utils import cached_file

    folder = Path(folder)
    classifier.save_pretrained(folder)
    note = NOTE.format(clips=classifier.model.config.adapted_clips)
    found = {
        name: cached_file(model, name, revision=revision, _raise_exceptions_for_missing_entries=False)
        for name in ("README.md", "results.json")
    }
    if found["results.json"]:  # which says whom it has heard
        shutil.copyfile(found["results.json"], folder / "results.json")
    card = Path(found["README.md"]).read_text(encoding="utf-8") if found["README.md"] else f"# {folder.name}\n"
    start = card.find("\n# ") + 1  # of its title
    title, _, rest = card[start:].partition("\n")
    write_text(folder / "README.md", f"{card[:start]}{title}\n\n{note}\n{rest.lstrip()}")
    return folder
