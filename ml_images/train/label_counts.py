"""How often each class is there, and the output layer that starts by predicting just that."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ml_images.train.calibration import Activation
from ml_images.train.heads import head_of


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


def start_from_prior(model: nn.Module, counts: LabelCounts, activation: Activation = "sigmoid") -> None:
    """Set the biases of the head of `model` so that it predicts each class with its probability pi: to
    log(pi / (1 - pi)), and to log pi where the outputs go through a softmax.

    A network whose outputs start at 0 predicts every class for every second image, and unlearns that first: Lin et al.
    2017 (arXiv 1708.02002), section 3.3, there with one pi for all classes. Raises ValueError for a head that cannot.
    """
    name, head = head_of(model)
    if not isinstance(head, nn.Linear):  # of SqueezeNet: all biases of rare classes would come out as 0
        raise ValueError(f"its head '{name}' is a convolution with a ReLU behind it, so no output is below 0")
    if head.bias is None:
        raise ValueError(f"its head '{name}' has no biases")
    prior = counts.prior()
    with torch.no_grad():
        head.bias.copy_(prior.log() if activation == "softmax" else torch.logit(prior))
