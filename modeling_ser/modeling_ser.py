"""The paper's network: a convolutional encoder, multi-head self-attention, pooling over time and two dense layers.

Every layer honors the attention mask, so that padding never changes a score.
"""

import math
import os
import re
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import FeatureExtractionMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import can_return_tuple, logging

from .checkpoint_files import check_values, check_weights, listed, naming, with_sizes, without_report, writing
from .classification_loss import average_answers, classification_loss
from .configuration_ser import SERConfig
from .encoder_network import EncoderNetwork
from .frame_layers import ConvLayer, MaskedBatchNorm
from .layer_mix import LayerMix
from .pooling import POOLINGS, ClipStatistics
from .spectrogram_stem import SpectrogramStem, average_frames

if TYPE_CHECKING:
    from .pipeline_ser import SERPipeline

logger = logging.get_logger(__name__)

# The threads of torch do not survive a fork: a child would wait for them forever. It computes with one thread.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def eager_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend with explicit weights: softmax(Q Kᵀ / √d_K) V.

    Source: slides, "Multi-head Self Attention".
    """
    scores = (query @ key.transpose(2, 3)) * scaling  # (batch, heads, frames, frames)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
    attended = F.dropout(weights, p=dropout, training=module.training) @ value  # (batch, heads, frames, head_size)
    return attended.transpose(1, 2).contiguous(), weights


class SelfAttention(GradientCheckpointingLayer):
    """The decoder's attention with its residual connection: C = E + (A_1 ‖ … ‖ A_h) W_E.

    Source: slides, "Multi-head Self Attention".
    """

    is_causal = False

    def __init__(self, config: SERConfig) -> None:
        super().__init__()
        self.config = config
        size, inner = config.hidden_size, config.num_attention_heads * config.head_size
        self.query = nn.Linear(size, inner, bias=config.attention_bias)
        self.key = nn.Linear(size, inner, bias=config.attention_bias)
        self.value = nn.Linear(size, inner, bias=config.attention_bias)
        self.output = nn.Linear(inner, size, bias=config.attention_bias)

    def forward(
        self, encoded: torch.Tensor, attention_mask: torch.Tensor | None = None, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Give each frame its context."""
        batch, frames, _ = encoded.shape
        split = (batch, frames, self.config.num_attention_heads, self.config.head_size)
        projections = (self.query, self.key, self.value)
        # Each (batch, heads, frames, head_size).
        query, key, value = (project(encoded).view(split).transpose(1, 2) for project in projections)
        if attention_mask is not None:
            # The same keys for every query: written out, (frames × frames) of them would be most of the memory.
            attention_mask = attention_mask[:, None, None, :]  # (batch, 1, 1, frames)
        attend: Callable = eager_attention
        if not output_attentions:  # fused kernels never form the weights
            attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        attended, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.config.head_size**-0.5,
        )
        context = encoded + self.output(attended.reshape(batch, frames, -1))  # (batch, frames, hidden_size)
        return context, weights if output_attentions else None


class EncoderDecoder(nn.Module):
    """Two convolutions and the self-attention over one sequence of features.

    Source: slides, "Proposed architecture".
    """

    def __init__(self, config: SERConfig, input_size: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(input_size, config.hidden_size, config.conv_kernel_size)
        self.conv2 = ConvLayer(config.hidden_size, config.hidden_size, config.conv_kernel_size)
        self.dropout = nn.Dropout(config.encoder_dropout)
        self.attention = SelfAttention(config)

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Encode and attend."""
        encoded = self.dropout(self.conv2(self.conv1(features, mask), mask))
        context, weights = self.attention(encoded, attention_mask, output_attentions)
        return encoded, context, weights


class SERPreTrainedModel(PreTrainedModel):
    """What the model and the classifier share: initialization and loading that refuses holes."""

    config_class = SERConfig
    base_model_prefix = "ser"
    main_input_name = "input_features"
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["EncoderDecoder"]  # noqa: RUF012 - a list is what transformers reads
    # Without this Trainer sees a loss that was already divided and divides it again under accumulation.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv1d | nn.Conv2d):  # ReLU follows
            init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, StatisticsClassifier):  # thousands of inputs for some hundred clips: begin undecided
            init.zeros_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, MaskedBatchNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            init.zeros_(module.running_mean)
            init.ones_(module.running_var)
        elif isinstance(module, LayerMix):
            init.zeros_(module.scores)
        elif isinstance(module, ClipStatistics):
            init.zeros_(module.mean)
            init.ones_(module.std)
        elif isinstance(module, SERModel):
            init.zeros_(module.feature_mean)
            init.ones_(module.feature_std)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str,
        *model_args: Any,
        strict: bool = True,
        output_loading_info: bool = False,
        ignore_mismatched_sizes: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load a checkpoint, and refuse one that does not fit.

        Args:
            pretrained_model_name_or_path: A folder, or the id of a repository on the Hub.
            model_args: Passed on to transformers.
            strict: Whether weights that are missing or unexpected, buffers included, are an error; else a warning.
            output_loading_info: Whether to return also transformers' account of the loading.
            ignore_mismatched_sizes: Allow the last layer to have another size than the checkpoint's (another set of
                labels); it is then new. No other weight may differ.
            kwargs: Passed on to transformers (`revision`, `dtype`, `cache_dir`, fields of the configuration, …).

        Returns:
            The model in evaluation mode; with `output_loading_info`, the pair of it and a dictionary.

        Raises:
            RuntimeError: If weights are missing, unexpected or of another size, all of them listed.
            ValueError: If settings have no sense, or weights are no finite floating-point numbers.
            OSError: If there is no checkpoint, or none in safetensors, or a damaged one.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     SERForAudioClassification(SERConfig(num_labels=3)).save_pretrained(folder)
            ...     model = SERForAudioClassification.from_pretrained(folder)
            >>> model.config.num_labels
            3
        """
        place = pretrained_model_name_or_path
        if place is not None:
            kwargs = check_weights(place, SERConfig, cls, kwargs)
        with naming(place, "cannot be loaded"), without_report():
            model, info = super().from_pretrained(
                place,
                *model_args,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, with all else that is wrong
                **{**kwargs, "use_safetensors": True},  # pickled weights would run whatever code they hold
            )
        check_values(place, model)
        mismatched = with_sizes(info["mismatched_keys"])
        resizable = cls._resizable if ignore_mismatched_sizes else None
        body = [told for key, told in mismatched.items() if not (resizable and re.match(resizable, key))]
        problems = {"of another size": body}
        if strict:
            # transformers counts a resized weight as missing too: it is reported once, above.
            problems["missing"] = set(info["missing_keys"]) - set(mismatched)
            problems["unexpected"] = info["unexpected_keys"]
        found = [f"{kind}: {listed(keys)}" for kind, keys in problems.items() if keys]
        if found:
            raise RuntimeError(
                f"The checkpoint {pretrained_model_name_or_path!r} does not fit {cls.__name__}. Weights "
                + "; ".join(found)
                + ". Load it with the class and configuration that it was saved with"
                + (", or pass strict=False to take fresh values for what is missing" if strict else "")
                + (", ignore_mismatched_sizes=True for a new head." if body and not ignore_mismatched_sizes else ".")
            )
        fresh = {name: name for name in info["missing_keys"]} | mismatched
        if fresh or info["unexpected_keys"]:
            logger.warning(
                "%s: fresh values for %s; ignored %s.",
                place,
                listed(fresh.values()) or "nothing",
                listed(info["unexpected_keys"]) or "nothing",
            )
        weights = model.config.class_weights
        if mismatched and weights is not None and len(weights) != model.config.num_labels:
            logger.warning("The class weights of %d labels are dropped with the old head.", len(weights))
            for part in model.modules():
                if isinstance(part, SERPreTrainedModel):
                    part.config.class_weights = None
        return (model, info) if output_loading_info else model

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save as transformers does, weights readable for whom the umask lets read."""
        with writing(save_directory):
            super().save_pretrained(save_directory, **kwargs)

    # Weights that may take another size with ignore_mismatched_sizes: a regular expression of their first letters.
    _resizable: str | None = None


class SERModel(SERPreTrainedModel):
    """The paper's encoder and attention decoder: features of frames → contexts, pooled over time.

    Args:
        config: The configuration. With `fusion="late"` each stream has an encoder, an attention and a pooling of its
            own, and the contexts are concatenated on the feature axis.

    Source: slides, "Proposed architecture" and "Multi-head Self Attention".

    Example:
        >>> model = SERModel(SERConfig()).eval()
        >>> output = model(torch.randn(2, 50, 384))
        >>> output.last_hidden_state.shape, output.pooler_output.shape
        (torch.Size([2, 50, 128]), torch.Size([2, 128]))
    """

    # A classifier's checkpoint holds all that this model needs, and a head.
    _keys_to_ignore_on_load_unexpected = [r"^classifier\."]  # noqa: RUF012 - a list is what transformers reads

    def __init__(self, config: SERConfig) -> None:
        super().__init__(config)
        self.encoder = EncoderNetwork(config) if config.encoder_config else None
        sizes = list(config.stream_sizes or [config.input_size])
        self.register_buffer("feature_mean", torch.zeros(config.input_size))
        self.register_buffer("feature_std", torch.ones(config.input_size))
        self.mix: LayerMix | None = None
        if max(config.layer_mix or [1]) > 1:
            self.mix = LayerMix(sizes, config.layer_mix)
            sizes = list(self.mix.output_sizes)
        self.stem: SpectrogramStem | None = None
        if config.stem_channels:
            self.stem = SpectrogramStem(config.stem_channels, sizes[0])
            sizes[0] = self.stem.output_size
        self.encoder_sizes = sizes if config.fusion == "late" else [sum(sizes)]
        self.streams = nn.ModuleList(EncoderDecoder(config, size) for size in self.encoder_sizes)
        self.poolings = nn.ModuleList(POOLINGS[config.pooling](config.hidden_size) for _ in self.encoder_sizes)
        self.statistics = ClipStatistics(config.input_size) if config.statistics_head else None
        self.post_init()

    @property
    def pooled_size(self) -> int:
        """Size of the pooled contexts of all streams: `hidden_size` for each, twice that with a deviation."""
        return sum(pooling.pooled_size for pooling in self.poolings)

    @property
    def frame_stride(self) -> int:
        """Frames of features for each frame of C: frame j of C stands at frame j × `frame_stride` of the features."""
        parts = (self.encoder, self.stem)
        return math.prod(part.frame_stride for part in parts if part is not None)

    @property
    def frame_size(self) -> int:
        """Features per frame that `forward` takes: `input_size`, or those of the input of the model's own encoder."""
        return self.config.input_size if self.encoder is None else self.encoder.input_size

    @torch.no_grad()
    def set_normalization(
        self, mean: torch.Tensor, std: torch.Tensor, clips: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> None:
        """Set the statistics that features are normalized with; they are saved with the weights.

        Args:
            mean: Mean of each feature over the frames of the training split, (input_size,).
            std: Standard deviation likewise, (input_size,), positive.
            clips: With `config.statistics_head`, mean and standard deviation over the clips of the training split of
                each feature's mean over a clip, and then of its standard deviation over a clip, both
                (2 × input_size,), of features that are not normalized; `None` keeps those that are set.

        Raises:
            ValueError: If a shape is wrong, or a value is not finite, or a deviation is not positive.
        """
        size = self.feature_mean.shape
        given = [("mean", mean, size), ("std", std, size)]
        if clips is not None and self.statistics is not None:
            twice = self.statistics.mean.shape
            given += [("mean over clips", clips[0], twice), ("deviation over clips", clips[1], twice)]
        for name, value, shape in given:
            if value.shape != shape or not bool(torch.isfinite(value).all()):
                raise ValueError(
                    f"The {name} must be {shape[0]} finite numbers, one for each feature; "
                    f"it has shape {tuple(value.shape)}."
                )
        if not all(bool((value > 0).all()) for _, value, _ in given[1::2]):
            raise ValueError("Every standard deviation must be positive; floor those of constant features.")
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(std)
        if clips is not None and self.statistics is not None:
            # A clip whose features have mean m and deviation s has (m - mean) / std and s / std once normalized.
            self.statistics.mean.copy_((clips[0] - torch.cat([mean, torch.zeros_like(mean)])) / std.repeat(2))
            self.statistics.std.copy_(clips[1] / std.repeat(2))

    def clip_frames(
        self, input_features: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """Give each clip's real frames as the normalization sees them, (frames, input_size)."""
        if self.encoder is not None:
            input_features, attention_mask = self.encoder(input_features, attention_mask)
        if attention_mask is None:
            return list(input_features)
        return [frames[real.bool()] for frames, real in zip(input_features, attention_mask, strict=True)]

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        given_layers: Sequence[int] | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode a batch of clips.

        Args:
            input_features: Features, (batch, frames, input_size); with an encoder of the model's own its input,
                (batch, frames, frame_size).
            attention_mask: 1 for real frames and 0 for padding, (batch, frames); None when all are real.
            output_attentions: Whether to return the attention weights of every head.
            output_hidden_states: Whether to return E beside C.
            given_layers: Layers of that encoder whose states, computed before, `input_features` hold side by side in
                place of its input: only the blocks above the highest of them are run.

        Returns:
            With `return_dict=False`, as a keyword or in the configuration, a tuple instead of an object with
            `last_hidden_state` C, (batch, frames, hidden_size × streams), 0 where padded; `pooler_output`, what
            `config.pooling` makes of its real frames, (batch, pooled_size), stream by stream, with
            `config.statistics_head` followed by the statistics of the features, (batch, 2 × input_size); `attentions`,
            one tensor (batch, heads, frames, frames) per stream; `hidden_states` (E, C), each of C's shape. With
            `config.stem_channels` all of these have ⌈frames / `frame_stride`⌉ frames.

        Raises:
            ValueError: If a shape does not fit.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        size = self.frame_size
        if given_layers is not None:
            if self.encoder is None:
                raise ValueError("given_layers is for models with an encoder of their own; leave it out.")
            size = self.encoder.size * len(given_layers)
        if input_features.dim() != 3 or input_features.shape[-1] != size or not input_features.shape[1]:
            raise ValueError(
                f"input_features must be (batch, frames, {size}), with a frame at least, "
                f"not {tuple(input_features.shape)}."
            )
        if attention_mask is not None and attention_mask.shape != input_features.shape[:2]:
            raise ValueError(
                f"attention_mask must be (batch, frames) = {tuple(input_features.shape[:2])}, "
                f"not {tuple(attention_mask.shape)}."
            )
        if attention_mask is None and not (
            torch.compiler.is_compiling() or torch.jit.is_tracing() or input_features.is_meta
        ):
            warn_of_padding(input_features)
        if self.encoder is not None:
            input_features, attention_mask = self.encoder(input_features, attention_mask, given_layers)
        # In place: nothing else is as large as the features, and writing them anew costs more than the arithmetic.
        features = input_features.to(self.feature_mean.dtype)
        given = features is input_features and self.encoder is None  # the caller's own, to be left as they are
        features = features - self.feature_mean if given else features.sub_(self.feature_mean)
        features = features.div_(self.feature_std)
        real = None if attention_mask is None else attention_mask.bool()  # (batch, frames)
        mask = features.new_ones(features.shape[:2]) if real is None else real.to(features.dtype)
        mask = mask.unsqueeze(-1)  # (batch, frames, 1)
        if real is not None:  # not a product: whatever stands in the padding, NaN included, must vanish
            features.masked_fill_(~real.unsqueeze(-1), 0.0)
        statistics = [] if self.statistics is None else [self.statistics(features, mask)]  # (batch, 2 × input_size)
        if self.mix is not None:
            features = self.mix(features)  # (batch, frames, sum of its output_sizes)
        if self.stem is not None:
            mel, others = features.tensor_split([self.stem.input_size], dim=-1)
            mel, fewer = self.stem(mel, mask)
            if others.shape[-1]:
                mel = torch.cat([mel, average_frames(others, mask, self.stem.frame_stride)], dim=-1)
            features, mask = mel, fewer  # (batch, frames', sum of encoder_sizes), (batch, frames', 1)
            real = None if real is None else mask.squeeze(-1).bool()
        encoded, contexts, pooled, attentions = [], [], [], []
        parts = features.split(self.encoder_sizes, dim=-1) if len(self.encoder_sizes) > 1 else (features,)
        for stream, pooling, part in zip(self.streams, self.poolings, parts, strict=True):
            stream_encoded, context, weights = stream(part, mask, real, output_attentions)
            encoded.append(stream_encoded)
            contexts.append(context * mask)  # (batch, frames, hidden_size)
            pooled.append(pooling(contexts[-1], mask))
            attentions.append(weights)
        context = torch.cat(contexts, dim=-1)  # (batch, frames, hidden_size × streams)
        return BaseModelOutputWithPooling(
            last_hidden_state=context,
            pooler_output=torch.cat(pooled + statistics, dim=-1),  # (batch, pooled_size + statistics)
            hidden_states=(torch.cat(encoded, dim=-1), context) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


def warn_of_padding(input_features: torch.Tensor) -> None:
    """Warn, once per process, of clips that end as padded ones do; input_features is (batch, frames, size)."""
    # Features of sound are never all zero. A waveform's samples may be, and alone for as long as they like.
    waveform = input_features.shape[2] == 1
    if waveform and len(input_features) == 1:
        return
    least = 400 if waveform else 1  # 25 ms
    silent = (input_features[:, -least:] == 0).all(dim=2).all(dim=1)  # (batch,)
    if silent.any() and input_features[silent].any():  # digital silence, normalized, is zero from end to end
        _warn_of_missing_mask()


@cache
def _warn_of_missing_mask() -> None:
    warnings.warn(
        "input_features end in zeros, as clips do that were padded, and came without attention_mask: what is padding "
        "is taken for sound, which changes the scores. Pass the attention_mask that the feature extractor gives.",
        stacklevel=5,
    )


class StatisticsClassifier(nn.Linear):
    """A linear map from the statistics of a clip's features to logits."""


class DenseHead(nn.Module):
    """Dense → ReLU → dropout → dense, whose outputs are the logits; beside it, on demand, a `StatisticsClassifier`.

    Source: slides, "Proposed architecture": 2 feed-forward dense layers and a softmax; sizes and dropout are ours.
    """

    def __init__(self, input_size: int, config: SERConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(input_size, config.dense_size)
        self.dropout = nn.Dropout(config.dropout)
        self.out_proj = nn.Linear(config.dense_size, config.num_labels)
        self.statistics: StatisticsClassifier | None = None
        if config.statistics_head:
            self.statistics = StatisticsClassifier(2 * config.input_size, config.num_labels)

    def forward(self, pooled: torch.Tensor) -> list[torch.Tensor]:
        """Map what `SERModel` pools to the logits of one classifier or two, each (batch, num_labels)."""
        contexts, statistics = pooled.tensor_split([self.dense.in_features], dim=-1)
        logits = [self.out_proj(self.dropout(F.relu(self.dense(contexts))))]
        return logits if self.statistics is None else [*logits, self.statistics(statistics)]


class SERForAudioClassification(SERPreTrainedModel):
    """The paper's classifier: Model-1, Model-2 or Model-3 by the features it is given.

    Args:
        config: The configuration; `id2label` names the emotions.

    Source: slides, "Proposed architecture".

    Example:
        >>> model = SERForAudioClassification(SERConfig(num_labels=4)).eval()
        >>> features, mask = torch.randn(2, 50, 384), torch.ones(2, 50)
        >>> model(input_features=features, attention_mask=mask).logits.shape
        torch.Size([2, 4])
    """

    _resizable = r"classifier\.(out_proj|statistics)\."

    def __init__(self, config: SERConfig) -> None:
        super().__init__(config)
        if config.num_members != 1:
            raise ValueError(f"SERForAudioClassification is one model; num_members is {config.num_members}.")
        self.ser = SERModel(config)
        self.classifier = DenseHead(self.ser.pooled_size, config)
        self.post_init()
        # The body may leave out a head; transformers hands that leave on to whoever holds a body.
        self._keys_to_ignore_on_load_unexpected = set()

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        given_layers: Sequence[int] | None = None,
        class_mask: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Score a batch of clips, and compute the loss where labels are given.

        Args:
            input_features: Features, (batch, frames, input_size).
            attention_mask: 1 for real frames and 0 for padding, (batch, frames); None when all are real.
            labels: Index of each clip's emotion, (batch,), in [0, num_labels), or -100 for a clip that does not count;
                or what share of its raters heard each, (batch, num_labels).
                By `config.problem_type` also what `classification_loss` says.
            output_attentions: Whether to return the attention weights of every head.
            output_hidden_states: Whether to return E and C.
            given_layers: As of `SERModel`.
            class_mask: Which labels each clip could have, (batch, num_labels), torch.bool, where not all: the others
                count nothing in its loss. So clips of corpora with different labels can be learned from together.

        Returns:
            With `return_dict=False`, as a keyword or in the configuration, a tuple instead of an object with `loss`, a
            scalar, with labels; `logits`, (batch, num_labels), with `config.statistics_head` the logarithm of the
            average posterior; of a regression the values; `hidden_states` and `attentions` on demand, as
            `SERModel` gives them.

        Raises:
            ValueError: If a shape, or the number of class weights, does not fit.
        """
        outputs = self.ser(
            input_features,
            attention_mask=attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            given_layers=given_layers,
            return_dict=True,
        )
        answers = self.classifier(outputs.pooler_output)  # each (batch, num_labels)
        if self.config.value_ranges is not None:
            low, high = answers[0].new_tensor(self.config.value_ranges).T  # each (num_labels,)
            answers = [(low + high) / 2 + (high - low) / 2 * answer for answer in answers]
        loss = None
        if labels is not None:  # each learns as if alone: a loss of their average would let one rest on the other
            loss = torch.stack(
                [classification_loss(logits, labels, self.config, class_mask) for logits in answers]
            ).mean()
        return SequenceClassifierOutput(
            loss=loss,
            logits=answers[0] if len(answers) == 1 else average_answers(answers, self.config),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def freeze_feature_encoder(self) -> None:
        """Keep what leads to the blocks of an encoder of the model's own, its convolutions, from learning.

        transformers' example of audio classification does so unless told otherwise. Other models have no such part.
        """
        if self.ser.encoder is not None:
            for parameter in self.ser.encoder.front_parameters().values():
                parameter.requires_grad = False

    def as_pipeline(self, feature_extractor: FeatureExtractionMixin, **kwargs: Any) -> "SERPipeline":
        """Return the pipeline around this model.

        Args:
            feature_extractor: The extractor whose features the model was trained on.
            kwargs: As of `SERPipeline` (`top_k`, `batch_size`, `device`, …).

        Returns:
            The pipeline that `transformers.pipeline` gives for the saved model.
        """
        # This line makes `save_pretrained` copy the pipeline's file to every checkpoint: transformers copies only what
        # the model's own file imports. At the top it would load all of transformers' pipelines too.
        from .pipeline_ser import SERPipeline

        return SERPipeline(model=self.eval(), feature_extractor=feature_extractor, **kwargs)


# `save_pretrained` copies the code of registered classes, so a saved folder needs nothing of ours to load.
SERModel.register_for_auto_class("AutoModel")
SERForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
