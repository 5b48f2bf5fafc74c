"""How gradients become steps: which rule, and which parameters are decayed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from ml_images.options import option
from ml_images.train.clipping import clipped
from ml_images.train.lamb import Lamb
from ml_images.train.lars import Lars

BETA2 = 0.999  # of AdamW and LAMB
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class OptimConfig:
    name: Literal["sgd", "lars", "adamw", "lamb"] = option("sgd", "lars and lamb: for batches of thousands of images")
    lr: float = option(0.1, "peak learning rate for 256 images a step; scaled linearly with the global batch")
    momentum: float = option(0.9, "momentum of SGD and LARS; of AdamW and LAMB the first beta")
    nesterov: bool = option(False, "of SGD: look ahead by the momentum")
    weight_decay: float = option(1e-4, "L2 factor on weights; for AdamW and LAMB decoupled from the gradient")
    bias_decay: float = option(0.0, "share of weight_decay on biases; ML-Images: 1")
    norm_decay: float = option(0.0, "share of weight_decay on norms; ML-Images: 0, in fine-tuning 0.1")
    clip_norm: float = option(0.0, "longest that all gradients together may be; 0: as long as they are")

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise ValueError(f"optim.lr must be > 0 and finite, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"optim.momentum must be in [0, 1), got {self.momentum}")
        for name in ("weight_decay", "bias_decay", "norm_decay", "clip_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"optim.{name} must be >= 0 and finite, got {getattr(self, name)}")
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError(
                f"optim.nesterov=true needs optim.name=sgd and a momentum above 0, got {self.name} and {self.momentum}"
            )


def build_optimizer(config: OptimConfig, model: nn.Module) -> Optimizer:
    """The optimizer of the parameters of `model` that are to be trained.

    Its step must see whole gradients: those of all ranks are there after GradientAverage.wait.
    """
    groups = list(parameter_groups(config, model))
    if config.clip_norm:
        for group in groups:
            group["clip_norm"] = config.clip_norm
    kind: Any = {"sgd": SGD, "lars": Lars, "adamw": AdamW, "lamb": Lamb}[config.name]
    if config.clip_norm:
        kind = clipped(kind)
    if config.name == "sgd":
        return kind(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)
    if config.name == "lars":
        return kind(groups, lr=config.lr, momentum=config.momentum)
    return kind(groups, lr=config.lr, betas=(config.momentum, BETA2))


def parameter_groups(config: OptimConfig, model: nn.Module) -> Iterator[dict[str, Any]]:
    """Weights, biases, and what belongs to norms, each with its own decay; `adapt` is for LARS and LAMB."""
    of_norms = {
        id(parameter)
        for layer in model.modules()
        if isinstance(layer, NORMS)
        for parameter in layer.parameters(recurse=False)
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    norms = [parameter for parameter in trained if id(parameter) in of_norms]
    others = [parameter for parameter in trained if id(parameter) not in of_norms]
    weights = [parameter for parameter in others if parameter.ndim > 1]
    biases = [parameter for parameter in others if parameter.ndim <= 1]
    for parameters, share in ((weights, 1.0), (biases, config.bias_decay), (norms, config.norm_decay)):
        if parameters:
            group: dict[str, Any] = {"params": parameters, "weight_decay": share * config.weight_decay}
            if config.name in ("lars", "lamb"):
                group["adapt"] = parameters is weights
            yield group
