"""How often each class is there, and the output layer that starts by predicting just that."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class LabelCounts(NamedTuple):
    """Positives of each class among a number of images.

    Expected counts will do: where annotations are partial, the summed probabilities of a model that was trained with
    unlisted classes ignored tell more than the annotations (Ben-Baruch et al. 2022, arXiv 2110.10955, section 3.2).
    """

    positives: Tensor  # (classes,)
    images: int

    def prior(self) -> Tensor:
        """The probability of each class, float64 (classes,), at least half an image away from 0 and 1."""
        return self.positives.double().clamp(0.5, self.images - 0.5) / self.images


def start_from_prior(model: nn.Module, counts: LabelCounts) -> None:
    """Set the biases of the output layer, the last Linear of `model`, to log(pi / (1 - pi)).

    A network whose outputs start at 0 predicts every class for every second image, and unlearns that first: Lin et al.
    2017 (arXiv 1708.02002), section 3.3, there with one pi for all classes.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not layers or layers[-1].bias is None or layers[-1].out_features != len(counts.positives):
        raise ValueError(f"the network has no last linear layer with {len(counts.positives)} biases")
    with torch.no_grad():
        layers[-1].bias.copy_(torch.logit(counts.prior()))
