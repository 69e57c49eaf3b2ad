"""Each clip's scores as JSON lines, for tools that do not read Parquet."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from speech_emotion.cross_validation.score_store import FoldScores, read_fold_scores
from speech_emotion.files import write_jsonl

# Not committed: it holds what the Parquet files hold, in many times the space.
NAME = "results.jsonl"


def write_clip_lines(results: str | Path | Sequence[str | Path], path: str | Path | None = None) -> Path:
    """Write every clip's scores of every finished fold of one folder or several, one clip per line."""
    folders = [results] if isinstance(results, str | Path) else results
    lines = (line for fold in read_fold_scores(*folders) for line in clip_lines(fold))
    return write_jsonl(Path(folders[0]) / NAME if path is None else path, lines)


def clip_lines(fold: FoldScores) -> Iterator[dict[str, object]]:
    """Give a line for each clip of a fold.

    >>> clips = {name: ["a"] for name in ("id", "split", "speaker", "sex", "sentence", "label")}
    >>> line = next(clip_lines(FoldScores("c", "s", 0, 2, ["a", "b"], clips, [[0.75, 0.25]])))
    >>> line["fold"], line["prediction"], line["scores"]
    (2, 'a', {'a': 0.75, 'b': 0.25})
    """
    place = {"corpus": fold.corpus, "system": fold.system, "seed": fold.seed, "fold": fold.fold}
    for index, guess in enumerate(fold.predictions):
        known = {name: values[index] for name, values in fold.clips.items()}
        scores = dict(zip(fold.labels, map(float, fold.scores[index]), strict=True))
        yield place | known | {"prediction": fold.labels[guess], "scores": scores}


__all__ = ["clip_lines", "write_clip_lines"]
