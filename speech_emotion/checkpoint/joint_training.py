"""One model trained on the clips of several corpora, and the scores that it gives to others."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification
from speech_emotion.training import run_training
from speech_emotion.training.arguments import ModelArguments, preset_settings
from speech_emotion.training.batches import FeatureCollator
from speech_emotion.training.building import make_extractor
from speech_emotion.training.emotion_task import EmotionTask
from speech_emotion.training.splits import ClipSplit, Splits
from speech_emotion.training.training_arguments import SERTrainingArguments

from .joint_clips import LABELS, SOUNDS, JointClips, JointSplit

# The recommended preset. There are more clips to learn from here, and so fewer variants of each and more steps.
# Without dropout of attention weights, torch's fused attention takes half the time.
SETTINGS: dict[str, Any] = preset_settings("recommended", {}) | {
    "max_steps": 1200,
    "variants": 2,
    "attention_dropout": 0.0,
}
WATCHED = 16  # clips that the trainer evaluates after each epoch; they choose nothing
CLIPS_PER_BATCH = 16


class JointRecipe:
    """How models are trained on clips of several corpora.

    Args:
        settings: Values of fields of `ModelArguments` and `SERTrainingArguments` that are not the default's.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.settings = dict(SETTINGS if settings is None else settings)
        self.model = ModelArguments(**self._of(ModelArguments))

    @cached_property
    def extractor(self) -> SERFeatureExtractor:
        """The feature extractor, with its encoder."""
        return make_extractor(self.model)

    def train(
        self, clips: JointClips, learned: np.ndarray, seed: int, folder: str | Path
    ) -> SERForAudioClassification:
        """Train a model on some clips, for a fixed number of steps: nothing is chosen by any others.

        Args:
            clips: All clips.
            learned: Positions of those to learn from.
            seed: Of everything random.
            folder: That the trainer may use; nothing stays there.

        Returns:
            The model, in evaluation mode.
        """
        own = {item.name for item in fields(ModelArguments)}
        training = {name: value for name, value in self._of(SERTrainingArguments).items() if name not in own}
        watched = clips.part(learned[:WATCHED])
        task = EmotionTask.of_splits(
            self.model,
            list(LABELS),
            Splits(clips.part(learned, learned=True), watched, watched),
            self.extractor,
            normalized_by=clips.part(learned[clips.places[learned] != SOUNDS]),  # by how speech is
        )
        task.scored = {}
        arguments = SERTrainingArguments(**training, output_dir=str(folder), seed=seed, use_cpu=True)
        return run_training(task, arguments, save=False).network.eval()

    @torch.inference_mode()
    def logits(self, network: SERForAudioClassification, clips: ClipSplit) -> np.ndarray:
        """Compute the logits of clips, (clips, labels), float64."""
        collate = FeatureCollator(self.extractor.feature_size)
        found = np.empty((len(clips), network.config.num_labels))
        order = np.argsort(clips.num_frames, kind="stable")
        for chosen in np.array_split(order, -(-len(order) // CLIPS_PER_BATCH)):
            batch = collate([clips[index] for index in chosen])
            inputs = {name: batch[name] for name in ("input_features", "attention_mask")}
            found[chosen] = network(**inputs, return_dict=True).logits.double().numpy()
        return found

    def _of(self, kind: type) -> dict[str, Any]:
        names = {item.name for item in fields(kind)}
        return {name: value for name, value in self.settings.items() if name in names}


def check_unheard(learned: JointSplit | JointClips, scored: ClipSplit) -> None:
    """Assert that nobody is both learned from and scored."""
    both = set(learned.speakers) & set(scored.speakers)
    if both:
        raise ValueError(f"{min(both)!r} is learned from and scored; leave that speaker out of one of them.")


def likeliest(logits: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Give each clip the likeliest of some labels, (clips,).

    >>> likeliest(np.array([[0.0, 2.0, 1.0]]), [0, 2]).tolist()
    [2]
    """
    return np.asarray(labels)[logits[:, labels].argmax(axis=1)]
