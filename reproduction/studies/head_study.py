"""The head study: is it so that "not all heads contribute equally", and that the same ones matter in all clips?

The slides say so of one utterance's attention maps. Here each head is dropped in turn. With A_i the output of head i
and W_i its rows of W_E, the context is C = E + Σ_i A_i W_i (+ b); to drop a head is to leave out its addend, and
nothing else changes. The model was never trained without the head, so this measures how much the trained model relies
on it, not how well one could do without; a head that another one could replace counts in full, and two that say the
same count little each. A head's importance for a clip is the fall of the true class's log-probability, in nats;
Kendall's W and Friedman's test say whether clips agree on the order of the heads, and a shuffle of the heads within
clips says what agreement chance gives.

Only the test clips of the model's own fold are used. Heads of two trainings have no common identity: permuting a
model's heads, with their rows and columns of the matrices, gives the same function, and which head learns what is an
accident of the seed. So across models not "head 2" is compared but the shape, the importances in falling order, and
how far each model's test speakers agree: one model has few test speakers, so that the answers are averaged over models
(folds and seeds). Speakers are what is resampled: a speaker's clips, and what the models of other seeds make of the
same clips, stay together.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from dataset_scripts import load_fold
from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification
from speech_emotion.evaluation.figures import FORMATS, figure_style, save_figure
from speech_emotion.evaluation.intervals import (
    Estimate,
    mean_over_pairs,
    mean_over_speakers,
    numbered,
    speaker_bootstrap_difference,
    speaker_counts,
    with_interval,
)
from speech_emotion.evaluation.metrics import grouped_counts, ua
from speech_emotion.files import write_csv, write_json
from speech_emotion.inference.explanation import head_places
from speech_emotion.training.arguments import DataArguments
from speech_emotion.training.batches import FeatureCollator
from speech_emotion.training.emotion_task import load_with_features
from speech_emotion.training.splits import ClipSplit, keep_labels, make_splits

from .head_figures import head_figure, head_profile_figure
from .rank_agreement import Agreement, rank_agreement, rank_shares, shuffled_profile, sorted_profile, unit_ranks

CLIPS_PER_BATCH = 16
# Of fewer speakers, resampling them says nothing of others.
LEAST_SPEAKERS = 5


@dataclass(frozen=True)
class HeadScores:
    """Log-probabilities of clips, with all heads and without each."""

    names: list[str]  # name of each head: its number from 1, behind its stream's name where there are several
    truth: np.ndarray  # true class of each clip, (clips,)
    full: np.ndarray  # Log-probability of each class with all heads, (clips, classes), in nats
    dropped: np.ndarray  # likewise without each head, (heads, clips, classes)

    @property
    def importance(self) -> np.ndarray:
        """Fall of the true class's log-probability without the head, (clips, heads), in nats; below 0 if it harms."""
        clips = np.arange(len(self.truth))
        return (self.full[clips, self.truth] - self.dropped[:, clips, self.truth]).T


@contextmanager
def without_head(model: SERForAudioClassification, stream: int, head: int) -> Iterator[None]:
    """Drop a head for as long as the context lasts."""
    size = model.config.head_size

    def drop(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        attended = inputs[0].clone()  # (batch, frames, heads × head_size)
        attended[..., head * size : (head + 1) * size] = 0
        return (attended,)

    hook = model.ser.streams[stream].attention.output.register_forward_pre_hook(drop)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def score_without_heads(
    model: SERForAudioClassification,
    batches: Sequence[Mapping[str, torch.Tensor]],
    streams: Sequence[str] | None = None,
) -> HeadScores:
    """Score clips with all heads, and without each in turn."""
    model.eval()

    def scores() -> np.ndarray:
        logits = [model(batch["input_features"], attention_mask=batch["attention_mask"]).logits for batch in batches]
        return torch.cat(logits).double().log_softmax(dim=-1).cpu().numpy()  # (clips, classes)

    places = head_places(model, streams)
    full, dropped = scores(), []
    for place in places.values():
        with without_head(model, *place):
            dropped.append(scores())
    truth = torch.cat([batch["labels"] for batch in batches]).cpu().numpy()
    return HeadScores(list(places), truth, full, np.stack(dropped))


@dataclass(frozen=True)
class HeadStudy:
    """What was found of one model."""

    model: str  # name of the model's folder
    names: list[str]  # name of each head
    ids: list[str]  # id of each test clip
    speakers: list[str]  # speaker of each
    labels: list[str]  # true emotion of each
    importance: np.ndarray  # fall of the true class's log-probability without the head, (clips, heads), in nats
    mean_importance: np.ndarray
    ua: float  # UA with all heads, in [0, 1]
    ua_change: np.ndarray  # UA without the head less UA with all, likewise, (3, heads)
    clips: Agreement  # agreement of the clips on the order of the heads
    speakers_agreement: Agreement | None  # agreement of the speakers' mean importances; `None` for one speaker
    profile: np.ndarray  # mean importance over the clips, falling, (heads,)
    chance_profile: np.ndarray  # the same with heads shuffled within clips, (heads,)

    def facts(self) -> dict[str, Any]:
        """Return the figures, for JSON."""
        measured = zip(self.names, self.mean_importance.T, self.ua_change.T, strict=True)
        heads = [
            {"head": name, "importance": _estimate(importance), "ua_change": _estimate(change)}
            for name, importance, change in measured
        ]
        return {
            "model": self.model,
            "clips": len(self.ids),
            "speakers": sorted(set(self.speakers)),
            "ua": self.ua,
            "heads": heads,
            "agreement_of_clips": asdict(self.clips),
            "agreement_of_speakers": None if self.speakers_agreement is None else asdict(self.speakers_agreement),
            "profile": self.profile.tolist(),
            "profile_with_shuffled_heads": self.chance_profile.tolist(),
        }


def summarize_heads(
    scores: HeadScores, name: str, ids: list[str], speakers: list[str], labels: list[str]
) -> HeadStudy:
    """Turn scores without heads into importances, agreement and changes of UA."""
    if len(scores.names) < 2:
        raise ValueError(f"{name} has one head; that heads are unequal can only be asked of several.")
    importance = scores.importance  # (clips, heads)
    numbers, people = numbered(speakers)
    by_speaker = np.stack([importance[numbers == number].mean(axis=0) for number in range(len(people))])
    several = len(people) >= LEAST_SPEAKERS

    def counts(log_probabilities: np.ndarray) -> np.ndarray:
        predictions = log_probabilities.argmax(axis=-1)
        return grouped_counts(numbers, scores.truth, predictions, len(people), len(labels))

    full = counts(scores.full)

    def change(without: np.ndarray) -> Estimate:
        if several:
            return speaker_bootstrap_difference(without, full)
        return Estimate(float(ua(without.sum(axis=0)) - ua(full.sum(axis=0))), np.nan, np.nan)

    resampled = mean_over_speakers(by_speaker, speaker_counts(len(people)))  # (resamples, heads)
    mean_importance = with_interval(by_speaker.mean(axis=0), resampled)
    if not several:  # two speakers' interval would go from the one to the other, and one speaker's have no width
        mean_importance[1:] = np.nan
    return HeadStudy(
        model=name,
        names=scores.names,
        ids=ids,
        speakers=speakers,
        labels=[labels[label] for label in scores.truth],
        importance=importance,
        mean_importance=mean_importance,
        ua=float(ua(full.sum(axis=0))),
        ua_change=np.array([astuple(change(counts(dropped))) for dropped in scores.dropped]).T,
        clips=rank_agreement(importance),
        speakers_agreement=rank_agreement(by_speaker) if len(people) > 1 else None,
        profile=sorted_profile(importance),
        chance_profile=shuffled_profile(importance),
    )


@dataclass(frozen=True)
class HeadAgreement:
    """What the models say together."""

    models: int  # number of models with at least 2 test speakers
    speakers: int  # number of their test speakers
    # Each with the ends of its 95% interval over speakers. Lead: how far the head that counts most for a model's other
    # test speakers is above the mean of the rest, in nats. Correlation: of the heads' ranks in two clips of different
    # speakers. Both are 0 by chance.
    lead: tuple[float, float, float]
    correlation: tuple[float, float, float]


def pool_heads(studies: Sequence[HeadStudy]) -> HeadAgreement | None:
    """Ask all models with at least 2 test speakers together; `None` if there are none."""
    studies = [study for study in studies if len(set(study.speakers)) > 1]
    if not studies:
        return None
    _, people = numbered([speaker for study in studies for speaker in study.speakers])
    place = {speaker: number for number, speaker in enumerate(people)}
    sums, pairs = np.zeros((2, len(people), len(people)))
    leads: list[list[float]] = [[] for _ in people]
    for study in studies:
        numbers, here = numbered(study.speakers)
        columns = [place[speaker] for speaker in here]
        member = np.eye(len(here))[numbers]  # (clips, speakers)
        units = unit_ranks(study.importance)  # (clips, heads)
        totals = member.T @ units  # (speakers, heads)
        clips = member.T @ (units != 0).any(axis=1)  # (speakers,)
        sums[np.ix_(columns, columns)] += totals @ totals.T
        pairs[np.ix_(columns, columns)] += np.outer(clips, clips)
        means = (member / member.sum(axis=0)).T @ study.importance  # (speakers, heads)
        for column, lead in zip(columns, _leads(means), strict=True):
            leads[column].append(lead)
    # Of all speakers as they are, then of each resample: (1 + resamples, speakers).
    counts = np.concatenate([np.ones((1, len(people)), dtype=np.int64), speaker_counts(len(people))])
    of_pairs = mean_over_pairs(pairs, counts)
    correlation = mean_over_pairs(sums, counts) / np.where(of_pairs > 0, of_pairs, np.nan)
    lead = mean_over_speakers(np.array([np.mean(values) for values in leads]), counts)
    lead, correlation = (tuple(with_interval(one[0], one[1:]).tolist()) for one in (lead, correlation))
    return HeadAgreement(len(studies), len(people), lead, correlation)


def _leads(means: np.ndarray) -> np.ndarray:
    """For each speaker, how far the head that leads for the others is above the mean of the rest: (speakers,)."""
    others = means.sum(axis=0) - means  # (speakers, heads); its argmax is that of the mean
    chosen = np.take_along_axis(means, others.argmax(axis=1)[:, None], axis=1)[:, 0]
    rest = (means.sum(axis=1) - chosen) / (means.shape[1] - 1)
    return chosen - rest


def run_head_study(
    models: list[str], data: DataArguments, output_dir: str | Path
) -> tuple[list[HeadStudy], HeadAgreement | None]:
    """Study the heads of saved models, each on the test clips of its own fold, and write figures and numbers."""
    with figure_style():  # before the work, not after it: figures need matplotlib
        pass
    names = _names(models)
    studies = [study_model(Path(model), data, name) for model, name in zip(models, names, strict=True)]
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    pooled = pool_heads(studies)
    facts = {"pooled": None if pooled is None else asdict(pooled), "models": [study.facts() for study in studies]}
    write_json(folder / "heads.json", facts)
    header = ["model", "id", "speaker", "label", "head", "importance"]
    rows = [
        [study.model, clip, speaker, label, head, f"{value:.6f}"]
        for study in studies
        for clip, speaker, label, row in zip(study.ids, study.speakers, study.labels, study.importance, strict=True)
        for head, value in zip(study.names, row, strict=True)
    ]
    write_csv(folder / "importance.csv", header, rows)
    for study in studies:
        low, high = study.clips.chance_w
        title = (
            f"{study.model}: {len(study.ids)} test clips of {len(set(study.speakers))} speaker(s), "
            f"UA {100 * study.ua:.1f}%\nclips agree with Kendall's W = {study.clips.kendall_w:.2f} "
            f"(heads shuffled within clips: {low:.2f} to {high:.2f})"
        )
        figure = head_figure(study.names, study.mean_importance, rank_shares(study.importance), study.ua_change, title)
        for ending in FORMATS:
            save_figure(figure, folder / f"heads-{study.model}{ending}")
    if len(studies) > 1 and len({len(study.names) for study in studies}) == 1:
        profiles, chance = (np.stack([getattr(s, name) for s in studies]) for name in ("profile", "chance_profile"))
        save_figure(head_profile_figure(names, profiles, chance), folder / "profiles.png")
    return studies, pooled


def study_model(folder: Path, data: DataArguments, name: str) -> HeadStudy:
    """Study the heads of one saved model."""
    model = SERForAudioClassification.from_pretrained(str(folder), dtype=torch.float32)
    extractor = SERFeatureExtractor.from_pretrained(str(folder))
    streams = list(extractor.streams) if len(model.ser.streams) > 1 else None
    labels = [model.config.id2label[label] for label in range(model.config.num_labels)]
    clips = own_test_clips(folder, data, labels, extractor)
    batches = DataLoader(clips, CLIPS_PER_BATCH, collate_fn=FeatureCollator(extractor.feature_size))
    scores = score_without_heads(model, list(batches), streams)
    return summarize_heads(scores, name, clips.ids, clips.speakers, labels)


def own_test_clips(folder: Path, data: DataArguments, labels: list[str], extractor: SERFeatureExtractor) -> ClipSplit:
    """Load the test clips of a run's fold, with features and classes."""
    path = folder / "fold.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no fold.jsonl, which says who was tested. Name the folder of a run.")
    corpus, features, _ = load_with_features(data, extractor)
    rows, labels = keep_labels(corpus, labels)
    return make_splits(rows, features, load_fold(path, rows), labels).test


def _names(models: list[str]) -> list[str]:
    """Name models by their folders, numbered where two have one name."""
    names = [Path(model).resolve().name for model in models]
    return [name if names.count(name) == 1 else f"{name}-{number + 1}" for number, name in enumerate(names)]


def _estimate(values: np.ndarray) -> dict[str, float | None]:
    named = zip(("value", "low", "high"), values.tolist(), strict=True)
    return {name: None if np.isnan(value) else value for name, value in named}
