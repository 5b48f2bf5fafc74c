from contextlib import nullcontext
from typing import Any

import pytest
import torch

from ml_images.errors import InputError
from ml_images.train.comm import LocalComm
from ml_images.train.data import DataConfig
from ml_images.train.job import TrainJob
from ml_images.train.model import ModelConfig, build_model
from ml_images.train.picture_sizes import check_picture_sizes
from ml_images.train.resolution import ResolutionConfig


class Two(LocalComm):
    """One of two ranks, which meet nobody here."""

    size = 2


def job_of(name: str, batch_size: int = 2, image_size: int = 224, batch_norm: Any = "local") -> TrainJob:
    data = DataConfig(path="x", batch_size=batch_size, image_size=image_size)
    return TrainJob(output="run", data=data, model=ModelConfig(name, batch_norm=batch_norm))


@pytest.mark.parametrize(
    ("name", "batch_size", "image_size", "line"),
    [
        (
            "vit_b_16",
            2,
            64,
            "trained on data.batch_size=2 pictures of data.image_size=64: Wrong image height! Exp.* 224",
        ),
        ("inception_v3", 2, 64, "trained on data.batch_size=2 pictures of data.image_size=64: .*Kernel size"),
        ("alexnet", 2, 32, "trained on data.batch_size=2 pictures of data.image_size=32: .*Output size is too small"),
        (
            "ml_images_resnet101",
            1,
            32,
            "trained on data.batch_size=1 pictures of .*=32: Expected more than 1 value per",
        ),
        ("wide_resnet50_2", 1, 32, "trained on data.batch_size=1 pictures of .*=32: Expected more than 1 value per"),
        ("resnet18", 1, 32, "trained on data.batch_size=1 pictures of .*=32: Expected more than 1 value per channel"),
    ],
)
def test_pictures_that_a_network_does_not_take_are_refused_in_one_line(
    name: str, batch_size: int, image_size: int, line: str
) -> None:
    with pytest.raises(InputError, match=rf"^model\.name={name} cannot be {line}") as caught:
        check_picture_sizes(job_of(name, batch_size, image_size), LocalComm())
    assert "\n" not in str(caught.value)


# One of each family that does something of its own with sizes, or with tensors while it is built.
FAMILIES = (
    "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t", "regnet_y_400mf", "squeezenet1_1", "densenet121", "googlenet",
    "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vgg11", "ml_images_resnet101",
)  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_network_takes_is_let_through(name: str) -> None:
    check_picture_sizes(job_of(name), LocalComm())


@pytest.mark.parametrize(("batch_size", "image_size", "fits"), [(1, 33, True), (2, 32, True), (1, 32, False)])
def test_the_network_with_numbers_is_of_the_same_opinion(batch_size: int, image_size: int, fits: bool) -> None:
    with nullcontext() if fits else pytest.raises(InputError, match="more than 1 value per channel"):
        check_picture_sizes(job_of("resnet18", batch_size, image_size), LocalComm())
    with nullcontext() if fits else pytest.raises(ValueError, match="more than 1 value per channel"):
        build_model(ModelConfig("resnet18"), 2)(torch.zeros(batch_size, 3, image_size, image_size))


def test_batch_norms_that_do_not_look_at_this_batch_alone_take_one_picture() -> None:
    check_picture_sizes(job_of("resnet18", 1, 32, "frozen"), LocalComm())
    check_picture_sizes(job_of("resnet18", 1, 32, "synchronised"), Two())
    with pytest.raises(InputError, match="more than 1 value per channel"):
        check_picture_sizes(job_of("resnet18", 1, 32, "synchronised"), LocalComm())


def test_each_size_is_tried_that_pictures_come_in() -> None:
    data = DataConfig(path="x", batch_size=1, image_size=48)
    job = TrainJob(
        output="run", data=data, model=ModelConfig("resnet18"), resolution=ResolutionConfig([48, 32], [0, 2])
    )
    with pytest.raises(InputError, match=r"cannot be trained on data\.batch_size=1 pictures of resolution\.sizes=32: "):
        check_picture_sizes(job, LocalComm())
    data = DataConfig(path="x", batch_size=2, image_size=32)
    job = TrainJob(output="run", data=data, model=ModelConfig("alexnet"), resolution=ResolutionConfig([64], [0]))
    with pytest.raises(InputError, match=r"cannot be evaluated on pictures of data\.image_size=32: "):
        check_picture_sizes(job, LocalComm())


def test_nothing_is_drawn_from_the_seed() -> None:
    before = torch.get_rng_state()
    check_picture_sizes(job_of("googlenet"), LocalComm())
    assert torch.equal(torch.get_rng_state(), before)
