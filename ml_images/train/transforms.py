"""JPEG bytes to pixels of the network's size: a random crop for training, the middle for evaluation.

The crop is chosen before decoding, so that libjpeg can decode at 1/2, 1/4 or 1/8 of the size where the crop allows it,
and crop and resize are one pass. Chance comes from the generator that is passed in and from nowhere else.
"""

import io
import math
import random

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

EVALUATION_SHARE = 224 / 256  # of the short side that the evaluation crop keeps, the usual 256 -> 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0, 1]

Box = tuple[float, float, float, float]  # left, upper, right, lower in pixels


def training_crop(data: bytes, image_size: int, crop_area_min: float, rng: random.Random) -> NDArray[np.uint8]:
    """A random crop of a random shape, half of the time mirrored: uint8 (image_size, image_size, 3).

    Raises what Pillow raises for bytes that are no JPEG (OSError and its subclasses).
    """
    with _upright(data) as image:
        pixels = _resized(image, random_box(image.width, image.height, crop_area_min, rng), image_size)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def evaluation_crop(data: bytes, image_size: int) -> NDArray[np.uint8]:
    """The middle of the picture: uint8 (image_size, image_size, 3). Raises as training_crop does."""
    with _upright(data) as image:
        side = EVALUATION_SHARE * min(image.size)
        left, upper = (image.width - side) / 2, (image.height - side) / 2
        return _resized(image, (left, upper, left + side, upper + side), image_size)


def random_box(width: int, height: int, crop_area_min: float, rng: random.Random) -> Box:
    """A box of area in [crop_area_min, 1] and aspect ratio in [3/4, 4/3] (Szegedy et al. 2015, section 6).

    After ten boxes that do not fit: the largest box of an allowed shape in the middle.
    """
    for _ in range(10):
        area = width * height * rng.uniform(crop_area_min, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, upper = rng.randint(0, width - w), rng.randint(0, height - h)
            return left, upper, left + w, upper + h
    widest, highest = min(width, height * 4 / 3), min(height, width * 4 / 3)
    left_edge, upper_edge = (width - widest) / 2, (height - highest) / 2
    return left_edge, upper_edge, left_edge + widest, upper_edge + highest


def normalise(images: Tensor) -> Tensor:
    """uint8 (batch, 3, height, width) -> float32 of about zero mean and unit variance, on the images' device."""
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(3, 1, 1)
    return (images.to(torch.float32, memory_format=torch.contiguous_format) / 255 - mean) / std


def _upright(data: bytes) -> Image.Image:
    """An open JPEG, turned as its EXIF says: pictures kept as they came (`short_side: original`) still say it."""
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    return ImageOps.exif_transpose(image) if image.getexif().get(ExifTags.Base.Orientation, 1) != 1 else image


def _resized(image: Image.Image, box: Box, image_size: int) -> NDArray[np.uint8]:
    """The pixels in `box`, bilinear, as (image_size, image_size, 3)."""
    width, height = image.size
    shrink = image_size / min(box[2] - box[0], box[3] - box[1])
    image.draft("RGB", (math.ceil(width * shrink), math.ceil(height * shrink)))  # never below what was asked for
    x, y = image.width / width, image.height / height
    # Rounding must not push the box out of the picture by an ulp: Pillow refuses that.
    scaled = (box[0] * x, box[1] * y, min(box[2] * x, image.width), min(box[3] * y, image.height))
    pixels = image if image.mode == "RGB" else image.convert("RGB")
    return np.asarray(pixels.resize((image_size, image_size), Image.Resampling.BILINEAR, box=scaled))
