"""LAMB: Adam for large batches, each layer's step in proportion to its weights."""

from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ml_images.train.lars import ratio

EPSILON = 1e-6  # of the paper's code


class Lamb(Optimizer):
    """Adam's direction with bias correction plus weight_decay w, scaled to lr |w|.

    You et al. 2020 (arXiv 1904.00962), algorithm 2, phi the identity. Groups with `adapt` False, biases and batch
    norm, take the step of AdamW.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        adapt: bool = True,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "adapt": adapt})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step on the gradients as they are."""
        assert closure is None
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for weight in (weight for weight in group["params"] if weight.grad is not None):
                state = self.state[weight]
                if not state:
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
                    state["step"] = torch.zeros(())  # on the CPU: nobody waits for the device to read it
                state["step"] += 1
                taken = float(state["step"])
                mean = state["exp_avg"].lerp_(weight.grad, 1 - beta1) / (1 - beta1**taken)
                square = state["exp_avg_sq"].mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
                direction = mean.div_((square / (1 - beta2**taken)).sqrt_().add_(EPSILON))
                direction.add_(weight, alpha=group["weight_decay"])
                if group["adapt"]:
                    direction.mul_(ratio(torch.linalg.vector_norm(weight), torch.linalg.vector_norm(direction)))
                weight.sub_(direction, alpha=group["lr"])
