"""Which network, and how its outputs are made: one logit a class, no weights from elsewhere."""

import math
from dataclasses import dataclass

import torchvision
from torch import Tensor, nn
from torch.optim import SGD

from ml_images.options import option

TINY = "tiny_cnn"
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@dataclass(frozen=True)
class ModelConfig:
    name: str = option(
        "resnet101", f"a ResNet of torchvision, or {TINY} (25 thousand parameters) to check a cluster with"
    )

    def __post_init__(self) -> None:
        if self.name not in (*RESNETS, TINY):
            raise ValueError(f"model.name must be one of {', '.join((*RESNETS, TINY))}, got '{self.name}'")


@dataclass(frozen=True)
class OptimConfig:
    lr: float = option(0.1, "peak learning rate for 256 images a step; scaled linearly with the global batch")
    momentum: float = option(0.9, "momentum of SGD")
    weight_decay: float = option(1e-4, "L2 factor on weights; biases and batch norm are left alone")

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise ValueError(f"optim.lr must be > 0 and finite, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"optim.momentum must be in [0, 1), got {self.momentum}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"optim.weight_decay must be >= 0 and finite, got {self.weight_decay}")


class TinyCnn(nn.Module):
    """Three strided convolutions and a linear layer: an epoch in seconds, so that the cluster is what is tested."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, classes)."""
        return self.fc(self.features(images).mean(dim=(2, 3)))


def build_model(config: ModelConfig, num_classes: int) -> nn.Module:
    """A network from images (batch, 3, height, width) to logits (batch, classes); call torch.manual_seed before.

    The last batch norm of each residual block starts at zero, so that the network starts shallow: Goyal et al. 2017,
    section 5.1.
    """
    if config.name == TINY:
        return TinyCnn(num_classes)
    return torchvision.models.get_model(config.name, weights=None, num_classes=num_classes, zero_init_residual=True)


def build_optimizer(config: OptimConfig, model: nn.Module) -> SGD:
    """SGD with momentum; vectors (biases, batch norm) are not decayed."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return SGD(groups, lr=config.lr, momentum=config.momentum)
