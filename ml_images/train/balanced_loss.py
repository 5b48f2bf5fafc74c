"""Distribution-balanced loss: for classes of very different frequency in images that have several of them.

Wu et al. 2020 (arXiv 2007.09654), with the focusing of its section 3.4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ml_images.options import option
from ml_images.train.cell_losses import check_not_negative, mean_over_images, shown
from ml_images.train.known_labels import POSITIVE
from ml_images.train.label_counts import LabelCounts
from ml_images.train.targets import Targets


@dataclass(frozen=True)
class BalancedConfig:
    alpha: float = option(0.1, "least weight of a cell; the largest is 1 more")
    beta: float = option(10.0, "how sharply weights rise with the rareness of a class within its image")
    mu: float = option(0.2, "rareness at which half of the rise is done")
    bias_share: float = option(0.05, "share of each class's prior logit that its outputs are shifted by")
    negative_scale: float = option(2.0, "how much faster negatives that are small already lose their weight")
    gamma: float = option(2.0, "focusing as in the focal loss; 0: none")

    def __post_init__(self) -> None:
        section = "loss.distribution_balanced"
        check_not_negative(section, alpha=self.alpha, beta=self.beta, mu=self.mu, bias_share=self.bias_share)
        check_not_negative(section, gamma=self.gamma)
        if not 0 < self.negative_scale < float("inf"):
            raise ValueError(f"{section}.negative_scale must be > 0 and finite, got {self.negative_scale}")


class BalancedLoss(nn.Module):
    """Cross-entropy, each cell weighted by how rare its class is beside the positives of its image.

    Outputs are shifted by a share of the classes' prior logits, in the loss only; negatives have the gentler
    log(1 + exp(s x)) / s. Confidences of at least 0.5 count as positives of the image, all are soft targets.
    """

    rareness: Tensor
    shift: Tensor

    def __init__(self, config: BalancedConfig, counts: LabelCounts) -> None:
        super().__init__()
        self._config = config
        rareness = 1 / counts.positives.double().clamp(min=1)
        self.register_buffer("rareness", rareness.float(), persistent=False)
        shift = config.bias_share * torch.logit(counts.prior())
        self.register_buffer("shift", shift.float(), persistent=False)

    def weights(self, targets: Targets) -> Tensor:
        """float32 (batch, classes): alpha + sigmoid(beta (r - mu)), r the class's share of the rareness that the
        positives of its image have together; alpha + 1 in images without a positive."""
        positive = targets.known & (targets.values >= POSITIVE)
        of_image = (self.rareness * positive).sum(dim=1, keepdim=True)
        return self._config.alpha + torch.sigmoid(self._config.beta * (self.rareness / of_image - self._config.mu))

    def forward(self, logits: Tensor, targets: Targets) -> Tensor:
        """`logits` (batch, classes) -> the mean over images of the weighted sum over known cells."""
        config, y = self._config, targets.values
        x = shown(logits, targets.known) + self.shift
        scaled = config.negative_scale * x
        positive = -torch.exp(config.gamma * logsigmoid(-x)) * logsigmoid(x)
        negative = -torch.exp(config.gamma * logsigmoid(scaled)) * logsigmoid(-scaled) / config.negative_scale
        cells = self.weights(targets) * (y * positive + (1 - y) * negative)
        return mean_over_images(cells, targets.known)
