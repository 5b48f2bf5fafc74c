"""Which network is trained, and which of its parts stand still or look at other ranks."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from ml_images.options import option
from ml_images.train.batch_norm import freeze_batch_norms
from ml_images.train.cifar_net import CifarNet
from ml_images.train.comm import Comm
from ml_images.train.freezing import freeze_stages
from ml_images.train.networks import build_network, check_name
from ml_images.train.sync_batch_norm import synchronise_batch_norms

BatchNorms = Literal["local", "synchronised", "frozen"]


@dataclass(frozen=True)
class ModelConfig:
    name: str = option(
        "resnet101",
        "a classifier of torchvision (resnet50, convnext_tiny, ...); ml_images_resnet101: the original's; cifar_net: "
        "for 32 pixels; tiny_cnn: 25 thousand parameters, to check a cluster with",
    )
    frozen_stages: int = option(0, "stages, from the stem on, that are not trained; FixBlock2 of ML-Images: 2")
    batch_norm: BatchNorms = option(
        "local", "statistics of each rank's batch, of all ranks' batches, or the running ones as they are"
    )

    whitening: bool = option(
        False, "of cifar_net: begin with a first layer that whitens training pictures, and train all but its filters"
    )

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.whitening and self.name != "cifar_net":
            raise ValueError(f"model.whitening=true needs model.name=cifar_net, got {self.name}")
        if self.frozen_stages < 0:
            raise ValueError(f"model.frozen_stages must be >= 0, got {self.frozen_stages}")


def build_model(config: ModelConfig, num_classes: int, comm: Comm | None = None) -> nn.Module:
    """A network from images (batch, 3, height, width) to logits (batch, classes); call torch.manual_seed before.

    `comm` is needed for synchronised batch norms. Frozen parts keep what they hold by the first step, so weights may
    still be loaded. Raises InputError where `frozen_stages` does not fit the network.
    """
    model = build_network(config.name, num_classes)
    if config.batch_norm == "frozen":
        freeze_batch_norms(model)
    if config.batch_norm == "synchronised":
        assert comm is not None
        synchronise_batch_norms(model, comm)
    if config.frozen_stages:
        freeze_stages(model, config.frozen_stages)
    if config.whitening:
        assert isinstance(model, CifarNet)
        model.whitening.weight.requires_grad_(False)
    return model
