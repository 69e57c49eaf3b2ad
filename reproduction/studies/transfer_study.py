"""The transfer study: trained on all corpora but one, tested on that one, as it is and adapted without labels.

Clips are described by mean and deviation over time of Whisper's middle layers, and told apart by a logistic regression
on their first principal axes. Adaptation takes the mean of such descriptions from clips without labels, of the same
place (here: corpus) or of the same speaker, and their deviation from the place. These are other clips, the half of
each speaker's that is not scored then, or the tested clips themselves. No speaker is in two corpora. Layers, strength
and the rest of the recipe are chosen for each tested corpus and each way by leaving out each of the
three training corpora in turn; the tested one chooses nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.special import log_softmax
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from dataset_scripts import load_corpus
from feature_extraction import SERFeatureExtractor
from modeling_ser.feature_statistics import FEWEST_ANSWERS, FEWEST_CLIPS, answers
from speech_emotion.evaluation.metrics import confusion_counts, ua
from speech_emotion.files import write_json, write_text
from speech_emotion.pretrained import encoder_place
from speech_emotion.training.feature_cache import cache_features

CORPORA = ("emodb", "ravdess", "ased", "nemo")
LABELS = ("anger", "happiness", "neutral", "sadness")
LAYERS = (2, 3, 4, 5)
AXES = 600
SMALLEST = 1e-6  # deviation that is divided by
PLACE, SPEAKER = "place", "speaker"
TEMPLATES = Path(__file__).parents[1] / "templates"


@dataclass(frozen=True)
class Way:
    """A way of normalizing the tested clips."""

    title: str
    mean_of: str | None  # whose mean is removed; `None` for the training's
    others: bool = False  # whether it is of other clips than those that are scored


WAYS = (
    Way("as it is", None),
    Way("other clips of the place", PLACE, others=True),
    Way("other clips of each speaker", SPEAKER, others=True),
    Way("the tested clips, by place", PLACE),
    Way("the tested clips, by speaker", SPEAKER),
)


@dataclass(frozen=True)
class Recipe:
    """What is chosen on the training corpora."""

    layers: tuple[int, ...]
    removed: str | None  # whose mean is removed from training clips: the place's, the speaker's, or that of all
    strength: float  # C of the logistic regression
    shrinkage: float = 0.0  # of the directions along which speakers differ in one emotion


RECIPES = [
    Recipe(*values) for values in product(((2, 3, 4), (2, 3, 4, 5)), (None, SPEAKER), (1e-3, 1e-2, 1e-1), (0.0, 1.0))
]


@dataclass(frozen=True)
class Clips:
    """Described clips of one corpus or of several."""

    statistics: np.ndarray  # mean and deviation of each layer, (clips, layers, 2 × size), float32
    truth: np.ndarray  # index into LABELS, (clips,)
    places: np.ndarray  # corpus of each clip, (clips,)
    speakers: np.ndarray  # speaker, by name and corpus, (clips,)

    def of(self, chosen: np.ndarray) -> "Clips":
        """Take some of the clips."""
        return Clips(*(values[chosen] for values in vars(self).values()))

    def values(self, layers: Sequence[int]) -> np.ndarray:
        """Describe the clips by some layers, (clips, features)."""
        return self.statistics[:, [LAYERS.index(layer) for layer in layers]].reshape(len(self.truth), -1)

    def groups(self, kind: str | None) -> np.ndarray:
        """Number those whose mean may be removed together, (clips,)."""
        names = {PLACE: self.places, SPEAKER: self.speakers}.get(kind, np.zeros(len(self.truth)))
        return np.unique(names, return_inverse=True)[1]


class LayerStatistics:
    """Extractor of mean and deviation over time of an encoder's layers: one vector for a clip."""

    # The cache, which plans its memory by frames, finds one in every clip.
    hop_length = 24 * 3600 * 16000
    feature_extraction_version = 1

    def __init__(self, encoder: str = "whisper-base") -> None:
        entry = {"name_or_path": encoder_place(encoder), "layer": list(LAYERS), "context": "clip"}
        self.extractor = SERFeatureExtractor(streams=("encoder",), encoders={"encoder": entry})
        self.sampling_rate, self.feature_size = self.extractor.sampling_rate, 2 * self.extractor.feature_size

    def load_audio(self, source: Any) -> np.ndarray:
        """Decode a clip."""
        return self.extractor.load_audio(source)

    def extract(self, waveforms: Sequence[np.ndarray], device: str | None = None) -> dict[str, torch.Tensor]:
        """Describe clips: `input_features`, (clips, 1, layers × 2 × size)."""
        features = self.extractor.extract(waveforms, device=device)
        rows = []
        for frames, mask in zip(features["input_features"], features["attention_mask"], strict=True):
            real = frames[mask.bool()].view(-1, len(LAYERS), frames.shape[-1] // len(LAYERS))  # (frames, layers, size)
            rows.append(torch.cat([real.mean(dim=0), real.std(dim=0, correction=0)], dim=-1).flatten())
        described = torch.stack(rows).unsqueeze(1)  # (clips, 1, layers × 2 × size)
        return {"input_features": described, "attention_mask": torch.ones(described.shape[:2], dtype=torch.int64)}

    def to_dict(self) -> dict[str, Any]:
        """Return every setting that the features depend on."""
        return {"statistics": ["mean", "standard deviation"], **self.extractor.to_dict()}


def read_clips(
    corpora: Iterable[str], extractor: LayerStatistics, data_dir: str | None = None, cache_dir: str | None = None
) -> Clips:
    """Describe the clips of the four emotions."""
    parts = []
    for name in corpora:
        folder = Path(data_dir) / name if data_dir is not None else None
        corpus = load_corpus(name, data_dir=folder, cache_dir=cache_dir)
        rows = corpus.select(np.flatnonzero([label in LABELS for label in corpus["label4"][:]]))
        found = cache_features(rows, extractor)
        vectors = np.stack([found[index]["input_features"] for index in range(len(found))]).astype(np.float32)
        truth = np.array([LABELS.index(label) for label in rows["label4"][:]])
        speakers = np.array([f"{name} {speaker}" for speaker in rows["speaker"][:]])
        vectors = vectors.reshape(len(truth), len(LAYERS), -1)  # (clips, layers, 2 × size)
        parts.append(Clips(vectors, truth, np.full(len(truth), name), speakers))
    return Clips(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


class Probe:
    """A recipe, fitted to training clips, and what they are normalized by."""

    def __init__(self, recipe: Recipe, train: Clips) -> None:
        self.recipe = recipe
        values = train.values(recipe.layers)
        self.mean = values.mean(axis=0)
        centered = remove_means(values, train.groups(recipe.removed))
        self.std = centered.std(axis=0) + SMALLEST
        for place in np.unique(train.places) if recipe.removed else []:
            here = train.places == place
            centered[here] /= centered[here].std(axis=0) + SMALLEST
        axes = min(AXES, *centered.shape)
        self.axes = PCA(axes, svd_solver="randomized", random_state=0)
        reduced = self.axes.fit_transform(centered if recipe.removed else centered / self.std)
        self.stretch = np.eye(axes)
        if recipe.shrinkage:
            spread = speaker_spread(self.axes.transform((values - self.mean) / self.std), train)
            self.stretch = inverse_root(np.eye(axes) + recipe.shrinkage * spread * axes / np.trace(spread))
        # Each corpus counts alike, and in it each emotion.
        _, cells, counts = np.unique(
            train.groups(PLACE) * len(LABELS) + train.truth, return_inverse=True, return_counts=True
        )
        weights = 1 / counts[cells]
        self.regression = LogisticRegression(C=recipe.strength, max_iter=500)
        self.regression.fit(reduced @ self.stretch, train.truth, sample_weight=weights / weights.mean())

    def logits(self, normal: np.ndarray) -> np.ndarray:
        """Score normalized clips, (clips, features) → (clips, labels)."""
        return self.regression.decision_function(self.axes.transform(normal) @ self.stretch)

    def log_scores(self, clips: Clips, way: Way, reference: np.ndarray | None = None) -> np.ndarray:
        """Score clips normalized in a way, by the statistics of some of them, by default of all: (clips, labels)."""
        values = clips.values(self.recipe.layers)
        if way.mean_of is None:
            normal = (values - self.mean) / self.std
        else:
            reference = np.ones(len(values), bool) if reference is None else reference
            centered = remove_means(values, clips.groups(way.mean_of), reference)
            normal = centered / (centered[reference].std(axis=0) + SMALLEST)
        return log_softmax(self.logits(normal), axis=1)


def speaker_spread(values: np.ndarray, clips: Clips) -> np.ndarray:
    """Compute how speakers' means in an emotion lie about those of the corpora: (features, features)."""
    speakers, places = clips.groups(SPEAKER), clips.groups(PLACE)
    offsets = []
    for label in np.unique(clips.truth):
        here = clips.truth == label
        middle = np.mean([values[here & (places == place)].mean(axis=0) for place in np.unique(places[here])], axis=0)
        offsets += [values[here & (speakers == one)].mean(axis=0) - middle for one in np.unique(speakers[here])]
    return np.stack(offsets).T @ np.stack(offsets) / len(offsets)


def inverse_root(matrix: np.ndarray) -> np.ndarray:
    """Compute M^(−1/2) of a symmetric positive matrix.

    >>> inverse_root(np.diag([4.0, 1.0])).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    values, vectors = np.linalg.eigh(matrix)
    return (vectors / np.sqrt(values)) @ vectors.T


def remove_means(values: np.ndarray, groups: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Remove from each group's rows the mean of its reference rows; where it has none, that of all of these.

    >>> remove_means(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1]), np.array([True, True, False])).tolist()
    [[-1.0], [1.0], [3.0]]
    """
    reference = np.ones(len(values), bool) if reference is None else reference
    centered = values - values[reference].mean(axis=0)
    for group in np.unique(groups):
        here = groups == group
        if (here & reference).any():
            centered[here] = values[here] - values[here & reference].mean(axis=0)
    return centered


def halves(speakers: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw half of each speaker's clips, (clips,), true for those that are not scored."""
    random, drawn = np.random.default_rng(seed), np.zeros(len(speakers), bool)
    for speaker in np.unique(speakers):
        clips = random.permutation(np.flatnonzero(speakers == speaker))
        drawn[clips[: len(clips) // 2]] = True
    return drawn


def figures_of(probe: Probe, test: Clips) -> dict[str, float]:
    """Measure UA in every way."""
    drawn = halves(test.speakers)
    found = {}
    for way in WAYS:
        scored = ~drawn if way.others else np.ones(len(drawn), bool)
        guesses = probe.log_scores(test, way, drawn if way.others else None).argmax(axis=1)
        found[way.title] = float(ua(confusion_counts(test.truth[scored], guesses[scored], len(LABELS))))
    return found


def leave_out(clips: Clips, recipes: Sequence[Recipe], tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Test on each corpus what was chosen by leaving out each of the others: a row for each corpus and way."""
    places = list(dict.fromkeys(clips.places.tolist()))
    rows = []
    for tested in places:
        training = [place for place in places if place != tested]
        inner = {recipe: [] for recipe in recipes}
        for left_out in training:
            train = clips.of(np.isin(clips.places, training) & (clips.places != left_out))
            for recipe in recipes:
                inner[recipe].append(figures_of(Probe(recipe, train), clips.of(clips.places == left_out)))
        train, test = clips.of(clips.places != tested), clips.of(clips.places == tested)
        fitted: dict[Recipe, Probe] = {}
        for way in WAYS:
            means = {recipe: float(np.mean([one[way.title] for one in found])) for recipe, found in inner.items()}
            best = max(means, key=means.__getitem__)  # the first of equal ones
            if best not in fitted:
                fitted[best] = Probe(best, train)
            ua_tested = figures_of(fitted[best], test)[way.title]
            rows.append(
                {"corpus": tested, "way": way.title, "ua": ua_tested, "ua_inner": means[best], **asdict(best)}
                | {"clips": len(test.truth), "speakers": len(set(test.speakers))}
            )
            if way.mean_of is None:
                rows[-1] |= guard_figures(fitted[best], test)
            tell(f"{tested}, {way.title}: UA {100 * ua_tested:.1f} %")
    return rows


def guard_figures(probe: Probe, test: Clips) -> dict[str, float]:
    """Measure what the guard of `SERPipeline.adapt` refuses, and what would become of it.

    Groups are a speaker's clips of one emotion, and as many of all emotions, 8 of each at least.
    """
    kinds: dict[str, list[tuple[bool, float, float]]] = {"one": [], "several": []}
    random = np.random.default_rng(0)
    for speaker in np.unique(test.speakers):
        own = np.flatnonzero(test.speakers == speaker)
        for label in range(len(LABELS)):
            of_one = own[test.truth[own] == label]
            if len(of_one) < FEWEST_CLIPS:
                continue
            for kind, chosen in (("one", of_one), ("several", random.choice(own, len(of_one), replace=False))):
                clips = test.of(chosen)
                before = probe.log_scores(clips, WAYS[0])
                refused = answers(torch.from_numpy(before)) < FEWEST_ANSWERS
                values = clips.values(probe.recipe.layers)
                moved = probe.logits((values - values.mean(axis=0)) / probe.std)
                right = [(scores.argmax(axis=1) == clips.truth).mean() for scores in (before, moved)]
                kinds[kind].append((refused, *map(float, right)))
    return {
        f"{name}_{kind}": float(np.mean([one[number] for one in found])) if found else float("nan")
        for kind, found in kinds.items()
        for number, name in enumerate(("refused", "right", "right_adapted"))
    }


def run_transfer_study(
    output_dir: str | Path,
    data_dir: str | None = None,
    encoder: str = "whisper-base",
    cache_dir: str | None = None,
    corpora: Sequence[str] = CORPORA,
    recipes: Sequence[Recipe] = tuple(RECIPES),
    tell: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Run the study; write its figures, and the page that tells them."""
    if len(set(corpora)) < 3:
        raise ValueError("The study needs three corpora at least: one is tested, and the others choose by each other.")
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    clips = read_clips(corpora, LayerStatistics(encoder), data_dir, cache_dir)
    rows = leave_out(clips, recipes, tell)
    write_json(folder / "transfer.json", {"encoder": encoder, "rows": rows})
    write_text(folder / "README.md", transfer_page(rows))
    return rows


def transfer_page(rows: Sequence[Mapping[str, Any]]) -> str:
    """Fill the page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    corpora = list(dict.fromkeys(row["corpus"] for row in rows))
    table = {way.title: {row["corpus"]: row for row in rows if row["way"] == way.title} for way in WAYS}
    return environment.get_template("transfer.md.j2").render(corpora=corpora, table=table, axes=AXES)
