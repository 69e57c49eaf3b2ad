"""Several of the paper's classifiers as one model: one checkpoint, one pass over the features, averaged posteriors."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple
from transformers.utils.hub import cached_file

from .classification_loss import average_answers, classification_loss
from .configuration_ser import SERConfig
from .modeling_ser import SERForAudioClassification, SERPreTrainedModel

# Fields on which no score depends.
OF_TRAINING = {"dropout", "attention_dropout", "encoder_dropout", "class_weights", "label_smoothing", "loss"}
OF_TRAINING |= {"focal_gamma"}


class SEREnsembleForAudioClassification(SERPreTrainedModel):
    """Classifiers of one shape, each with weights and normalization of its own, whose posteriors are averaged.

    p = Σ_k softmax(z_k) / K, with z_k the logits of member k of K. The output's `logits` are log p: since the
    probabilities sum to 1, softmax(log p) = p / Σ p = p, so everything that takes a softmax of logits (the pipeline,
    for one) gives p; `config.temperature` is of the average, and the pipeline divides log p by it. Of a regression
    they are the mean of the members' values. The members run one after another: on one thread of a CPU that takes as
    long as one pass with stacked weights (`torch.func.stack_module_state`) for a single clip, and less for a batch of
    16.

    Args:
        config: The configuration; `num_members` is the number of members, 2 at least.

    Raises:
        ValueError: If there are fewer than two members, or the labels do not exclude each other.

    Source: slides of Bhosale et al., ICASSP 2020, "downsampling + ensembling".

    Example:
        >>> ensemble = SEREnsembleForAudioClassification(SERConfig(num_labels=4, num_members=3)).eval()
        >>> logits = ensemble(torch.randn(2, 50, 384)).logits
        >>> torch.allclose(logits.exp().sum(dim=-1), torch.ones(2))
        True
    """

    base_model_prefix = ""  # no body that a member shares with another
    _resizable = r"members\.\d+\.classifier\.(out_proj|statistics)\."

    def __init__(self, config: SERConfig) -> None:
        super().__init__(config)
        if config.num_members < 2:
            raise ValueError(
                f"An ensemble has 2 members or more, not {config.num_members}; one is a SERForAudioClassification."
            )
        if config.problem_type == "multi_label_classification":
            raise ValueError(
                f"An ensemble averages probabilities that sum to 1; problem_type {config.problem_type!r} has none."
            )
        self.members = nn.ModuleList(
            SERForAudioClassification(config.with_members(1)) for _ in range(config.num_members)
        )
        self.post_init()

    @classmethod
    def from_members(cls, members: Sequence[SERForAudioClassification]) -> Self:
        """Make an ensemble of trained classifiers.

        Args:
            members: Two classifiers or more, of the same configuration and type of numbers. They are left as they are.
                Where they were loaded, the feature extractors saved beside them must have the same settings; those of
                members made in memory are nowhere to be seen, and their sameness is up to you.

        Returns:
            The ensemble in evaluation mode, on the device of the first, with copies of the weights and of the
            normalization of each. Its temperature is 1 whatever theirs are: each of those was fitted to scores of one
            member, and an average is less certain than its members. Fit the ensemble's own to its scores of
            validation clips (`speech_emotion.evaluation.calibration.fit_temperature`) and set it in `config`.

        Raises:
            ValueError: If there are too few, one is no classifier, or one disagrees with the first, or its feature
                extractor does.

        Example:
            >>> members = [SERForAudioClassification(SERConfig(num_labels=4)) for _ in range(3)]
            >>> SEREnsembleForAudioClassification.from_members(members).config.num_members
            3
        """
        members = list(members)
        for index, member in enumerate(members):
            check_agreement(member, members[0], index)
        if len(members) < 2:
            raise ValueError(f"An ensemble has 2 members or more, not {len(members)}.")
        check_front_ends(members)
        config = members[0].config.with_members(len(members))
        config.temperature = 1.0
        ensemble = cls(config).to(members[0].device, members[0].dtype)
        for own, member in zip(ensemble.members, members, strict=True):
            own.load_state_dict(member.state_dict())
        return ensemble.eval()

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Score a batch of clips, and compute the loss where labels are given.

        Args:
            input_features: Features, (batch, frames, input_size), the same for all members.
            attention_mask: 1 for real frames and 0 for padding, (batch, frames); None when all are real.
            labels: Index of each clip's emotion, (batch,), in [0, num_labels).
            output_attentions: Whether to return the attention weights of every head of every member.
            output_hidden_states: Whether to return E and C of every member.

        Returns:
            With `return_dict=False`, as a keyword or in the configuration, a tuple instead of an object with `logits`
            log p, (batch, num_labels), float32 at least; with labels `loss`, the mean of the members' losses, a
            scalar; on demand `attentions` and `hidden_states`, which are the members' own, one member after the other:
            with S streams, `attentions[k * S + s]` is that of stream s of member k, and `hidden_states[2 * k]` and
            `[2 * k + 1]` are E and C of member k.

        Raises:
            ValueError: If a shape, or the number of class weights, does not fit.
        """
        config = self.config
        demanded = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        # The members' own configurations do not know what has been set in the ensemble's.
        demanded = {name: getattr(config, name) if value is None else value for name, value in demanded.items()}
        outputs = [member(input_features, attention_mask, **demanded, return_dict=True) for member in self.members]
        loss = None
        if labels is not None:
            # Not the loss of log p: its gradient would reach each member through the posteriors of the others, which
            # then divide the work among them. The mean of the losses trains each member as if alone, with 1/K of its
            # gradient; and since -log is convex, mean_k(-log p_k) ≥ -log mean_k(p_k): it bounds the ensemble's own
            # cross entropy from above (Jensen). Of a member with a statistics head it is the loss of its own average.
            loss = torch.stack([classification_loss(member.logits, labels, config) for member in outputs]).mean()
        attentions = tuple(tensor for member in outputs for tensor in member.attentions or ())
        hidden_states = tuple(tensor for member in outputs for tensor in member.hidden_states or ())
        return SequenceClassifierOutput(
            loss=loss,
            logits=average_answers([member.logits for member in outputs], config),
            hidden_states=hidden_states or None,
            attentions=attentions or None,
        )

    as_pipeline = SERForAudioClassification.as_pipeline


def check_agreement(member: PreTrainedModel, first: PreTrainedModel, index: int) -> None:
    """Check that a classifier may stand beside the first of an ensemble."""
    # By what it holds, not by its class: a model loaded with its own code from the Hub is of a copy of the class.
    if getattr(getattr(member, "config", None), "model_type", None) != "ser" or not hasattr(member, "classifier"):
        raise ValueError(f"Member {index} must be a SERForAudioClassification, not a {type(member).__name__}.")
    shared = [name for name in SERConfig.own_fields() if name != "temperature"]
    for name in [*shared, "id2label", "problem_type"]:
        own, others = (getattr(model.config, name) for model in (member, first))
        # What is written as a tuple is read back as a list.
        own, others = (list(value) if isinstance(value, tuple) else value for value in (own, others))
        if own != others:
            raise ValueError(
                f"Members 0 and {index} disagree in {name}: {others!r} and {own!r}. Members of an ensemble share one "
                f"configuration; retrain one of them"
                + (" or, as it bears on training only, set it anew in its config." if name in OF_TRAINING else ".")
            )
    if member.dtype != first.dtype:
        raise ValueError(f"Members 0 and {index} are of {first.dtype} and {member.dtype}; convert one with `.to`.")


def check_front_ends(members: Sequence[PreTrainedModel]) -> None:
    """Check that what members were trained to read is the same, as far as extractors are saved beside them."""
    found = [(index, one) for index, one in enumerate(map(front_end, members)) if one is not None]
    for index, own in found[1:]:
        first, others = found[0]
        for name in sorted({*own, *others}):
            if own.get(name) != others.get(name):
                raise ValueError(
                    f"Members {first} and {index} read different features: {name} is {others.get(name)!r} beside "
                    f"{members[first].name_or_path} and {own.get(name)!r} beside {members[index].name_or_path}. An "
                    "ensemble has one feature extractor; retrain one of them."
                )


def front_end(member: PreTrainedModel) -> dict[str, Any] | None:
    """Read what the feature extractor beside a model's checkpoint does; `None` where there is none to be read."""
    if not member.name_or_path:
        return None
    path = cached_file(
        member.name_or_path,
        "preprocessor_config.json",
        revision=getattr(member.config, "_commit_hash", None),
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return None
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    for entry in (settings.get("encoders") or {}).values():
        if "digest" in entry:  # where an encoder lies says nothing of what it computes
            for name in ("name_or_path", "revision", "bundled"):
                entry.pop(name, None)
    # What is off may not have been there when an older extractor was saved.
    return {name: value for name, value in settings.items() if name != "auto_map" and value not in (None, "none", {})}


SEREnsembleForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
