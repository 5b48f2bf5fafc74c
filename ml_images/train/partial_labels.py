"""Labels that were asked for some classes only: classes that nobody asked for are negatives, but for the doubtful ones.

The two plain ways need no loss of their own: unlisted classes taken for absent, or for unknown. Which is better depends
on how much was annotated: on Open Images, where little was, "absent" wins; where half was, "unknown" does.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ml_images.options import option
from ml_images.train.cell_losses import (
    AsymmetricConfig,
    asymmetric,
    check_not_negative,
    mean_over_images,
    shifted_negative,
    shown,
)
from ml_images.train.targets import Targets


@dataclass(frozen=True)
class SelectiveConfig:
    gamma: float = option(2.0, "how much less a cell without an annotation weighs that is small already")
    weight: float = option(1.0, "factor of cells without an annotation")
    top_k: int = option(5, "cells without an annotation, the likeliest of each image, that are left out")
    prior_max: float = option(0.05, "more frequent classes are left out where they are not annotated")

    def __post_init__(self) -> None:
        check_not_negative("loss.selective", gamma=self.gamma, weight=self.weight)
        if self.top_k < 0:
            raise ValueError(f"loss.selective.top_k must be >= 0, got {self.top_k}")
        if not 0 <= self.prior_max <= 1:
            raise ValueError(f"loss.selective.prior_max must be in [0, 1], got {self.prior_max}")


class SelectiveLoss(nn.Module):
    """Partial asymmetric loss with class-aware selection (Ben-Baruch et al. 2022, arXiv 2110.10955, equations 3 to 8).

    Known cells have the asymmetric loss. Unknown cells of rows that count are negatives with a gamma of their own,
    except those of classes with a prior above `prior_max` and the `top_k` likeliest of each image. The authors' code
    picks the likeliest of a whole batch; of each image, as in the paper, it does not depend on the number of ranks.
    """

    frequent: Tensor

    def __init__(self, config: SelectiveConfig, annotated: AsymmetricConfig, prior: Tensor) -> None:
        """`prior` (classes,): probability of each class, in all images, annotated or not."""
        super().__init__()
        self._config, self._annotated = config, annotated
        self.register_buffer("frequent", prior > config.prior_max, persistent=False)

    def forward(self, logits: Tensor, targets: Targets) -> Tensor:
        """`logits` (batch, classes) -> the mean over images of the sum over known and selected cells."""
        config, known = self._config, targets.known
        selected = self._selected(logits.detach(), targets)
        x = shown(logits, known | selected)
        untold = config.weight * shifted_negative(x, config.gamma, self._annotated.margin)
        cells = torch.where(known, asymmetric(x, targets.values, self._annotated), untold)
        return mean_over_images(cells, known | selected)

    def _selected(self, logits: Tensor, targets: Targets) -> Tensor:
        """The unknown cells that are taken for negatives: bool (batch, classes)."""
        unknown = ~targets.known & targets.rows.unsqueeze(1)
        count = min(self._config.top_k, logits.shape[1])
        likeliest = logits.masked_fill(~unknown, -torch.inf).topk(count, dim=1).indices
        return (unknown & ~self.frequent).scatter(1, likeliest, False)
