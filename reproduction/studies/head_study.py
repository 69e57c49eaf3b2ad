"""The head study: is it so that "not all heads contribute equally", and that the same ones matter in all clips?

The slides say so of one utterance's attention maps. Here each head is dropped in turn. Its importance for a clip is
the fall of the true class's log-probability, in nats; Kendall's W and Friedman's test say whether clips agree on the
order of the heads, and a shuffle of the heads within clips says what agreement chance gives.

Only the test clips of the model's own fold are used. Heads of two trainings have no common identity: permuting a
model's heads, with their rows and columns of the matrices, gives the same function, and which head learns what is an
accident of the seed. So across models not "head 2" is compared but the shape, the importances in falling order, and
how far each model's test speakers agree: see `head_agreement`.
"""

from pathlib import Path

import numpy as np
import torch

from dataset_scripts import load_fold
from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification
from reproduction.studies.figures_heads import head_figure, head_profile_figure
from speech_emotion.evaluation.figures import figure_style, save_figure
from speech_emotion.files import write_json, write_text
from speech_emotion.training.arguments import DataArguments
from speech_emotion.training.clip_split import ClipSplit
from speech_emotion.training.collator import FeatureCollator
from speech_emotion.training.emotion_task import load_with_features
from speech_emotion.training.splits import keep_labels, make_splits

from .head_agreement import HeadAgreement, pool_heads
from .head_dropping import score_without_heads
from .head_findings import HeadStudy, importance_table, summarize_heads
from .rank_agreement import rank_shares

CLIPS_PER_BATCH = 16


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
    facts = {"pooled": None if pooled is None else pooled.facts(), "models": [study.facts() for study in studies]}
    write_json(folder / "heads.json", facts)
    write_text(folder / "importance.csv", importance_table(studies))
    for study in studies:
        low, high = study.clips.chance_w
        title = (
            f"{study.model}: {len(study.ids)} test clips of {len(set(study.speakers))} speaker(s), "
            f"UA {100 * study.ua:.1f}%\nclips agree with Kendall's W = {study.clips.kendall_w:.2f} "
            f"(heads shuffled within clips: {low:.2f} to {high:.2f})"
        )
        figure = head_figure(study.names, study.mean_importance, rank_shares(study.importance), study.ua_change, title)
        save_figure(figure, folder / f"heads-{study.model}.png")
        save_figure(figure, folder / f"heads-{study.model}.svg")
    if len(studies) > 1 and len({len(study.names) for study in studies}) == 1:
        profiles, chance = (np.stack([getattr(s, name) for s in studies]) for name in ("profile", "chance_profile"))
        save_figure(head_profile_figure(names, profiles, chance), folder / "profiles.png")
    return studies, pooled


def study_model(folder: Path, data: DataArguments, name: str) -> HeadStudy:
    """Study the heads of one saved model."""
    model = SERForAudioClassification.from_pretrained(str(folder), dtype=torch.float32)
    extractor = SERFeatureExtractor.from_pretrained(str(folder))
    streams = list(extractor.streams) if len(model.ser.streams) > 1 else None
    clips = own_test_clips(folder, data, model, extractor)
    collate = FeatureCollator(extractor.feature_size)
    batches = [
        collate(clips.__getitems__(range(start, min(start + CLIPS_PER_BATCH, len(clips)))))
        for start in range(0, len(clips), CLIPS_PER_BATCH)
    ]
    scores = score_without_heads(model, batches, streams)
    labels = [model.config.id2label[label] for label in range(model.config.num_labels)]
    return summarize_heads(scores, name, clips.ids, clips.speakers, labels)


def own_test_clips(
    folder: Path, data: DataArguments, model: SERForAudioClassification, extractor: SERFeatureExtractor
) -> ClipSplit:
    """Load the test clips of a run's fold, with features and classes."""
    labels = [model.config.id2label[number] for number in range(model.config.num_labels)]
    path = folder / "fold.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no fold.jsonl, which says who was tested. Name the folder of a run.")
    corpus, features = load_with_features(data, extractor)
    rows, labels = keep_labels(corpus, labels)
    return make_splits(rows, features, load_fold(path, rows), labels).test


def _names(models: list[str]) -> list[str]:
    """Name models by their folders, numbered where two have one name."""
    names = [Path(model).resolve().name for model in models]
    return [name if names.count(name) == 1 else f"{name}-{number + 1}" for number, name in enumerate(names)]


__all__ = ["own_test_clips", "run_head_study", "study_model"]
