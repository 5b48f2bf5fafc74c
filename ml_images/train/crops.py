"""Which part of a picture a network sees, chosen before it is decoded: functions of its size and of chance."""

import math
from typing import NamedTuple

from ml_images.train.chance import Chance

_RATIOS = 3 / 4, 4 / 3  # of width to height
_TENCENT_RATIOS = 0.75, 1.33
_TENCENT_ATTEMPTS = 100
_TENCENT_EVALUATION_SHARE = 0.8  # of each side; the original's docstring says of the area
_SHORT_SIDE, _CENTRE = 256, 224  # of the original's tools for single pictures
_PADDING = 1 / 8  # of the short side, on each side: 4 of 32 pixels


class Crop(NamedTuple):
    """A box (left, upper, right, lower, in pixels) that is resized to the square that the network sees.

    mirror: left and right change places; reflect: the box reaches beyond the picture, which goes on there as its mirror
    image; cut: it is cut out before it is resized, so that what lies beside it is not mixed into its rim.
    """

    box: tuple[float, float, float, float]
    antialias: bool = True
    mirror: bool = False
    reflect: bool = False
    cut: bool = False


def random_area(width: int, height: int, area_min: float, chance: Chance) -> Crop:
    """A box of area in [area_min, 1] and aspect ratio in [3/4, 4/3], half of the time mirrored (Szegedy et al. 2015,
    section 6). After ten boxes that do not fit: the largest of an allowed shape, in the middle."""
    mirror = chance.below(2) == 0
    for _ in range(10):
        area = width * height * chance.uniform(area_min, 1)
        ratio = math.exp(chance.uniform(math.log(_RATIOS[0]), math.log(_RATIOS[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, upper = chance.below(width - w + 1), chance.below(height - h + 1)
            return Crop((left, upper, left + w, upper + h), mirror=mirror)
    w, h = round(min(width, height * _RATIOS[1])), round(min(height, width / _RATIOS[0]))
    left, upper = (width - w) // 2, (height - h) // 2
    return Crop((left, upper, left + w, upper + h), mirror=mirror)


def random_height(width: int, height: int, area_min: float, chance: Chance) -> Crop:
    """The crop of ML-Images (specs 2.4): TensorFlow's sample_distorted_bounding_box without a box, uniform in height
    and not in area, over aspect ratios in [0.75, 1.33]; the whole picture after 100 boxes that do not fit. Half of the
    time mirrored; no antialias."""
    mirror = chance.below(2) == 0
    for _ in range(_TENCENT_ATTEMPTS):
        ratio = chance.uniform(*_TENCENT_RATIOS)
        size = _height_of(width, height, area_min, ratio, chance)
        if size:
            w, h = size
            left = chance.below(width - w) if w < width else 0  # never at the very edge, as the original's
            upper = chance.below(height - h) if h < height else 0
            return Crop((left, upper, left + w, upper + h), False, mirror, cut=True)
    return Crop((0, 0, width, height), False, mirror, cut=True)


def _height_of(width: int, height: int, area_min: float, ratio: float, chance: Chance) -> tuple[int, int] | None:
    """(width, height) of a box of this ratio whose area is a share in [area_min, 1], or None where none fits."""
    area = width * height
    least, most = round(math.sqrt(area_min * area / ratio)), round(math.sqrt(area / ratio))
    if round(most * ratio) > width:
        most = int((width + 0.5 - 1e-7) / ratio)
    most = min(most, height)
    h = min(least, most)
    if h < most:
        h += chance.below(most - h + 1)
    w = round(h * ratio)
    if w * h < area_min * area:  # rounding; a row more may help
        h += 1
        w = round(h * ratio)
    if not (area_min * area <= w * h <= area and 0 < w <= width and 0 < h <= height):
        return None
    return w, h


def random_shift(width: int, height: int, chance: Chance) -> Crop:
    """A square of the short side, at whole pixels anywhere on the picture with a rim of an eighth of that side; half of
    the time mirrored. For small pictures, which lose too much in other crops: 4 pixels of CIFAR's 32, as is usual since
    Lee et al. 2015 (arXiv 1409.5185); the rim is reflected as in airbench (Jordan 2024, arXiv 2404.00498), not black.
    """
    mirror = chance.below(2) == 0
    side = min(width, height)
    rim = int(side * _PADDING)
    left, upper = (chance.below(size - side + 2 * rim + 1) - rim for size in (width, height))
    return Crop((left, upper, left + side, upper + side), mirror=mirror, reflect=True)


def centre(width: int, height: int, share: float) -> Crop:
    """The square in the middle whose side is `share` of the short side."""
    side = share * min(width, height)
    return Crop(_middle(width, height, side, side))


def tencent_centre(width: int, height: int) -> Crop:
    """The original's evaluation (specs 2.5, eval_image): 0.8 of each side, squashed into a square, no antialias.

    As TensorFlow's central_crop: what is cut off on each side is a whole number of pixels.
    """
    left = int((width - width * _TENCENT_EVALUATION_SHARE) / 2)
    upper = int((height - height * _TENCENT_EVALUATION_SHARE) / 2)
    return Crop((left, upper, width - left, height - upper), False, cut=True)


def tencent_single(width: int, height: int) -> Crop:
    """The original's tools for single pictures (specs 2.5): the middle 224 pixels of the picture at short side 256.

    As a box of the picture as it is. Where TensorFlow 1 takes place x scale, OpenCV takes the middles of pixels, half
    a new and half an old one apart.
    """
    short = min(width, height)
    scaled_width, scaled_height = width * _SHORT_SIDE // short, height * _SHORT_SIDE // short
    left, upper = int((scaled_width - _CENTRE) / 2), int((scaled_height - _CENTRE) / 2)
    x, y = width / scaled_width, height / scaled_height
    right, lower = (left + _CENTRE) * x, (upper + _CENTRE) * y
    over, down = x / 2 - 0.5, y / 2 - 0.5
    return Crop((left * x + over, upper * y + down, right + over, lower + down), False)


def _middle(width: int, height: int, w: float, h: float) -> tuple[float, float, float, float]:
    left, upper = (width - w) / 2, (height - h) / 2
    return left, upper, left + w, upper + h
