"""Softmax cross-entropy, for data in which an image is of one class."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ml_images.options import option
from ml_images.train.targets import Targets

_HIDDEN = -1e30  # exp(_HIDDEN) is 0; infinity would make rows without a known cell NaN


@dataclass(frozen=True)
class SoftmaxConfig:
    label_smoothing: float = option(0.0, "share of the target that is spread over all classes alike")

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"loss.softmax.label_smoothing must be in [0, 1), got {self.label_smoothing}")


class SoftmaxLoss(nn.Module):
    """Cross-entropy between softmax and the confidences of an image, made to add up to 1: one class, or k classes of
    1/k each. Smoothed as in Szegedy et al. 2016 (arXiv 1512.00567, section 7).

    Unknown cells take no part. Images without a positive add nothing; as elsewhere the mean is over the whole batch.
    """

    def __init__(self, config: SoftmaxConfig) -> None:
        super().__init__()
        self._smoothing = config.label_smoothing

    def forward(self, logits: Tensor, targets: Targets) -> Tensor:
        """`logits` (batch, classes) -> the mean over images."""
        known = targets.known
        x = logits.to(torch.promote_types(logits.dtype, torch.float32)).masked_fill(~known, _HIDDEN)
        sums = targets.values.sum(dim=1, keepdim=True)
        wanted = targets.values / sums.clamp(min=torch.finfo(torch.float32).tiny)
        even = known / known.sum(dim=1, keepdim=True).clamp(min=1)
        wanted = ((1 - self._smoothing) * wanted + self._smoothing * even) * (sums > 0)
        return -(wanted * x.log_softmax(dim=1)).sum(dim=1).mean()
