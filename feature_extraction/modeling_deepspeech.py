"""Mozilla DeepSpeech's acoustic model in torch, exact to the original, with the outputs of all of its layers.

Dense layers see all frames of a batch as the rows of one matrix; only the recurrence of the LSTM goes step by step.
"""

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_deepspeech import DeepSpeechConfig
from .encoder_files import check_values, check_weights, listed, naming, with_sizes, without_report, writing
from .lstm_deepspeech import DeepSpeechLSTM

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, Pipeline, PreTrainedTokenizerBase

NUM_LAYERS = 6

logger = logging.getLogger(__name__)


@dataclass
class DeepSpeechState:
    """What one part of an utterance hands on to the next; each is None where there is nothing to hand on yet."""

    hidden: torch.Tensor | None = None  # output of the LSTM at the last frame, (batch, hidden_size)
    cell: torch.Tensor | None = None  # the LSTM's cell at the last frame, (batch, hidden_size)
    context: torch.Tensor | None = None  # coefficients that the next frames see, (batch, frames, input_size)


def _layer(index: int, what: str) -> property:
    def output(self: "DeepSpeechModelOutput") -> torch.Tensor:
        if self.hidden_states is None:
            raise ValueError("The layers' outputs were not kept; call the model with output_hidden_states=True.")
        if index >= len(self.hidden_states):
            raise ValueError(f"Layer {index} was not computed; call the model with last_layer={index} or higher.")
        return self.hidden_states[index]

    return property(output, doc=f"Output of {what}.")


@dataclass
class DeepSpeechModelOutput(ModelOutput):
    """Output of `DeepSpeechModel`.

    Args:
        last_hidden_state: Output of the last layer that was computed, (batch, frames, hidden_size), or (batch, frames,
            vocab_size) of the sixth.
        hidden_states: With `output_hidden_states`, the windows of coefficients that the first layer sees, (batch,
            frames, window_size), and then each layer's output. By name: `layer_1` and so on.
        state: With `return_state`, what the next part of the utterance needs.
    """

    last_hidden_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    state: DeepSpeechState | None = None

    layer_1 = _layer(1, "the first dense layer, (batch, frames, hidden_size), in [0, relu_clip]")
    layer_2 = _layer(2, "the second dense layer, (batch, frames, hidden_size), in [0, relu_clip]")
    layer_3 = _layer(3, "the third dense layer, (batch, frames, hidden_size), in [0, relu_clip]")
    rnn_output = _layer(4, "the LSTM, the fourth layer, (batch, frames, hidden_size), in (-1, 1), 0 where padded")
    layer_5 = _layer(5, "the fifth layer, (batch, frames, hidden_size), in [0, relu_clip]: the paper's linguistic cue")
    layer_6 = _layer(6, "the sixth layer, the logits, (batch, frames, vocab_size)")


@dataclass
class DeepSpeechCTCOutput(ModelOutput):
    """Output of `DeepSpeechForCTC`; `hidden_states` and `state` as of `DeepSpeechModelOutput`."""

    loss: torch.FloatTensor | None = None  # with labels, the CTC loss, a scalar
    logits: torch.FloatTensor | None = None  # scores before the softmax, (batch, frames, vocab_size)
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    state: DeepSpeechState | None = None


class DeepSpeechPreTrainedModel(PreTrainedModel):
    """What the model and its CTC form share: initialization and loading that refuses holes."""

    config_class = DeepSpeechConfig
    base_model_prefix = "deepspeech"
    main_input_name = "input_features"
    input_modalities = ("audio",)
    # Without this Trainer sees a loss that was already divided and divides it again under accumulation.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.xavier_normal_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LSTM):
            # TensorFlow holds all of the LSTM in one matrix (2 * hidden, 4 * hidden) and initializes it as such.
            hidden = module.hidden_size
            limit = (6.0 / (6 * hidden)) ** 0.5
            for weight in (module.weight_ih_l0, module.weight_hh_l0):
                init.uniform_(weight, -limit, limit)
            bias = torch.zeros_like(module.bias_ih_l0)
            bias[hidden : 2 * hidden] = self.config.forget_bias
            init.copy_(module.bias_ih_l0, bias)
            init.zeros_(module.bias_hh_l0)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str,
        *model_args: Any,
        strict: bool = True,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load a checkpoint, and refuse one that does not fit.

        Args:
            pretrained_model_name_or_path: A folder, or the id of a repository on the Hub.
            model_args: As of transformers.
            strict: Whether missing and unexpected weights are errors. If not, missing ones get fresh values, and of
                both it is warned.
            output_loading_info: Whether to return what transformers tells of the loading too.
            kwargs: As of transformers (`revision`, `dtype`, …).

        Returns:
            The model, in evaluation mode.

        Raises:
            RuntimeError: If weights are of another size, or, with `strict`, missing or unexpected.
            ValueError: If settings have no sense, or weights are no finite floating-point numbers.
            OSError: If there is no such checkpoint, or a damaged one.
        """
        place = pretrained_model_name_or_path
        if place is not None:
            kwargs = check_weights(place, DeepSpeechConfig, cls, kwargs)
        with naming(place, "cannot be loaded"), without_report():
            model, info = super().from_pretrained(
                place,
                *model_args,
                output_loading_info=True,
                # Sizes are told below, with all else that is wrong; pickled weights would run whatever code they hold.
                **{**kwargs, "ignore_mismatched_sizes": True, "use_safetensors": True},
            )
        check_values(place, model)
        resized = with_sizes(info["mismatched_keys"])
        unfit = {"missing": set(info["missing_keys"]) - set(resized), "unexpected": set(info["unexpected_keys"])}
        wrong = {"of another size": resized.values()} | (unfit if strict else {})
        found = "; ".join(f"{kind}: {listed(keys)}" for kind, keys in wrong.items() if keys)
        if found:
            raise RuntimeError(
                f"{pretrained_model_name_or_path} does not fit {cls.__name__}, weights {found}. Load it with the "
                "class and configuration that it was saved with; strict=False takes fresh values for missing ones."
            )
        if any(unfit.values()):
            told = "; ".join(f"{kind}: {listed(keys)}" for kind, keys in unfit.items() if keys)
            logger.warning("%s: weights %s; missing ones have fresh values.", place, told)
        return (model, info) if output_loading_info else model

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save as transformers does, weights readable for whom the umask lets read."""
        with writing(save_directory):
            super().save_pretrained(save_directory, **kwargs)


class DeepSpeechModel(DeepSpeechPreTrainedModel):
    """DeepSpeech's six layers: three dense ones, an LSTM, and two dense ones.

    Layers 1, 2, 3 and 5 are `min(relu(x W + b), relu_clip)`; layer 4 is an LSTM without peepholes that starts from
    zeros; layer 6 is linear.

    Args:
        config: The configuration.

    Source: mozilla/DeepSpeech v0.4.1, `DeepSpeech.py`; v0.9.3, `training/deepspeech_training/train.py`.

    Example:
        >>> model = DeepSpeechModel(DeepSpeechConfig(hidden_size=64)).eval()
        >>> output = model(torch.randn(2, 50, 26), output_hidden_states=True)
        >>> output.layer_5.shape, output.last_hidden_state.shape
        (torch.Size([2, 50, 64]), torch.Size([2, 50, 29]))
    """

    def __init__(self, config: DeepSpeechConfig) -> None:
        super().__init__(config)
        hidden = config.hidden_size
        self.layer_1 = nn.Linear(config.window_size, hidden)
        self.layer_2 = nn.Linear(hidden, hidden)
        self.layer_3 = nn.Linear(hidden, hidden)
        self.lstm = DeepSpeechLSTM(hidden, hidden)
        self.layer_5 = nn.Linear(hidden, hidden)
        self.layer_6 = nn.Linear(hidden, config.vocab_size)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        state: DeepSpeechState | None = None,
        final: bool = True,
        last_layer: int = NUM_LAYERS,
        return_state: bool = False,
        output_hidden_states: bool | None = None,
    ) -> DeepSpeechModelOutput | tuple:
        """Compute the layers up to the one asked for.

        Args:
            input_features: Coefficients, (batch, frames, input_size), as `DeepSpeechFeatureExtractor` gives them.
            attention_mask: 1 for real frames and then 0 for padding, (batch, frames); None when all are real.
            state: What an earlier call returned, to go on with its utterance; None at the beginning.
            final: Whether the utterance ends with these features. If not, the last `context_size` frames wait for
                their right context: their outputs come with those of the next part.
            last_layer: Number of the last layer to compute, 1 to 6; 4 is the LSTM.
            return_state: Whether to return the state for the next part.
            output_hidden_states: Whether to keep the output of every layer.

        Returns:
            `last_hidden_state`, `hidden_states` and `state` as `DeepSpeechModelOutput` says (a tuple with
            `return_dict=False`). Where padded, the LSTM's output is 0 and those of the dense layers mean nothing.

        Raises:
            ValueError: If a shape does not fit, or the arguments contradict each other.
        """
        self._check_inputs(input_features, attention_mask, state, final, last_layer)
        config = self.config
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states

        windows, context = self._windows(input_features, attention_mask, state, final)
        x, kept, new_state = windows, [windows], DeepSpeechState()
        for number in range(1, last_layer + 1):
            if number == 4:
                x, new_state = self._recur(x, attention_mask, state, return_state)
            elif number == NUM_LAYERS:
                x = self.layer_6(x)  # (batch, frames, vocab_size)
            else:
                x = getattr(self, f"layer_{number}")(x)  # (batch, frames, hidden_size)
                # One pass over memory; in place, because nothing else needs the product.
                x = F.hardtanh(x, 0.0, config.relu_clip, inplace=True)
                x = F.dropout(x, config.dropout, self.training)
            if output_hidden_states:
                kept.append(x)
        new_state.context = context
        return DeepSpeechModelOutput(
            last_hidden_state=x,
            hidden_states=tuple(kept) if output_hidden_states else None,
            state=new_state if return_state else None,
        )

    def _check_inputs(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None,
        state: DeepSpeechState | None,
        final: bool,
        last_layer: int,
    ) -> None:
        size = self.config.input_size
        if input_features.dim() != 3 or input_features.shape[-1] != size:
            raise ValueError(f"input_features must be (batch, frames, {size}), not {tuple(input_features.shape)}.")
        if last_layer not in range(1, NUM_LAYERS + 1):
            raise ValueError(f"last_layer must be 1, 2, 3, 4 (the LSTM), 5 or 6 (the logits), not {last_layer!r}.")
        parts = () if state is None else (state.hidden, state.cell, state.context)
        if any(part is not None and len(part) != len(input_features) for part in parts):
            raise ValueError(f"The state is of another number of clips than the features, {len(input_features)}.")
        if attention_mask is None:
            return
        if not final or state is not None:
            raise ValueError(
                "A part of an utterance takes no attention_mask; stream clips of equal length, or singly."
            )
        if attention_mask.shape != input_features.shape[:2]:
            raise ValueError(
                f"attention_mask must be (batch, frames) = {tuple(input_features.shape[:2])}, "
                f"not {tuple(attention_mask.shape)}."
            )
        if not torch.compiler.is_compiling() and bool((attention_mask[:, 1:] > attention_mask[:, :-1]).any()):
            raise ValueError("attention_mask has real frames after padding; pad clips at their ends only.")

    def _windows(
        self,
        features: torch.Tensor,
        attention_mask: torch.Tensor | None,
        state: DeepSpeechState | None,
        final: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Surround the frames by their context; return the windows and what the next part needs of the features."""
        reach = self.config.context_size
        features = features.to(self.layer_1.weight.dtype)
        if attention_mask is not None:  # not a product: whatever stands in the padding, NaN included, must vanish
            features = features.masked_fill(~attention_mask.bool().unsqueeze(-1), 0.0)
        # Not its `len`, which torch.export takes for a constant.
        edge = features.new_zeros(features.shape[0], reach, features.shape[-1])
        before = edge if state is None or state.context is None else state.context
        features = torch.cat((before, features, edge) if final else (before, features), dim=1)
        context = None if final else features[:, max(0, features.shape[1] - 2 * reach) :].clone()
        if features.shape[1] < 2 * reach + 1:  # no frame has its whole context yet
            return features.new_zeros(len(features), 0, self.config.window_size), context
        windows = features.unfold(1, 2 * reach + 1, 1)  # (batch, frames, input_size, window), oldest first
        return windows.transpose(2, 3).flatten(2), context  # (batch, frames, window_size)

    def _recur(
        self,
        x: torch.Tensor,
        attention_mask: torch.Tensor | None,
        state: DeepSpeechState | None,
        return_state: bool,
    ) -> tuple[torch.Tensor, DeepSpeechState]:
        """Run the LSTM: (batch, frames, hidden_size) -> the same, and its state after each clip's last frame."""
        state = DeepSpeechState() if state is None else state
        if x.shape[1] == 0:  # torch refuses empty sequences
            return x, DeepSpeechState(state.hidden, state.cell)
        initial = None if state.hidden is None else (state.hidden[None], state.cell[None])  # (1, batch, hidden_size)
        if attention_mask is None:
            x, (hidden, cell) = self.lstm(x, initial)
        elif not return_state:
            # What comes after a clip's end cannot change what comes before it: padding may run along.
            x, (hidden, cell) = self.lstm(x)
            x = x.masked_fill(~attention_mask.bool().unsqueeze(-1), 0.0)
        else:
            lengths = attention_mask.sum(dim=1).cpu()
            if not bool(lengths.all()):
                raise ValueError("A clip of the batch has no real frame in its attention_mask; leave it out.")
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            packed, (hidden, cell) = self.lstm(packed)
            x, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        return x, DeepSpeechState(hidden[0], cell[0])


class DeepSpeechForCTC(DeepSpeechPreTrainedModel):
    """DeepSpeech as a recognizer: its sixth layer's outputs are the logits of CTC, the blank the last of them.

    Args:
        config: The configuration.

    Source: mozilla/DeepSpeech v0.4.1, `DeepSpeech.py`; Graves et al., 2006, for the loss.

    Example:
        >>> model = DeepSpeechForCTC(DeepSpeechConfig(hidden_size=64)).eval()
        >>> labels = torch.tensor([[8, 9, -100], [1, 2, 3]])
        >>> output = model(torch.randn(2, 50, 26), labels=labels)
        >>> output.logits.shape, output.loss.shape
        (torch.Size([2, 50, 29]), torch.Size([]))
    """

    def __init__(self, config: DeepSpeechConfig) -> None:
        super().__init__(config)
        self.deepspeech = DeepSpeechModel(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        state: DeepSpeechState | None = None,
        final: bool = True,
        return_state: bool = False,
        output_hidden_states: bool | None = None,
    ) -> DeepSpeechCTCOutput | tuple:
        """Score the labels of every frame, and compute the loss where transcripts are given.

        Args:
            input_features: Coefficients, (batch, frames, input_size).
            attention_mask: 1 for real frames and then 0 for padding, (batch, frames); None when all are real.
            labels: Indices of the transcripts' labels, (batch, longest), padded with -100.
            state: As of `DeepSpeechModel`.
            final: As of `DeepSpeechModel`.
            return_state: As of `DeepSpeechModel`.
            output_hidden_states: As of `DeepSpeechModel`.

        Returns:
            `loss`, a scalar in nats, with labels; `logits`, (batch, frames, vocab_size); `hidden_states` and `state`
            on demand.

        Raises:
            ValueError: If a shape does not fit, or a label is not one of the alphabet.
        """
        outputs = self.deepspeech(
            input_features,
            attention_mask=attention_mask,
            state=state,
            final=final,
            return_state=return_state,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = outputs.last_hidden_state
        return DeepSpeechCTCOutput(
            loss=None if labels is None else self._loss(logits, attention_mask, labels),
            logits=logits,
            hidden_states=outputs.hidden_states,
            state=outputs.state,
        )

    def _loss(self, logits: torch.Tensor, attention_mask: torch.Tensor | None, labels: torch.Tensor) -> torch.Tensor:
        config = self.config
        if labels.dim() != 2 or len(labels) != len(logits):
            raise ValueError(f"labels must be ({len(logits)}, longest), one row per clip, not {tuple(labels.shape)}.")
        if bool(((labels == config.pad_token_id) | (labels >= config.vocab_size)).any()):
            raise ValueError(
                f"labels must be below vocab_size={config.vocab_size} and not the blank, {config.pad_token_id}; pad "
                "transcripts with -100."
            )
        losses = transcript_losses(logits, attention_mask, labels, config.pad_token_id, config.ctc_zero_infinity)
        if config.ctc_loss_reduction == "sum":
            return losses.sum()
        # An empty transcript counts as one letter: nothing but blanks is to be heard.
        return (losses / (labels >= 0).sum(dim=1).clamp(min=1)).mean()

    def as_pipeline(
        self, feature_extractor: "FeatureExtractionMixin", tokenizer: "PreTrainedTokenizerBase", **kwargs: Any
    ) -> "Pipeline":
        """Return the pipeline around this model.

        Args:
            feature_extractor: The extractor whose coefficients the model was trained on.
            tokenizer: The tokenizer of its alphabet.
            kwargs: As of `DeepSpeechPipeline` (`batch_size`, `device`, …).

        Returns:
            The pipeline that `transformers.pipeline` gives for the saved model.
        """
        # Imported here, and not above, it still makes `save_pretrained` copy the pipeline's file to every checkpoint,
        # which transformers does only for files that the model's own file imports.
        from .pipeline_deepspeech import DeepSpeechPipeline

        return DeepSpeechPipeline(
            model=self.eval(), feature_extractor=feature_extractor, tokenizer=tokenizer, **kwargs
        )


def transcript_losses(
    logits: torch.Tensor,
    attention_mask: torch.Tensor | None,
    labels: torch.Tensor,
    blank: int,
    zero_infinity: bool = False,
) -> torch.Tensor:
    """Compute the CTC loss of each clip's whole transcript, (clips,), in nats; negative labels are padding."""
    real = labels >= 0
    if attention_mask is None:
        frames = torch.full((len(logits),), logits.shape[1], device=logits.device)
    else:
        frames = attention_mask.sum(dim=1)
    log_probabilities = logits.float().log_softmax(dim=-1).transpose(0, 1)  # (frames, clips, vocab_size)
    # cuDNN's implementation takes other arguments and is not deterministic.
    with torch.backends.cudnn.flags(enabled=False):
        return F.ctc_loss(
            log_probabilities,
            labels[real],
            frames,
            real.sum(dim=1),
            blank=blank,
            reduction="none",
            zero_infinity=zero_infinity,
        )


def ctc_losses(
    logits: torch.Tensor,
    attention_mask: torch.Tensor | None,
    labels: torch.Tensor,
    blank: int,
    zero_infinity: bool = False,
) -> torch.Tensor:
    """Compute each clip's CTC loss per letter, (clips,); 0 for clips without letters: `(labels >= 0).any(1)` tells.

    Source: Graves et al., "Connectionist temporal classification", ICML 2006.
    """
    letters = (labels >= 0).sum(dim=1)  # (clips,)
    losses = transcript_losses(logits, attention_mask, labels, blank, zero_infinity)
    return (losses / letters.clamp(min=1)).masked_fill(letters == 0, 0.0)


# Registered where the classes are defined, so that they are saved with their code however they were imported.
DeepSpeechModel.register_for_auto_class("AutoModel")
DeepSpeechForCTC.register_for_auto_class("AutoModelForCTC")
