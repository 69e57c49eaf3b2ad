"""The trainings of the model that comes along, and of those that tell what it is worth on whom it has not heard."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from modeling_ser import SERForAudioClassification
from modeling_ser.feature_statistics import FEWEST_CLIPS
from speech_emotion.training.run_record import features_identity, library_versions

from .joint_clips import LABELS, LEARNED, SOUNDS, TESTED, JointSplit, corpus_rows, read_clips
from .joint_training import JointRecipe, check_unheard
from .measures import common_temperature, of_sounds, of_speech

ADAPTED, EXCERPTS = ", adapted", ", short parts"


@dataclass(frozen=True)
class Training:
    """One training: who is learned from, and who is scored."""

    name: str
    seed: int
    learned: np.ndarray  # positions
    scored: Mapping[str, JointSplit] = field(default_factory=dict)


class Workshop:
    """Clips, trainings and scores, which are kept in a folder: what is there is not computed again."""

    def __init__(
        self,
        folder: str | Path,
        corpora: Sequence[str],
        strangers: Sequence[str],
        seeds: Sequence[int],
        folds: int,
        data_dir: str | None = None,
        cache_dir: str | None = None,
        recipe: JointRecipe | None = None,
        sounds_of_kind: int = 100,
        tell: Callable[[str], None] = print,
    ) -> None:
        self.recipe = recipe = recipe or JointRecipe()
        self.folder, self.corpora, self.strangers, self.tell = Path(folder), corpora, strangers, tell
        self.seeds, self.num_folds = seeds, folds
        self.places = {"data_dir": data_dir, "cache_dir": cache_dir}
        how = {"sounds_of_kind": sounds_of_kind, **self.places}
        self.clips = read_clips(
            corpora, recipe.extractor, sounds=tuple(LEARNED), variants=recipe.model.variants, **how
        )
        self.others = read_clips(strangers, recipe.extractor, sounds=tuple(TESTED), **how)
        self.everybody = np.arange(len(self.clips.truth))
        self._features = features_identity(recipe.extractor)

    def trainings(self) -> Iterator[Training]:
        """List what is trained: without each fold of speakers, without each corpus, and with everybody."""
        clips = self.clips
        for seed in self.seeds:
            yield Training(
                f"everybody-{seed}",
                seed,
                self.everybody,
                {place: self.others.part(self.others.of(place)) for place in (*self.strangers, SOUNDS)},
            )
        for place in self.corpora if len(self.corpora) > 1 else ():
            for seed in self.seeds:
                out = clips.of(place)
                yield Training(
                    f"without-{place}-{seed}", seed, np.setdiff1d(self.everybody, out), {place: clips.part(out)}
                )
        for fold, out in enumerate(self.speaker_folds()):
            for seed in self.seeds:
                yield Training(
                    f"fold-{fold}-{seed}", seed, np.setdiff1d(self.everybody, out), {"speakers": clips.part(out)}
                )

    def speaker_folds(self) -> list[np.ndarray]:
        """Divide the speakers of each corpus, women and men alike; positions of the clips of each fold."""
        fold_of: dict[str, int] = {}
        for place in self.corpora:
            here = self.clips.of(place)
            speakers = sorted(set(zip(self.clips.sexes[here], self.clips.speakers[here], strict=True)))
            fold_of |= {speaker: number % self.num_folds for number, (_, speaker) in enumerate(speakers)}
        folds = np.array([fold_of.get(speaker, -1) for speaker in self.clips.speakers])  # sounds are in none
        return [np.flatnonzero(folds == fold) for fold in range(self.num_folds)]

    def logits(self, training: Training) -> dict[str, np.ndarray]:
        """Train and score, or find the scores: by part, and by part adapted to each speaker."""
        file = self.folder / "scores" / f"{training.name}.safetensors"
        identity = self._identity(training)
        if file.is_file():
            with safe_open(file, "np") as stored:
                if stored.metadata() == {"identity": identity}:
                    return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no dictionary
        self.tell(f"{training.name}: {len(training.learned)} clips are learned from")
        network = self.recipe.train(self.clips, training.learned, training.seed, self.folder / "trainer")
        found = {}
        for name, part in training.scored.items():
            check_unheard(self.clips.part(training.learned), part)
            found[name] = self.recipe.logits(network, part)
            if name not in (SOUNDS, "speakers"):
                found[name + ADAPTED] = self._adapted(network, part, found[name])
                found[name + EXCERPTS] = self.recipe.logits(network, part.clips.excerpts(part.chosen))
        file.parent.mkdir(parents=True, exist_ok=True)
        if len(training.learned) == len(self.everybody):
            network.save_pretrained(self.folder / "networks" / training.name)
        save_file(found, file, metadata={"identity": identity})
        return found

    def _adapted(self, network: SERForAudioClassification, part: JointSplit, logits: np.ndarray) -> np.ndarray:
        """Score clips normalized by their speakers' own; those of speakers with too few clips as they are."""
        counts = Counter(part.speakers)
        many = np.flatnonzero([counts[speaker] >= FEWEST_CLIPS for speaker in part.speakers])
        if not len(many):
            return logits
        adapted, own = logits.copy(), part.clips.part(part.chosen[many])
        own.normalize_speakers(network.ser.feature_mean, network.ser.feature_std)
        adapted[many] = self.recipe.logits(network, own)
        return adapted

    def rows(self, name: str) -> datasets.Dataset:
        """Load a corpus's table."""
        return corpus_rows(name, **self.places)

    def network(self) -> SERForAudioClassification:
        """Load the model of the first seed that has learned from everybody."""
        return SERForAudioClassification.from_pretrained(self.folder / "networks" / next(self.trainings()).name)

    def _identity(self, training: Training) -> str:
        parts = [training.seed, self._features, json.dumps(self.recipe.settings, sort_keys=True, default=str)]
        parts += [self.clips.ids[training.learned].tolist()]
        parts += [[name, part.ids] for name, part in training.scored.items()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def measure(self) -> dict[str, Any]:
        """Train all that is missing, and put together what is said of the model."""
        found = {training.name: (training, self.logits(training)) for training in self.trainings()}

        def runs(prefix: str, part: str) -> list[np.ndarray]:
            return [found[f"{prefix}-{seed}"][1][part] for seed in self.seeds]

        def clips(prefix: str, part: str) -> JointSplit:
            return found[f"{prefix}-{self.seeds[0]}"][0].scored[part]

        left_out = [
            (clips(f"without-{place}", place), runs(f"without-{place}", place))
            for place in (self.corpora if len(self.corpora) > 1 else ())
        ]
        folds = range(self.num_folds)
        by_fold = self.clips.part(np.concatenate(self.speaker_folds()))
        of_speakers = [
            np.concatenate([found[f"fold-{fold}-{seed}"][1]["speakers"] for fold in folds]) for seed in self.seeds
        ]
        temperature = common_temperature(left_out or [(by_fold, of_speakers)])

        def rows(prefix: str, place: str) -> dict[str, Any]:
            part = clips(prefix, place)
            return {"corpus": place, **of_speech(part, runs(prefix, place), temperature)} | {
                "adapted": of_speech(part, runs(prefix, place + ADAPTED), temperature),
                "excerpts": of_speech(part, runs(prefix, place + EXCERPTS), temperature),
            }

        unseen = []
        for place in self.corpora:
            here = np.flatnonzero(np.char.startswith(np.array(by_fold.ids), f"{place}/"))
            part = self.clips.part(np.concatenate(self.speaker_folds())[here])
            unseen.append({"corpus": place, **of_speech(part, [one[here] for one in of_speakers], temperature)})
        sounds = clips("everybody", SOUNDS)
        return {
            "temperature": temperature,
            "seeds": list(self.seeds),
            "speaker_folds": self.num_folds,
            "settings": self.recipe.settings,
            "versions": library_versions(),
            "labels": list(LABELS),
            "speakers": unseen,
            "left_out": [rows(f"without-{place}", place) for place in (self.corpora if left_out else ())],
            "strangers": [rows("everybody", place) for place in self.strangers],
            "sounds": of_sounds(sounds, runs("everybody", SOUNDS)),
        }
