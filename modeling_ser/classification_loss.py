"""The losses that a model is trained with, of classes and of values, and the average of several answers."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from .configuration_ser import SERConfig
from .frame_layers import sum_over_processes

IGNORED = -100  # as throughout transformers: a label that does not count


def classification_loss(
    logits: torch.Tensor, labels: torch.Tensor, config: SERConfig, class_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the loss of the kind of problem that the configuration names.

    With `class_mask`, (batch, num_labels), a clip is compared with the labels that are true in its row only: those
    that whoever labeled it chose among. Labels may also be shares, (batch, num_labels), that sum to 1: of the raters
    who heard each emotion in a clip.

    >>> logits, labels = torch.zeros(2, 4), torch.tensor([0, 3])
    >>> classification_loss(logits, labels, SERConfig(num_labels=4))  # ln 4
    tensor(1.3863)
    >>> classification_loss(logits, labels, SERConfig(num_labels=4, loss="focal"))  # (1 - 1/4)² ln 4
    tensor(0.7798)
    """
    if config.problem_type in ("regression", "multi_label_classification"):
        config.check_ranges()
        return _loss_of_values(logits, labels, config)
    if config.loss == "ccc":
        config.check_ranges()  # which says what is missing
    if labels.shape == logits.shape and labels.is_floating_point():
        return _loss_of_shares(logits, labels, config, class_mask)
    if labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"labels must be (batch,) = ({len(logits)},) integers, the index of each clip's emotion, or shares "
            f"{tuple(logits.shape)}, not {tuple(labels.shape)} of {labels.dtype}; for several at once, or for values, "
            "set config.problem_type."
        )
    counted = labels != IGNORED  # (batch,)
    weight = _class_weights(logits, config)
    if class_mask is not None:
        logits = _among(logits, labels, counted, class_mask)
    if config.loss == "focal":
        config.check_ranges()  # a field may have been set since the configuration was made
        losses = focal_losses(logits, labels.where(counted, 0), config.focal_gamma, weight)
        total = losses.where(counted, 0.0).sum()
    elif class_mask is not None and config.label_smoothing:  # spread over the labels that a clip could have
        target = F.one_hot(labels.where(counted, 0), logits.shape[-1]) * (1 - config.label_smoothing)
        target = target + class_mask * (config.label_smoothing / class_mask.sum(dim=-1, keepdim=True))
        total = F.cross_entropy(logits, target * counted.unsqueeze(-1), weight=weight, reduction="sum")
    else:
        total = F.cross_entropy(logits, labels, weight=weight, label_smoothing=config.label_smoothing, reduction="sum")
    return total / counted.sum()


def _class_weights(logits: torch.Tensor, config: SERConfig) -> torch.Tensor | None:
    if config.class_weights is None:
        return None
    if len(config.class_weights) != logits.shape[-1]:
        raise ValueError(
            f"config.class_weights has {len(config.class_weights)} values for {logits.shape[-1]} labels; "
            "set it anew, or to None."
        )
    return logits.new_tensor(config.class_weights)


def _loss_of_shares(
    logits: torch.Tensor, shares: torch.Tensor, config: SERConfig, class_mask: torch.Tensor | None
) -> torch.Tensor:
    """Return the mean of Σ_k p_k (-log q_k), p being the raters' shares and q the model's posterior."""
    if config.loss == "focal" or class_mask is not None:
        raise ValueError("Shares of raters go with the loss 'cross_entropy', and with no class_mask.")
    if not bool(((shares.sum(dim=-1) - 1).abs() < 1e-3).all() and (shares >= 0).all()):
        raise ValueError("The shares of a clip must not be negative, and sum to 1.")
    weight, smoothing = _class_weights(logits, config), config.label_smoothing
    total = F.cross_entropy(logits, shares.to(logits.dtype), weight=weight, label_smoothing=smoothing, reduction="sum")
    return total / len(logits)


def log_mean_posterior(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return log p of the average posterior p = Σ_k softmax(z_k) / K, (batch, num_labels), float32 at least.

    >>> certain, undecided = torch.tensor([[200.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    >>> log_mean_posterior([certain, undecided]).exp()
    tensor([[0.7500, 0.2500]])
    """
    stacked = torch.stack(list(logits))  # (answers, batch, num_labels)
    wide = stacked.to(torch.promote_types(stacked.dtype, torch.float32))
    return wide.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(logits))  # (batch, num_labels)


def average_answers(logits: Sequence[torch.Tensor], config: SERConfig) -> torch.Tensor:
    """Return what several classifiers say together, (batch, num_labels): of values the mean, else as above."""
    return torch.stack(list(logits)).mean(dim=0) if config.problem_type == "regression" else log_mean_posterior(logits)


def _among(
    logits: torch.Tensor, labels: torch.Tensor, counted: torch.Tensor, class_mask: torch.Tensor
) -> torch.Tensor:
    """Give the labels that a clip could not have no weight, (batch, num_labels)."""
    if class_mask.shape != logits.shape or class_mask.dtype != torch.bool:
        raise ValueError(
            f"class_mask must be (batch, num_labels) = {tuple(logits.shape)} of torch.bool, not "
            f"{tuple(class_mask.shape)} of {class_mask.dtype}."
        )
    possible = class_mask.gather(-1, labels.where(counted, 0).unsqueeze(-1)).squeeze(-1)  # (batch,)
    if not bool((possible | ~counted).all()):
        raise ValueError("class_mask rules out the label of a clip; it must be true there.")
    return logits.masked_fill(~class_mask, torch.finfo(logits.dtype).min / 2)


def _loss_of_values(logits: torch.Tensor, labels: torch.Tensor, config: SERConfig) -> torch.Tensor:
    if labels.shape == logits.shape[:1] and logits.shape[-1] == 1:
        labels = labels.unsqueeze(-1)  # (batch, 1)
    if labels.shape != logits.shape:
        raise ValueError(
            f"labels must be (batch, num_labels) = {tuple(logits.shape)} for problem_type {config.problem_type!r}, "
            f"not {tuple(labels.shape)}."
        )
    if config.loss == "ccc":
        return 1 - concordance(logits, labels).mean()
    loss = F.mse_loss if config.problem_type == "regression" else F.binary_cross_entropy_with_logits
    return loss(logits, labels.to(logits.dtype))


def concordance(values: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the concordance correlation of each column, 2 cov(x, y) / (var x + var y + (mean x - mean y)²).

    Where several processes train, it is that of all their clips together.

    Source: Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45, 1989.

    >>> truth = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    >>> concordance(truth + torch.tensor([0.0, 1.0]), truth)
    tensor([1.0000, 0.5714])
    """
    wide = torch.promote_types(values.dtype, torch.float32)
    both = torch.stack([values.to(wide), truth.to(wide)])  # (2, batch, columns)
    clips = _joined(both.new_tensor(float(both.shape[1])))
    means = _joined(both.sum(dim=1)) / clips  # (2, columns)
    # Moments about the means do not change with these: over all clips deviations sum to 0, within a process not.
    x, y = both - means.detach().unsqueeze(1)  # each (batch, columns)
    moments = _joined(torch.stack([(x * x).sum(dim=0), (y * y).sum(dim=0), (x * y).sum(dim=0)])) / clips
    var_x, var_y, covariance = moments  # each (columns,)
    bias = (means[0] - means[1]).square()
    return 2 * covariance / (var_x + var_y + bias).clamp(min=torch.finfo(wide).tiny)


def _joined(x: torch.Tensor) -> torch.Tensor:
    """Sum over training processes, of whose gradients of the same loss the mean is taken afterwards."""
    if not x.requires_grad:
        return sum_over_processes(x)
    total = sum_over_processes(x.detach())
    processes = sum_over_processes(torch.ones_like(total))
    return total + processes * (x - x.detach())


def focal_losses(
    logits: torch.Tensor, labels: torch.Tensor, gamma: float, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Return each clip's focal loss w_y (1 - p_t)^γ (-log p_t), p_t being the probability of its true class.

    Source: Lin, Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", ICCV 2017, equation 5.

    >>> focal_losses(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), gamma=1.0)  # 1/2 ln 2
    tensor([0.3466])
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_true = wide.log_softmax(dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)  # (batch,)
    rest = (-torch.expm1(log_true)).clamp(min=torch.finfo(log_true.dtype).tiny)  # (batch,), 1 - p_t
    losses = rest.pow(gamma) * -log_true
    return losses if weight is None else losses * weight.to(losses.dtype)[labels]
