"""Networks by name: our own, and the classifiers of torchvision; one logit a class, no weights from elsewhere."""

import difflib
from collections.abc import Callable

import torchvision
from torch import nn

from ml_images.train.cifar_net import CifarNet
from ml_images.train.preactivation_resnet import PreactivationResNet
from ml_images.train.tiny_cnn import TinyCnn

OWN: dict[str, Callable[[int], nn.Module]] = {
    "ml_images_resnet101": PreactivationResNet,
    "cifar_net": CifarNet,
    "tiny_cnn": TinyCnn,
}
_OF_TORCHVISION = frozenset(torchvision.models.list_models(module=torchvision.models))
_OPTIONS = {  # of single families
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def check_name(name: str) -> None:
    """Raise ValueError for a network that there is not."""
    names = sorted(_OF_TORCHVISION | OWN.keys())
    if name not in names:
        close = difflib.get_close_matches(name, names) or ["resnet50", "resnet101"]
        raise ValueError(
            f"model.name must be one of {', '.join(OWN)} or a classifier of torchvision ({', '.join(close)}, ...), "
            f"got '{name}'"
        )


def build_network(name: str, num_classes: int) -> nn.Module:
    """The network `name`, drawn from torch's generator.

    The last batch norm of each residual block of torchvision's ResNets starts at zero, so that the network starts
    shallow: Goyal et al. 2017 (arXiv 1706.02677), section 5.1. The extra heads of GoogLeNet and Inception are left out.
    """
    if name in OWN:
        return OWN[name](num_classes)
    options = dict(_OPTIONS.get(name, {}))
    if name.startswith(("resnet", "resnext", "wide_resnet")):
        options["zero_init_residual"] = True
    return torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
