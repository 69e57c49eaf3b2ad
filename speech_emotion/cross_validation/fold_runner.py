"""Fits systems on folds, one after another, in one process."""

import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speech_emotion.evaluation import classification_metrics
from speech_emotion.training.feature_cache import cache_features
from speech_emotion.training.run_record import corpus_title, library_versions, switched_on
from speech_emotion.training.splits import Splits, make_splits

from .condition_data import ConditionData, MappedFeatures, audio_digest, fold_digest, read_condition
from .corpus_conditions import CorpusCondition
from .plan import FoldReport, Plan, find_finished, sole_computation
from .score_store import CLIP_COLUMNS, FoldKey, FoldScores
from .system import ClipFeatures, FoldTask, System

# Of a condition; the name is that of the folder, and of its corpus the clips of the fold tell.
CONDITION_SETTINGS = ("config", "labels", "scheme", "num_folds", "part")
GIVEN = ("given", "shares_speakers")  # likewise, where somebody else made the folds


class FoldRunner:
    """Reads corpora and features once, and fits as asked."""

    def __init__(self, plan: Plan, quiet: bool = False) -> None:
        self.plan, self.quiet = plan, quiet
        self._data: dict[str, ConditionData] = {}
        self._systems: dict[str, System] = {}
        self._features: dict[tuple[str, str, int], MappedFeatures] = {}
        self._settings: dict[tuple[str, str, int], dict[str, Any]] = {}

    def condition(self, name: str) -> CorpusCondition:
        """Return a condition of the plan."""
        (found,) = (item for item in self.plan.conditions if item.name == name)
        return found

    def data(self, condition: str) -> ConditionData:
        """Return the clips and folds of a condition of the plan, read once."""
        if condition not in self._data:
            found = self.condition(condition)
            with warnings.catch_warnings():
                if self.quiet:
                    warnings.simplefilter("ignore")
                self._data[condition] = read_condition(found, self.plan.data_dir, self.plan.cache_dir)
        return self._data[condition]

    def system(self, name: str) -> System:
        """Return a system of the plan, made once."""
        if name not in self._systems:
            self._systems[name] = self.plan.make_system(name, self.plan.overrides, self.plan.encoder)
        return self._systems[name]

    def features(self, condition: str, system: str, variant: int = 0) -> MappedFeatures:
        """Return the features that a system takes of a condition's corpus, computed once for all with the same.

        Or those of a variant of every clip.
        """
        corpus, extractor = self.data(condition).corpus, self.system(system).make_extractor()
        place = (corpus._fingerprint, json.dumps(extractor.to_dict(), sort_keys=True, default=str), variant)
        if place not in self._features:
            cached = cache_features(corpus, extractor, device=self.plan.device, variant=variant)
            self._features[place] = MappedFeatures(cached)
        return self._features[place]

    def keys(self) -> list[FoldKey]:
        """Return all folds of the plan: seed by seed, so that a comparison is whole early."""
        keys = []
        for condition in self.plan.conditions:
            count = len(self.data(condition.name).folds)
            folds = range(count) if self.plan.folds is None else self.plan.folds
            beyond = [fold for fold in folds if not 0 <= fold < count]
            if beyond:
                raise ValueError(f"{condition.name} has the folds 0 to {count - 1}, and no fold {beyond[0]}.")
            keys += [
                FoldKey(condition.name, system, seed, fold)
                for seed in self.plan.seeds
                for system in self.plan.systems
                for fold in folds
            ]
        return keys

    def settings(self, key: FoldKey) -> dict[str, Any]:
        """Return all that the scores of a fold depend on but its seed, as JSON gives it back."""
        place = (key.condition, key.system, key.fold)
        if place not in self._settings:
            data, system = self.data(key.condition), self.system(key.system)
            condition = self.condition(key.condition)
            fold = data.folds[key.fold]
            speaker_of = dict(zip(*(data.rows[name][:] for name in ("id", "speaker")), strict=True))
            parts = [sorted({speaker_of[clip] for clip in fold.splits[part]}) for part in ("validation", "test")]
            system.check_fold(corpus_title(data.rows), *parts)
            settings = {
                "system": system.settings(),
                "features": _feature_settings(system.make_extractor()),
                "condition": {
                    name: getattr(condition, name)
                    for name in CONDITION_SETTINGS + (GIVEN if condition.given is not None else ())
                },
                "labels": data.labels,
                "fold": fold_digest(fold, data),
                "audio": audio_digest(fold, data.recordings),
            }
            self._settings[place] = json.loads(json.dumps(settings))
        return self._settings[place]

    def finished(self, key: FoldKey) -> FoldScores | None:
        """Return the scores of a fold that need not be computed; see `find_finished`."""
        return find_finished(key, self.plan, self.settings(key))

    def run(self, key: FoldKey) -> FoldReport:
        """Fit a system on a fold and save the scores, unless that is done or being done."""
        with sole_computation(key, self.plan.results) as held:
            if not held:
                return FoldReport(key, busy=True)
            with warnings.catch_warnings(action="ignore"):  # of a damaged file, which was told of before
                finished = not self.plan.overwrite and self.finished(key) is not None
            return FoldReport(key) if finished else self._compute(key)  # another command may have been quicker

    def _compute(self, key: FoldKey) -> FoldReport:
        data, system = self.data(key.condition), self.system(key.system)
        fold = data.folds[key.fold]
        features, *variants = (
            self.features(key.condition, key.system, variant) for variant in range(system.variants + 1)
        )
        start = time.perf_counter()  # what all folds share is not the first one's
        shares_speakers = self.condition(key.condition).shares_speakers
        splits = make_splits(data.rows, features, fold, data.labels, variants, shares_speakers=shares_speakers)
        with tempfile.TemporaryDirectory(prefix="ser-fold-") as folder:
            outcome = system.fit(FoldTask(data.rows, splits, data.labels, key.seed, Path(folder), self.plan.device))
        seconds = round(time.perf_counter() - start, 1)
        about = {
            "fold_name": fold.name,
            "folds": len(data.folds),
            "seconds": seconds,
            "title": system.title,
            "train_speakers": len(set(splits.train.speakers)),
            "train_clips": len(splits.train),
            "encoders": _encoder_names(system.make_extractor()),
            "settings": self.settings(key),
            "versions": library_versions(),
            "threads": torch.get_num_threads(),
            **outcome.about,
        }
        scores = FoldScores(
            key.condition,
            key.system,
            key.seed,
            key.fold,
            data.labels,
            _clips(data, splits),
            np.concatenate([outcome.validation, outcome.test]),  # (clips, classes)
            about,
        )
        scores.save(self.plan.results)
        validation = scores.select("validation")
        ua = classification_metrics(validation.truth, validation.predictions, len(data.labels))["ua"]
        return FoldReport(key, seconds, ua)


def _clips(data: ConditionData, splits: Splits) -> dict[str, list[Any]]:
    """What is known of the validation and test clips, by CLIP_COLUMNS."""
    parts = {"validation": splits.validation, "test": splits.test}
    place = {clip: index for index, clip in enumerate(data.rows["id"][:])}
    names = [name for name in CLIP_COLUMNS if name != "split"]
    rows = data.rows.select_columns(names).select([place[clip] for part in parts.values() for clip in part.ids])
    return rows[:] | {"split": [name for name, part in parts.items() for _ in part.ids]}


def _feature_settings(extractor: ClipFeatures) -> dict[str, Any]:
    """An extractor's settings and version; of an encoder the hash of its weights says which, wherever it lies."""
    settings = {name: value for name, value in extractor.to_dict().items() if name != "auto_map"}
    settings = json.loads(json.dumps(settings, default=str))
    for entry in (settings.get("encoders") or {}).values():
        for name in ("name_or_path", "revision", "bundled"):
            entry.pop(name, None)
    return switched_on(settings) | {"version": extractor.feature_extraction_version}


def _encoder_names(extractor: ClipFeatures) -> dict[str, str]:
    """For each stream with an encoder its Hub id, or its folder's name without what lies above it."""
    entries = extractor.to_dict().get("encoders") or {}
    names = {stream: str(entry.get("name_or_path", "bundled")) for stream, entry in entries.items()}
    return {stream: Path(name).name if Path(name).exists() else name for stream, name in names.items()}
