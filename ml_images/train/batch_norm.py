"""Batch norms of a model exchanged for another kind; here the kind that never looks at the batch."""

from collections.abc import Callable

import torch
from torch import nn


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Normalises by the running statistics, in training too, and never changes them; scale and shift may be learnt."""

    def __init__(self, features: int, eps: float) -> None:
        super().__init__(features, eps)
        self.training = False

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":
        """Stays in evaluation: `model.train()` before an epoch must not wake it."""
        super().train(False)
        return self


def freeze_batch_norms(model: nn.Module, parts: tuple[str, ...] | None = None) -> None:
    """Let the batch norms of `model` use the running statistics that they have, for ever; all, or those in `parts`."""

    def make(name: str, norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
        if parts is None or any(f"{name}.".startswith(f"{part}.") for part in parts):
            return FrozenBatchNorm2d(norm.num_features, norm.eps)
        return norm

    replace_batch_norms(model, make)


def replace_batch_norms(model: nn.Module, make: Callable[[str, nn.BatchNorm2d], nn.BatchNorm2d]) -> None:
    """Put `make(name, norm)` in the place of each BatchNorm2d of `model`, with the parameters and buffers of the old.

    They are the same tensors under the same names: checkpoints and optimizers see no difference.
    """
    for path, parent in list(model.named_modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                with torch.device("meta"):  # its own tensors are thrown away
                    new = make(f"{path}.{name}" if path else name, child)
                new.weight, new.bias = child.weight, child.bias
                for buffer, tensor in child.named_buffers():
                    setattr(new, buffer, tensor)
                setattr(parent, name, new)
