"""Whether a network takes the pictures that a run will give it, found out before any is read."""

import dataclasses

import torch
from torch import nn

from ml_images.errors import InputError
from ml_images.train.comm import Comm
from ml_images.train.job import TrainJob
from ml_images.train.model import build_model
from ml_images.train.networks import WithoutMemory


def check_picture_sizes(job: TrainJob, comm: Comm) -> None:
    """Raise InputError where the network of `job` cannot be trained on its sizes of pictures and of batches, or cannot
    be evaluated on its size of pictures.

    Some networks have one size only, pooling needs pixels, batch norm more than one value a channel. All of them say so
    when they are called; here they are called without numbers, on the device meta: 0.4 s for ResNet-101.
    """
    config = job.model
    if config.batch_norm == "synchronised":  # two ranks have two values, and without numbers they cannot meet
        config = dataclasses.replace(config, batch_norm="local" if comm.size == 1 else "frozen")
    with WithoutMemory():
        model = build_model(config, num_classes=2)
    model.to("meta")
    option = "resolution.sizes" if job.resolution.sizes else "data.image_size"
    use = ""
    try:
        for side in dict.fromkeys(job.image_sizes):
            use = f"trained on data.batch_size={job.data.batch_size} pictures of {option}={side}"
            _call(model.train(), job.data.batch_size, side)
        use = f"evaluated on pictures of data.image_size={job.data.image_size}"
        _call(model.eval(), 1, job.data.image_size)
    except (AssertionError, RuntimeError, ValueError) as error:  # of torchvision's checks, of layers, of batch norm
        why = " ".join(str(error).split())
        raise InputError(f"model.name={config.name} cannot be {use}: {why}") from error


def _call(model: nn.Module, count: int, side: int) -> None:
    with torch.device("meta"), torch.no_grad():
        model(torch.empty(count, 3, side, side))
