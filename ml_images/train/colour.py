"""Colours and rotation of training pictures, on the device, each picture of a batch by chances of its own.

Pictures are float32 (batch, 3, height, width) in [0, 1]; chances float32 (batch, CHANCES), uniform in [0, 1).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

CHANCES = 6  # what is done, angle, brightness, saturation, hue, contrast

_MOST_DEGREES = 45.0
_BRIGHTNESS, _HUE = 32 / 255, 0.2  # up or down
_LOW, _HIGH = 0.5, 1.5  # of the factors of saturation and contrast


def ml_images(images: Tensor, chances: Tensor) -> Tensor:
    """The original's rotation and colours (specs 2.4, steps 4 and 5), before they are clipped to [0, 1].

    Of three kinds, equally likely, the first is rotated by up to 45 degrees and recoloured in the order brightness,
    saturation, hue, contrast; the second recoloured in the order brightness, contrast, saturation, hue; the third left
    as it is.
    """
    kind = (chances[:, 0] * 3).long().clamp(max=2)
    rotated = rotate(images, _between(chances[:, 1], -_MOST_DEGREES, _MOST_DEGREES))
    bright = _between(chances[:, 2], -_BRIGHTNESS, _BRIGHTNESS).view(-1, 1, 1, 1)
    saturation, contrast = _between(chances[:, 3], _LOW, _HIGH), _between(chances[:, 5], _LOW, _HIGH)
    hue = _between(chances[:, 4], -_HUE, _HUE)
    first = adjust_contrast(adjust_hue(adjust_saturation(rotated + bright, saturation), hue), contrast)
    second = adjust_hue(adjust_saturation(adjust_contrast(images + bright, contrast), saturation), hue)
    chosen = kind.view(-1, 1, 1, 1)
    return torch.where(chosen == 0, first, torch.where(chosen == 1, second, images))


def jitter(images: Tensor, chances: Tensor, strength: float) -> Tensor:
    """Brightness, contrast and saturation times factors in [1 - strength, 1 + strength]."""
    bright, saturation, contrast = (_between(chances[:, i], 1 - strength, 1 + strength) for i in (2, 3, 5))
    grey = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R BT.601
    images = (images * bright.view(-1, 1, 1, 1)).clamp(0, 1)
    mean = (images * grey).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    images = (mean + (images - mean) * contrast.view(-1, 1, 1, 1)).clamp(0, 1)
    light = (images * grey).sum(1, keepdim=True)
    return light + (images - light) * saturation.view(-1, 1, 1, 1)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Counter-clockwise about the centre: the nearest pixel, black where there is none."""
    height, width = images.shape[2:]
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    zero = torch.zeros_like(cos)
    matrix = torch.stack(
        [torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)], 1
    )
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Distance from the mean of each picture's channel, times `factor` (batch,)."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + (images - mean) * factor.view(-1, 1, 1, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Saturation of HSV times `factor` (batch,), at most 1."""
    hue, saturation, value = to_hsv(images)
    return to_rgb(hue, (saturation * factor.view(-1, 1, 1)).clamp(0, 1), value)


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Hue of HSV turned by `turn` (batch,) of a whole circle."""
    hue, saturation, value = to_hsv(images)
    return to_rgb((hue + turn.view(-1, 1, 1)) % 1, saturation, value)


def to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in [0, 1), saturation and value, (batch, height, width) each (Smith 1978)."""
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    spread = value - images.amin(1)
    saturation = torch.where(value > 0, spread / value.where(value > 0, 1), 0)
    safe = spread.where(spread > 0, 1)
    sixth = torch.where(
        red == value,
        (green - blue) / safe,
        torch.where(green == value, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    return torch.where(spread > 0, (sixth / 6) % 1, 0), saturation, value


def to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The inverse of to_hsv: (batch, 3, height, width)."""
    place = hue * 6
    spread = saturation * value
    channels = [
        value - spread + spread * ((place + shift) % 6 - 3).abs().sub(1).clamp(0, 1) for shift in (0.0, 4.0, 2.0)
    ]
    return torch.stack(channels, 1)


def _between(chance: Tensor, low: float, high: float) -> Tensor:
    return low + chance * (high - low)
