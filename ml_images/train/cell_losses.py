"""Losses that are a sum of independent cells: BCE, focal, asymmetric. One convention for all: sum over classes, mean
over images, as ML-Images has it.

The mean divides by all rows of the batch, also by those that do not count: only so is the mean over ranks of equal
batches the mean over the whole batch. Confidences are soft targets: a cell of confidence y is y times its loss as a
positive plus 1 - y times its loss as a negative.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from ml_images.options import option
from ml_images.train.targets import Targets

Cells = Callable[[Tensor, Tensor], Tensor]  # logits, confidences -> losses, all (batch, classes)


@dataclass(frozen=True)
class FocalConfig:
    gamma: float = option(2.0, "how much less a cell weighs that is right already; 0: sigmoid cross-entropy")
    alpha: float | None = option(0.25, "weight of positives, 1 - alpha that of negatives; null: both 1")

    def __post_init__(self) -> None:
        check_not_negative("loss.focal", gamma=self.gamma)
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise ValueError(f"loss.focal.alpha must be in (0, 1) or null, got {self.alpha}")


@dataclass(frozen=True)
class AsymmetricConfig:
    gamma_positive: float = option(0.0, "how much less a positive weighs that is right already")
    gamma_negative: float = option(4.0, "how much less a negative weighs that is right already")
    margin: float = option(0.05, "negatives with a smaller probability count for nothing")

    def __post_init__(self) -> None:
        check_not_negative("loss.asymmetric", gamma_positive=self.gamma_positive, gamma_negative=self.gamma_negative)
        if not 0 <= self.margin < 1:
            raise ValueError(f"loss.asymmetric.margin must be in [0, 1), got {self.margin}")


def check_not_negative(section: str, **values: float) -> None:
    """Raise ValueError for the first of `values` that is negative or no finite number."""
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{section}.{name} must be >= 0 and finite, got {value}")


def bce(logits: Tensor, values: Tensor) -> Tensor:
    """Sigmoid cross-entropy of each cell."""
    return binary_cross_entropy_with_logits(logits, values, reduction="none")


def focal(logits: Tensor, values: Tensor, gamma: float, alpha: float | None) -> Tensor:
    """-a_t (1 - p_t)^gamma log p_t of each cell (Lin et al. 2017, arXiv 1708.02002, equation 5)."""
    log_p, log_not_p = logsigmoid(logits), logsigmoid(-logits)
    positive = -torch.exp(gamma * log_not_p) * log_p
    negative = -torch.exp(gamma * log_p) * log_not_p
    if alpha is not None:
        positive, negative = alpha * positive, (1 - alpha) * negative
    return values * positive + (1 - values) * negative


def asymmetric(logits: Tensor, values: Tensor, config: AsymmetricConfig) -> Tensor:
    """(1 - p)^gamma+ log p for positives, `shifted_negative` for negatives: ASL (Ridnik et al. 2021, arXiv 2009.14119,
    equations 4 to 7). The gradient goes through the focusing factors, too, as in the paper's section 3.3."""
    positive = -torch.exp(config.gamma_positive * logsigmoid(-logits)) * logsigmoid(logits)
    return values * positive + (1 - values) * shifted_negative(logits, config.gamma_negative, config.margin)


def shifted_negative(logits: Tensor, gamma: float, margin: float) -> Tensor:
    """-p_m^gamma log(1 - p_m) with p_m = max(p - margin, 0): exactly 0, as is its gradient, for p <= margin."""
    shift = torch.full_like(logits, math.log(margin) if margin else -math.inf)
    log_not_p = torch.logaddexp(logsigmoid(-logits), shift)  # log(1 - p + margin), also where p is 1
    p = torch.sigmoid(logits) - margin
    # Beside 1 where p_m is 0: there 0 ** gamma would have an infinite derivative for gamma < 1.
    return -(torch.where(p > 0, p, 1.0) ** gamma) * torch.where(p > 0, log_not_p, 0.0)


class CellwiseLoss(nn.Module):
    """The mean over images of a sum over known cells, each with a loss of its own."""

    def __init__(self, cells: Cells) -> None:
        super().__init__()
        self._cells = cells

    def forward(self, logits: Tensor, targets: Targets) -> Tensor:
        """`logits` (batch, classes) of any float type -> the loss, a scalar of at least float32."""
        return mean_over_images(self._cells(shown(logits, targets.known), targets.values), targets.known)


def shown(logits: Tensor, cells: Tensor) -> Tensor:
    """`logits` as float32 or better, 0 in all but `cells`: what is hidden gets no gradient, were it infinite or NaN."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).masked_fill(~cells, 0.0)


def mean_over_images(losses: Tensor, cells: Tensor) -> Tensor:
    """The sum of `losses` (batch, classes) over `cells`, divided by the size of the batch."""
    return losses.masked_fill(~cells, 0.0).sum(dim=1).mean()
