"""Two-way loss: in each image the positive classes above the others, for each class its images above the others.

Kobayashi 2023 ("Two-way multi-label loss", CVPR). Scores come out well ordered, not calibrated: thresholds have to be
fitted. The half over classes looks at a whole batch, so ranks tell each other what theirs adds up to: N ranks with
B / N images have the loss, and the gradients, of one with B.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ml_images.options import option
from ml_images.train.cell_losses import shown
from ml_images.train.comm import Comm
from ml_images.train.known_labels import POSITIVE
from ml_images.train.targets import Targets

_NOTHING = -1e30  # the logarithm of an empty sum; infinity would make the gradients NaN


@dataclass(frozen=True)
class TwoWayConfig:
    positive_temperature: float = option(4.0, "of positives: the higher, the more all of them count, not the worst one")
    negative_temperature: float = option(1.0, "of negatives")

    def __post_init__(self) -> None:
        for name in ("positive_temperature", "negative_temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"loss.two_way.{name} must be > 0 and finite, got {getattr(self, name)}")


class TwoWayLoss(nn.Module):
    """softplus(T_n log sum exp(x_n / T_n) + T_p log sum exp(-x_p / T_p)), over the negatives n and positives p of each
    image and of each class: the mean over images with a positive plus the mean over classes with one.

    Confidences of at least 0.5 are positive; unknown cells are neither. A call waits for the other ranks.
    """

    def __init__(self, config: TwoWayConfig, comm: Comm) -> None:
        super().__init__()
        self._config, self._comm = config, comm

    def forward(self, logits: Tensor, targets: Targets) -> Tensor:
        """`logits` (batch, classes) -> this rank's loss; its mean over ranks is that of the whole batch."""
        size, rank = self._comm.size, self._comm.rank
        x = shown(logits, targets.known)
        positive = targets.known & (targets.values >= POSITIVE)
        negative = targets.known & ~positive
        positives, negatives = self._log_sums(x, positive, negative, dim=1)
        images = softplus(positives + negatives)

        mine = torch.cat([*self._log_sums(x, positive, negative, dim=0), positive.any(dim=1).sum().to(x.dtype).view(1)])
        told = self._comm.gather(mine.detach().view(1, -1), "loss.two_way")
        ranks = torch.cat([told[:rank], mine.view(1, -1), told[rank + 1 :]])
        positives, negatives, counts = ranks.split([logits.shape[1], logits.shape[1], 1], dim=1)
        positives, negatives = self._join(positives, negatives)
        # Images and classes without a positive are 0 already: softplus of _NOTHING.
        of_images = images.sum() * size / counts.sum().clamp(min=1)
        with_image = (positives > _NOTHING / 2).sum()
        of_classes = softplus(positives + negatives).sum() / with_image.clamp(min=1)
        # Each rank has the whole of it but the gradient of its own images only, and gradients will be averaged.
        return of_images + of_classes + (size - 1) * (of_classes - of_classes.detach())

    def _log_sums(self, x: Tensor, positive: Tensor, negative: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """T log sum exp of the positives (of -x) and the negatives along `dim`."""
        t_p, t_n = self._config.positive_temperature, self._config.negative_temperature
        positives = (-x / t_p).masked_fill(~positive, _NOTHING).logsumexp(dim)
        negatives = (x / t_n).masked_fill(~negative, _NOTHING).logsumexp(dim)
        return t_p * positives, t_n * negatives

    def _join(self, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """The same of all ranks' together: (ranks, classes) -> (classes,) each."""
        t_p, t_n = self._config.positive_temperature, self._config.negative_temperature
        return t_p * (positives / t_p).logsumexp(0), t_n * (negatives / t_n).logsumexp(0)
