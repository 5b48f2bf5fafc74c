"""LARS: SGD with momentum for large batches, each layer's step in proportion to its weights."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

TRUST = 0.001  # of the paper


class Lars(Optimizer):
    """v <- momentum v + lr TRUST |w| / (|g| + weight_decay |w|) (g + weight_decay w); w <- w - v.

    You et al. 2017 (arXiv 1708.03888), algorithm 1. Groups with `adapt` False, biases and batch norm, take the step
    of SGD: their norms say little.
    """

    def __init__(
        self, params: ParamsT, lr: float = 1e-3, momentum: float = 0.9, weight_decay: float = 0.0, adapt: bool = True
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "adapt": adapt})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step on the gradients as they are."""
        assert closure is None
        for group in self.param_groups:
            decay = group["weight_decay"]
            for weight in (weight for weight in group["params"] if weight.grad is not None):
                buffer = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                direction = weight.grad.add(weight, alpha=decay)
                if group["adapt"]:
                    own = torch.linalg.vector_norm(weight)
                    norm = torch.linalg.vector_norm(weight.grad) + decay * own
                    direction.mul_(ratio(TRUST * own, norm))
                weight.sub_(buffer.mul_(group["momentum"]).add_(direction, alpha=group["lr"]))


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below; 1 where either is 0: a layer of zeros has to get away from there."""
    return torch.where((above > 0) & (below > 0), above / below, 1.0)
