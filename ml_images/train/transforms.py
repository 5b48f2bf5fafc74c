"""What happens to a picture between its bytes and the network: what chance decides of it, and arithmetic on the device.

Crop, resize and flip are done where the picture is decoded, in whole numbers; colour, rotation and normalisation on the
device, in floating point, on the whole batch. All chance is a function of (seed, epoch, place in the epoch).
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_images.train import colour, crops
from ml_images.train.chance import Chance
from ml_images.train.crops import Crop

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0, 1]
EVALUATION_SHARE = 224 / 256  # of the short side that the evaluation crop keeps, the usual 256 -> 224

Augmentation = Literal["standard", "ml_images", "shift"]
Preprocessing = Literal["standard", "ml_images", "ml_images_single", "whole"]

_CROP, _COLOUR = 1, 2  # what a stream of chance is for


def training_crop(kind: Augmentation, area_min: float, seed: int, epoch: int) -> Callable[[int, int, int], Crop]:
    """(place, width, height) -> the crop of the picture at this place of the epoch."""

    def choose(place: int, width: int, height: int) -> Crop:
        chance = Chance(seed, epoch, place, _CROP)
        if kind == "shift":
            return crops.random_shift(width, height, chance)
        return (crops.random_height if kind == "ml_images" else crops.random_area)(width, height, area_min, chance)

    return choose


def evaluation_crop(kind: Preprocessing) -> Callable[[int, int], Crop]:
    """(width, height) -> the crop that is evaluated; specs 2.5 for those of ML-Images."""
    return {
        "standard": lambda width, height: crops.centre(width, height, EVALUATION_SHARE),
        "ml_images": crops.tencent_centre,
        "ml_images_single": crops.tencent_single,
        "whole": lambda width, height: crops.centre(width, height, 1),
    }[kind]


def chances_of_colour(seed: int, epoch: int, places: NDArray[np.int64]) -> Tensor:
    """float32 (batch, colour.CHANCES): what is left to chance of each picture's colours, uniform in [0, 1)."""
    streams = [Chance(seed, epoch, place, _COLOUR) for place in places.tolist()]
    return torch.tensor([[stream.uniform(0, 1) for _ in range(colour.CHANCES)] for stream in streams])


def normalise(
    images: Tensor,
    kind: Augmentation | Preprocessing = "standard",
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """uint8 or float in [0, 255], (batch, 3, height, width) -> float32 as the network wants it, on the images' device
    and in this order: of about zero mean and unit variance, or in [-1, 1] as ML-Images."""
    scaled = images.to(torch.float32, memory_format=memory_format) / 255
    if kind.startswith("ml_images"):
        return (scaled - 0.5) * 2
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(3, 1, 1)
    return (scaled - mean) / std


def recolour(images: Tensor, kind: Augmentation, strength: float, chances: Tensor) -> Tensor:
    """uint8 (batch, 3, height, width) -> float32 in [0, 255]: rotated and recoloured as ML-Images does (specs 2.4), or
    brightness, contrast and saturation changed by up to `strength`."""
    scaled = images.to(torch.float32, memory_format=torch.contiguous_format) / 255
    chances = chances.to(images.device, non_blocking=True)
    changed = colour.ml_images(scaled, chances) if kind == "ml_images" else colour.jitter(scaled, chances, strength)
    return changed.clamp(0, 1) * 255
