"""Checkpoints as train.py writes them, of networks that were never trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ml_images.train import checkpoint
from ml_images.train.checkpoint import MEAN, MODEL, Checkpoint, Position
from ml_images.train.networks import build_network


def untrained(name: str = "tiny_cnn", num_classes: int = 6, seed: int = 0) -> nn.Module:
    """A network of random weights and statistics, in evaluation mode, whose logits tell pictures apart."""
    torch.manual_seed(seed)
    model = build_network(name, num_classes)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def write_checkpoint(
    folder: Path,
    model: nn.Module,
    mean: nn.Module | None = None,
    name: str = "tiny_cnn",
    class_names: Sequence[str] | None = None,
    **changed: dict[str, Any],
) -> Path:
    """A checkpoint of `model`, and of `mean` as the mean of its weights; changed: sections of the run's options."""
    tensors: dict[str, Tensor] = {MODEL + key: tensor for key, tensor in model.state_dict().items()}
    if mean is not None:
        tensors |= {MEAN + key: tensor for key, tensor in mean.state_dict().items()}
        tensors[MEAN + "updates"] = torch.tensor(9)
    data = {"path": "", "image_size": 32, "evaluation": "standard", "batch_size": 12}
    config = {"model": {"name": name}, "data": data | changed.pop("data", {}), **changed}
    position = Position(7, 7, 8, {"epoch": 0, "place": 84})
    return checkpoint.save(folder, Checkpoint(position, None, config, tensors, class_names), 1)
