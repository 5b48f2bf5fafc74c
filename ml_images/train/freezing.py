"""Stages of a network that fine-tuning leaves as they are: no gradients, and statistics that really stand still.

The original's FixBlock2 (2 stages) kept the weights but let the running averages of batch norm go on; here both stay.
"""

from torch import nn

from ml_images.errors import InputError
from ml_images.train.batch_norm import freeze_batch_norms


def stages_of(model: nn.Module) -> list[list[str]]:
    """Names of the parts that the first stage of `model` holds, the second, ...; without the head.

    The first stage includes the stem. In networks of torchvision that have `features`, each of those is a stage.
    Raises InputError for a network whose order is not known.
    """
    parts = dict(model.named_children())
    if isinstance(parts.get("stages"), nn.ModuleList):  # our own: stem, stages, head
        stem = list(parts)[: list(parts).index("stages")]
        stages = [[f"stages.{number}"] for number, _ in parts["stages"].named_children()]
        return [stem + stages[0], *stages[1:]]
    if "layer1" in parts:  # ResNets of torchvision
        return [["conv1", "bn1", "layer1"], ["layer2"], ["layer3"], ["layer4"]]
    if isinstance(parts.get("features"), nn.Sequential):
        return [[f"features.{name}"] for name, _ in parts["features"].named_children()]
    raise InputError(
        f"model.frozen_stages: the stages of a {type(model).__name__} are not known; networks with them are ResNets, "
        "those of torchvision that have `features`, and our own"
    )


def freeze_stages(model: nn.Module, count: int) -> None:
    """Freeze the stem and the first `count` stages: no gradients, running statistics for ever as they are.

    FixBlock2 of ML-Images is 2. Raises InputError when the network has not more stages than that.
    """
    stages = stages_of(model)
    if count >= len(stages):
        raise InputError(f"model.frozen_stages must be less than this network's {len(stages)} stages, got {count}")
    frozen = tuple(part for stage in stages[:count] for part in stage)
    for part in frozen:
        model.get_submodule(part).requires_grad_(False)
    freeze_batch_norms(model, frozen)
