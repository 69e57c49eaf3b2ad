"""Trainer for DeepSpeech models: CTC loss, SpecAugment, greedy decoding."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import EvalPrediction, PreTrainedTokenizerBase, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput

from feature_extraction import DeepSpeechForCTC
from speech_emotion.evaluation import error_rates

from .ctc_collator import IGNORED, CTCCollator
from .ctc_input_scaling import scaled_input_layer, unscale_inputs
from .ctc_split import TranscribedSplit
from .ctc_transcripts import decode_greedily
from .epoch_table import COMMON_COLUMNS, Column
from .reproducible_trainer import ReproducibleTrainer

INPUT_LAYER = "input_layer.pt"
CTC_COLUMNS = (*COMMON_COLUMNS, Column("eval_cer", "val. CER", "{:8.1%}"), Column("eval_wer", "val. WER", "{:8.1%}"))


class CTCTrainer(ReproducibleTrainer):
    """Trains a recognizer: repeatable, exactly resumable, safe to share from."""

    def __init__(
        self,
        model: DeepSpeechForCTC,
        args: TrainingArguments,
        train_dataset: TranscribedSplit,
        eval_dataset: TranscribedSplit,
        *,
        tokenizer: PreTrainedTokenizerBase,
        **kwargs: Any,
    ) -> None:
        self.tokenizer = tokenizer
        super().__init__(
            model,
            args,
            train_dataset,
            eval_dataset,
            columns=CTC_COLUMNS,
            data_collator=CTCCollator(model.config.input_size),
            compute_metrics=metric_function(tokenizer),
            **kwargs,
        )

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Find every frame's best label and every clip's loss; the scores of all labels need not be gathered."""
        inputs = self._prepare_inputs(inputs)
        mask, labels = inputs["attention_mask"], inputs["labels"]
        with torch.no_grad(), self.compute_loss_context_manager():
            logits = model(input_features=inputs["input_features"], attention_mask=mask).logits
            losses = clip_losses(logits, mask, labels, self.accelerator.unwrap_model(model).config.pad_token_id)
        best = logits.argmax(dim=-1).masked_fill(mask == 0, IGNORED)  # (batch, frames)
        return losses.mean(), (best, losses), labels

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluate, with the loss of each clip counted once."""
        output = super().evaluation_loop(*args, **kwargs)
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics[f"{prefix}_loss"] = float(output.predictions[1].astype(np.float64).mean())
        return output

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        super()._save(output_dir, state_dict)
        self.tokenizer.save_pretrained(output_dir if output_dir is not None else self.args.output_dir)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        layer = scaled_input_layer(self.model)
        if layer is not None and self.args.should_save:
            torch.save(layer.exact_state(), Path(output_dir, INPUT_LAYER))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        layer = scaled_input_layer(self.model)
        if layer is None or checkpoint is None:
            return
        path = Path(checkpoint, INPUT_LAYER)
        if not path.is_file():
            raise FileNotFoundError(f"{checkpoint} cannot be resumed exactly: it has no {INPUT_LAYER}.")
        layer.load_exact_state(torch.load(path, map_location=layer.weight.device, weights_only=True))

    def _load_best_model(self) -> None:
        # Into a plain layer the best checkpoint's weights load to the bit.
        unscale_inputs(self.model)
        super()._load_best_model()


def clip_losses(logits: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor, blank: int) -> torch.Tensor:
    """Compute each clip's CTC loss per letter, whose mean is the model's own loss."""
    real = labels >= 0
    letters = real.sum(dim=1)  # (batch,)
    scores = logits.float().log_softmax(dim=-1).transpose(0, 1)  # (frames, batch, labels)
    frames = attention_mask.sum(dim=1)
    with torch.backends.cudnn.flags(enabled=False):  # as in the model
        losses = F.ctc_loss(scores, labels[real], frames, letters, blank=blank, reduction="none")
    return losses / letters


def metric_function(tokenizer: PreTrainedTokenizerBase) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the function that Trainer calls after an evaluation."""

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        hypotheses = decode_greedily(prediction.predictions[0], tokenizer)
        references = [tokenizer.decode(row[row >= 0].tolist(), group_tokens=False) for row in prediction.label_ids]
        rates = error_rates(references, hypotheses)
        return {"cer": rates.cer, "wer": rates.wer}

    return compute


__all__ = ["CTCTrainer", "clip_losses"]
