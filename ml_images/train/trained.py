"""A trained network out of a checkpoint, with what else has to be known to use it: nothing of it is asked of the user.

The mean of the weights (ema.py) is taken where the run kept one, as it is what the run evaluated.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ml_images.errors import InputError
from ml_images.train import checkpoint
from ml_images.train.backbone import take_backbone
from ml_images.train.calibration import Activation
from ml_images.train.heads import head_of
from ml_images.train.known_labels import Unlisted
from ml_images.train.networks import WithoutMemory, build_network, check_name
from ml_images.train.transforms import Preprocessing


@dataclass(frozen=True, eq=False)
class Trained:
    """model: images (batch, 3, side, side) as transforms.normalise makes them -> logits (batch, classes), in evaluation
    mode, on the CPU; image_size, preprocessing: what the run evaluated with; run: its configuration; class_names: one
    an output, None where the data set of the run told none."""

    model: nn.Module
    num_classes: int
    image_size: int
    preprocessing: Preprocessing
    step: int
    is_mean: bool  # of the weights over the last steps, not those of the last one
    run: Mapping[str, Any]
    class_names: tuple[str, ...] | None

    @property
    def activation(self) -> Activation:
        """What turns logits into scores, as the loss did."""
        return "softmax" if self._loss.get("name") == "softmax" else "sigmoid"

    @property
    def unlisted(self) -> Unlisted:
        """What a class meant to the run that an image did not list."""
        return "absent" if self._loss.get("unlisted", "negative") == "negative" else "unknown"

    @property
    def num_features(self) -> int:
        """How many numbers of a picture the head is given."""
        _, head = head_of(self.model)
        return head.in_features if isinstance(head, nn.Linear) else head.in_channels

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Within: layers compute in the numbers in which the run evaluated."""
        is_bf16 = (self.run.get("engine") or {}).get("precision") == "bf16"
        return torch.autocast(device.type, torch.bfloat16, enabled=is_bf16)

    @property
    def _loss(self) -> Mapping[str, Any]:
        return self.run.get("loss") or {}  # the first runs had but one


def load_trained(path: Path) -> Trained:
    """The network in the checkpoint `path`. Raises InputError for a file that is none, and for a network we lack."""
    try:
        found = checkpoint.load(path)
    except checkpoint.Unreadable as error:
        raise InputError(
            f"checkpoint: {error}; a file that train.py wrote is expected, RUN/checkpoints/{checkpoint.BEST} for one"
        ) from error
    try:
        name, data = found.config["model"]["name"], found.config["data"]
        image_size, preprocessing = int(data["image_size"]), data["evaluation"]
        check_name(name)
        if preprocessing not in get_args(Preprocessing):
            raise ValueError(f"data.evaluation is '{preprocessing}'")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"checkpoint: {path} is of a run that this version does not know ({type(error).__name__}: {error})"
        ) from error
    weights, is_mean = checkpoint.weights_to_use(found.tensors)
    num_classes, names = _classes_of(name, weights, path), found.class_names
    if names is not None and len(names) != num_classes:
        raise InputError(f"checkpoint: {path} has {len(names)} names for {num_classes} classes")
    model = build_network(name, num_classes)
    take_backbone(model, weights, str(path))
    return Trained(
        model=model.eval().requires_grad_(False),
        num_classes=num_classes,
        image_size=image_size,
        preprocessing=preprocessing,
        step=found.position.step,
        is_mean=is_mean,
        run=found.config,
        class_names=None if names is None else tuple(names),
    )


def choose_device(number: int = 0) -> torch.device:
    """The GPU of this number where there are any, otherwise the CPU."""
    return torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")


def _classes_of(name: str, weights: Mapping[str, Tensor], path: Path) -> int:
    """How many outputs the head has, whose name the network alone knows."""
    with WithoutMemory():
        head, _ = head_of(build_network(name, 2))
    if f"{head}.weight" not in weights:
        raise InputError(f"checkpoint: {path} has no weights of '{head}', the head of a {name}")
    return len(weights[f"{head}.weight"])
