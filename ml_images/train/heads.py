"""Which layer of a classifier is its head: the one that turns features into one logit a class."""

from torch import nn


def head_of(model: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Name and module of the head: the last layer with weights, a linear one or (SqueezeNet) a 1x1 convolution.

    What it is given are the features of the picture, for which a forward pre-hook can ask; its bias is where the
    classes' frequencies go. Holds for every classifier of torchvision and for our own.
    """
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return layers[-1]
