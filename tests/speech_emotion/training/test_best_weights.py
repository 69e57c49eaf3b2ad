"""The best epoch's weights, kept in memory."""

import pytest
from torch import nn
from transformers import TrainerControl

from speech_emotion.training.callbacks import BestWeights
from speech_emotion.training.training_arguments import SERTrainingArguments


def test_best_weights_choose_as_trainer_does() -> None:
    model = nn.Linear(1, 1, bias=False)
    best, control = BestWeights(model, "ua", patience=2), TrainerControl()
    stopped = []
    for epoch, ua in enumerate([0.2, 0.5, 0.5, 0.4], start=1):
        nn.init.constant_(model.weight, epoch)
        best.on_evaluate(None, None, control, metrics={"eval_ua": ua})
        stopped.append(control.should_training_stop)
    assert stopped == [False, False, False, True]  # the second 0.5 is no better; two evaluations without a better one
    best.restore()
    assert model.weight.item() == 2 and (best.best_epoch, best.epochs) == (2, 4)
    with pytest.raises(RuntimeError, match="at least one epoch"):
        BestWeights(model, "ua").restore()


@pytest.mark.parametrize("metric", ["loss", "eval_loss"])
def test_the_best_epoch_by_loss_has_the_least(metric: str) -> None:
    arguments = SERTrainingArguments(metric_for_best_model=metric, use_cpu=True)
    assert arguments.greater_is_better is False and SERTrainingArguments(use_cpu=True).greater_is_better is True
    best = BestWeights(nn.Linear(1, 1), metric, greater_is_better=arguments.greater_is_better)
    for loss in (1.2, 0.8, 0.9):
        best.on_evaluate(None, None, TrainerControl(), metrics={"eval_loss": loss})
    assert (best.best_epoch, best.best) == (2, 0.8)
