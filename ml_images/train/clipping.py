"""Gradients that are too long together are shortened, where the optimizer itself takes its step.

There they are the mean over ranks already, for which the loop waits before it.
"""

from typing import Any

from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer


class ClipsGradients(Optimizer):
    """Before an optimizer in the order of classes: limits the global norm of its gradients to the groups' `clip_norm`,
    which is the same in all of them."""

    def step(self, closure: Any = None) -> Any:
        """Shorten, then take the step."""
        weights = [weight for group in self.param_groups for weight in group["params"]]
        clip_grad_norm_(weights, self.param_groups[0]["clip_norm"])
        return super().step(closure)


def clipped(kind: type[Optimizer]) -> type[Optimizer]:
    """The optimizer class `kind`, shortening gradients first."""
    return type(f"Clipped{kind.__name__}", (ClipsGradients, kind), {})
