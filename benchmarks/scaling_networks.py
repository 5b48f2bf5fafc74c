"""What a layer costs and how large its gradients are, from the networks themselves; no weights are made."""

import torch
from scaling_model import Layer, Network
from torch import Tensor, nn

from ml_images.train.networks import build_network

GRADIENT_BYTES = 4  # fp32


def network(name: str, num_classes: int, side: int) -> Network:
    """`name` as ml_images.train.networks knows it, with pictures of `side` pixels."""
    with torch.device("meta"):
        return Network(name, layers_of(build_network(name, num_classes), side))


def layers_of(model: nn.Module, side: int) -> tuple[Layer, ...]:
    """The layers with parameters, as forward goes through them. Norms and biases count with their bytes alone."""
    found: list[Layer] = []

    def note(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        parameters = list(module.parameters(recurse=False))
        weights = sum(parameter.numel() for parameter in parameters if parameter.ndim > 1)
        places = output[0, 0].numel() if output.ndim == 4 else 1
        found.append(Layer(weights * places, GRADIENT_BYTES * sum(parameter.numel() for parameter in parameters)))

    for module in model.modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_hook(note)
    with torch.no_grad():
        model.eval()(torch.empty((1, 3, side, side), device="meta"))
    return tuple(found)
