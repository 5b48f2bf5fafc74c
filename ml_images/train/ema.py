"""A running mean of the weights, which is what gets evaluated and used: it is ahead of the weights that are trained."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ml_images.options import option


@dataclass(frozen=True)
class EmaConfig:
    half_life_epochs: float = option(0.0, "epochs after which weights count half in the mean of weights; 0: no mean")

    def __post_init__(self) -> None:
        if not 0 <= self.half_life_epochs < math.inf:
            raise ValueError(f"ema.half_life_epochs must be >= 0 and finite, got {self.half_life_epochs}")

    def decay(self, steps_per_epoch: int) -> float:
        """What is left of the mean after a step."""
        return float(0.5 ** (1 / (self.half_life_epochs * steps_per_epoch)))


class WeightMean:
    """The exponential mean of all floating-point weights and buffers of a model; what counts is taken as it is.

    Early on the decay is less, (1 + t) / (10 + t) after t updates, so that the first weights are soon forgotten. The
    running statistics of batch norm are this rank's own; averaging them over ranks later comes to the same.
    """

    def __init__(self, model: nn.Module) -> None:
        self._mean = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self._updates = 0

    def update(self, model: nn.Module, decay: float) -> None:
        """A step has been taken: move the mean towards the weights of `model`."""
        self._updates += 1
        share = 1 - min(decay, (1 + self._updates) / (10 + self._updates))
        for name, now in model.state_dict().items():
            if now.is_floating_point():
                self._mean[name].lerp_(now.detach(), share)
            else:
                self._mean[name].copy_(now)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within: `model` holds the mean. After: its own weights again, and changes made within are lost."""
        own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self._mean)
        yield
        model.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor]:
        """For checkpoints: the tensors themselves, under the model's names, and `updates`."""
        return {**self._mean, "updates": torch.tensor(self._updates)}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave, in memory or out of a file."""
        self._updates = int(tensors["updates"])
        for name, mean in self._mean.items():
            mean.copy_(tensors[name])
