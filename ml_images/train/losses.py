"""Losses for targets that are confidences: 1 present, 0 absent, between the two unsure, UNKNOWN not told."""

import torch
from torch import Tensor
from torch.nn import functional

from ml_images.schemas import UNKNOWN


def multilabel_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid cross-entropy with soft targets: sum over classes, mean over images (the convention of ML-Images).

    `logits` and `targets` are (batch, classes), targets in [0, 1] or UNKNOWN. Unknown cells add nothing and get no
    gradient; they still count as part of their image in the mean.
    """
    known = targets != UNKNOWN
    cells = functional.binary_cross_entropy_with_logits(logits, targets.clamp(min=0), reduction="none")
    return torch.where(known, cells, 0).sum(dim=1).mean()
