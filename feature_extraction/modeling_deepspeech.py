"""Mozilla DeepSpeech's acoustic model in torch, exact to the original, with the outputs of all of its layers.

Dense layers see all frames of a batch as the rows of one matrix; only the recurrence of the LSTM goes step by step.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import FeatureExtractionMixin, Pipeline, PreTrainedModel, PreTrainedTokenizerBase
from transformers import initialization as init
from transformers.utils import ModelOutput, logging

from .configuration_deepspeech import DeepSpeechConfig
from .frontend_deepspeech import context_windows

logger = logging.get_logger(__name__)

NUM_LAYERS = 6
# Where the LSTM goes frame by frame: in small chunks of a stream, and on one thread where the recurrent weights are
# larger than caches, so that torch's own kernel waits for memory as well.
FEW_FRAMES = 8
UNCACHED_UNITS = 2048

LSTMState = tuple[torch.Tensor, torch.Tensor]


@dataclass
class DeepSpeechState:
    """What one part of an utterance hands on to the next."""

    hidden: torch.Tensor | None = None
    cell: torch.Tensor | None = None  # its cell at the last frame, (batch, hidden_size); None before its first
    context: torch.Tensor | None = None


@dataclass
class DeepSpeechModelOutput(ModelOutput):
    """Output of `DeepSpeechModel`."""

    last_hidden_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    state: DeepSpeechState | None = None  # with `return_state`, what the next part of the utterance needs

    @property
    def layer_1(self) -> torch.Tensor:
        """Output of the first dense layer, (batch, frames, hidden_size), in [0, relu_clip]."""
        return self._layer(1)

    @property
    def layer_2(self) -> torch.Tensor:
        """Output of the second dense layer, (batch, frames, hidden_size), in [0, relu_clip]."""
        return self._layer(2)

    @property
    def layer_3(self) -> torch.Tensor:
        """Output of the third dense layer, (batch, frames, hidden_size), in [0, relu_clip]."""
        return self._layer(3)

    @property
    def rnn_output(self) -> torch.Tensor:
        """Output of the LSTM, the fourth layer, (batch, frames, hidden_size), in (-1, 1), 0 where padded."""
        return self._layer(4)

    @property
    def layer_5(self) -> torch.Tensor:
        """Output of the fifth layer, (batch, frames, hidden_size), in [0, relu_clip]: the paper's linguistic cue."""
        return self._layer(5)

    @property
    def layer_6(self) -> torch.Tensor:
        """Output of the sixth layer, the logits, (batch, frames, vocab_size)."""
        return self._layer(6)

    def _layer(self, index: int) -> torch.Tensor:
        if self.hidden_states is None:
            raise ValueError("The layers' outputs were not kept; call the model with output_hidden_states=True.")
        if index >= len(self.hidden_states):
            raise ValueError(f"Layer {index} was not computed; call the model with last_layer={index} or higher.")
        return self.hidden_states[index]


@dataclass
class DeepSpeechCTCOutput(ModelOutput):
    """Output of `DeepSpeechForCTC`."""

    loss: torch.FloatTensor | None = None  # with labels, the CTC loss, a scalar
    logits: torch.FloatTensor | None = None  # scores before the softmax, (batch, frames, vocab_size)
    hidden_states: tuple[torch.FloatTensor, ...] | None = None  # as of `DeepSpeechModelOutput`
    state: DeepSpeechState | None = None  # as of `DeepSpeechModelOutput`


class DeepSpeechLSTM(nn.LSTM):
    """An LSTM of one layer and one direction that reads single clips frame by frame where that is faster.

    >>> lstm = DeepSpeechLSTM(8, 16)
    >>> with torch.no_grad():
    ...     output, (hidden, cell) = lstm(torch.randn(1, 5, 8))
    >>> output.shape, hidden.shape
    (torch.Size([1, 5, 16]), torch.Size([1, 1, 16]))
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def forward(
        self, input: torch.Tensor | nn.utils.rnn.PackedSequence, hx: LSTMState | None = None
    ) -> tuple[torch.Tensor | nn.utils.rnn.PackedSequence, LSTMState]:
        """Run over a batch of sequences."""
        if self._goes_frame_by_frame(input):
            return self._frame_by_frame(input, hx)
        return super().forward(input, hx)

    def _goes_frame_by_frame(self, input: torch.Tensor | nn.utils.rnn.PackedSequence) -> bool:
        if torch.compiler.is_compiling() or torch.is_grad_enabled() or not isinstance(input, torch.Tensor):
            return False
        if input.dim() != 3 or len(input) != 1 or input.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return False
        large = self.hidden_size >= UNCACHED_UNITS and torch.get_num_threads() == 1
        return large or input.shape[1] <= FEW_FRAMES

    def _frame_by_frame(self, input: torch.Tensor, hx: LSTMState | None) -> tuple[torch.Tensor, LSTMState]:
        hidden, cell = (input.new_zeros(self.hidden_size),) * 2 if hx is None else (part[0, 0] for part in hx)
        cell = cell.clone()
        # What does not depend on the frame before is one product for all frames: (frames, 4 * hidden_size).
        given = F.linear(input[0], self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        output = input.new_empty(len(given), self.hidden_size)
        for row, result in zip(given, output, strict=True):
            gates = torch.addmv(row, self.weight_hh_l0, hidden)
            in_gate, forget_gate, proposal, out_gate = gates.chunk(4)  # (hidden_size,) each
            gates[: 2 * self.hidden_size].sigmoid_()
            cell.mul_(forget_gate).addcmul_(in_gate, proposal.tanh_())
            hidden = torch.mul(out_gate.sigmoid_(), cell.tanh(), out=result)
        return output[None], (hidden.clone()[None, None], cell[None, None])


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

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     DeepSpeechForCTC(DeepSpeechConfig(hidden_size=16)).save_pretrained(folder)
        ...     model = DeepSpeechModel.from_pretrained(folder)
        >>> model.config.hidden_size
        16
        """
        model, info = super().from_pretrained(
            pretrained_model_name_or_path,
            *model_args,
            output_loading_info=True,
            **{**kwargs, "use_safetensors": True},  # pickled weights would run whatever code they hold
        )
        mismatched = sorted(key if isinstance(key, str) else key[0] for key in info["mismatched_keys"])
        problems = {"of another size": mismatched}
        if strict:
            problems["missing"] = sorted(set(info["missing_keys"]) - set(mismatched))
            problems["unexpected"] = sorted(info["unexpected_keys"])
        found = [f"{kind}: {', '.join(keys)}" for kind, keys in problems.items() if keys]
        if found:
            raise RuntimeError(
                f"The checkpoint {str(pretrained_model_name_or_path)!r} does not fit {cls.__name__}. Weights "
                + "; ".join(found)
                + ". Load it with the class and configuration that it was saved with"
                + (", or pass strict=False to take fresh values for what is missing." if strict else ".")
            )
        if not strict and (info["missing_keys"] or info["unexpected_keys"]):
            logger.warning(
                "strict=False: fresh values for %s; ignored %s.",
                sorted(info["missing_keys"]) or "nothing",
                sorted(info["unexpected_keys"]) or "nothing",
            )
        return (model, info) if output_loading_info else model


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

    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        state: DeepSpeechState | None = None,
        final: bool = True,
        last_layer: int = NUM_LAYERS,
        return_state: bool = False,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
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
            return_dict: Whether to return an output object (the default) or a tuple.

        Returns:
            `last_hidden_state`, `hidden_states` and `state` as `DeepSpeechModelOutput` says. Where padded, the LSTM's
            output is 0 and those of the dense layers mean nothing.

        Raises:
            ValueError: If a shape does not fit, or the arguments contradict each other.
        """
        self._check_inputs(input_features, attention_mask, state, final, last_layer)
        config = self.config
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        return_dict = config.return_dict if return_dict is None else return_dict

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
        output = DeepSpeechModelOutput(
            last_hidden_state=x,
            hidden_states=tuple(kept) if output_hidden_states else None,
            state=new_state if return_state else None,
        )
        return output if return_dict else output.to_tuple()

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
        edge = features.new_zeros(len(features), reach, features.shape[-1])
        before = edge if state is None or state.context is None else state.context
        features = torch.cat((before, features, edge) if final else (before, features), dim=1)
        context = None if final else features[:, max(0, features.shape[1] - 2 * reach) :].clone()
        if features.shape[1] < 2 * reach + 1:  # no frame has its whole context yet
            return features.new_zeros(len(features), 0, self.config.window_size), context
        return context_windows(features, reach), context

    def _recur(
        self,
        x: torch.Tensor,
        attention_mask: torch.Tensor | None,
        state: DeepSpeechState | None,
        return_state: bool,
    ) -> tuple[torch.Tensor, DeepSpeechState]:
        """Run the LSTM: (batch, frames, hidden_size) -> the same, and its state after each clip's last frame."""
        initial = None
        if state is not None and state.hidden is not None:
            initial = (state.hidden[None], state.cell[None])  # (1, batch, hidden_size) each
        if x.shape[1] == 0:  # torch refuses empty sequences
            return x, DeepSpeechState() if initial is None else DeepSpeechState(state.hidden, state.cell)
        if attention_mask is None or not return_state:
            # What comes after a clip's end cannot change what comes before it: padding may run along.
            x, (hidden, cell) = self.lstm(x, initial)
            if attention_mask is not None:
                x = x.masked_fill(~attention_mask.bool().unsqueeze(-1), 0.0)
        else:
            x, (hidden, cell) = self._recur_packed(x, attention_mask)
        return x, DeepSpeechState(hidden[0], cell[0])

    def _recur_packed(
        self, x: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Run the LSTM over clips of unequal length such that each one's state is that of its own last frame."""
        lengths = attention_mask.sum(dim=1).cpu()
        if not bool(lengths.all()):
            raise ValueError("A clip of the batch has no real frame in its attention_mask; leave it out.")
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed, states = self.lstm(packed)
        x, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        return x, states


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

    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        state: DeepSpeechState | None = None,
        final: bool = True,
        return_state: bool = False,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
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
            return_dict: Whether to return an output object (the default) or a tuple.

        Returns:
            `loss`, a scalar in nats, with labels; `logits`, (batch, frames, vocab_size); `hidden_states` and `state`
            on demand.

        Raises:
            ValueError: If a shape does not fit, or a label is not one of the alphabet.
        """
        return_dict = self.config.return_dict if return_dict is None else return_dict
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
        output = DeepSpeechCTCOutput(
            loss=None if labels is None else self._loss(logits, attention_mask, labels),
            logits=logits,
            hidden_states=outputs.hidden_states,
            state=outputs.state,
        )
        return output if return_dict else output.to_tuple()

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
        self, feature_extractor: FeatureExtractionMixin, tokenizer: PreTrainedTokenizerBase, **kwargs: Any
    ) -> Pipeline:
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

    >>> logits, labels = torch.zeros(2, 5, 3), torch.tensor([[0, 1], [-100, -100]])
    >>> ctc_losses(logits, None, labels, blank=2)
    tensor([0.9689, 0.0000])
    """
    letters = (labels >= 0).sum(dim=1)  # (clips,)
    losses = transcript_losses(logits, attention_mask, labels, blank, zero_infinity)
    return (losses / letters.clamp(min=1)).masked_fill(letters == 0, 0.0)


# Registered where the classes are defined, so that they are saved with their code however they were imported.
DeepSpeechModel.register_for_auto_class("AutoModel")
DeepSpeechForCTC.register_for_auto_class("AutoModelForCTC")
