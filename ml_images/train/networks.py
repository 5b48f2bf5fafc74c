"""Networks by name: our own, and the classifiers of torchvision; one logit a class, no weights from elsewhere."""

import difflib
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

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


class WithoutMemory(TorchFunctionMode):
    """Within: parameters of networks that are built have shapes and no numbers, which costs no time and no memory.

    Layers make them with torch.empty. `torch.device("meta")` takes all other tensors as well, and RegNets compute with
    some how wide they are.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "meta"} if func is torch.empty else kwargs))
