"""From how many places a picture is looked at: the crop that training evaluates, or ten of that size.

Ten crops are the four corners, the middle, and their mirror images (Krizhevsky et al. 2012, section 4.1); what counts
is the mean of the ten probabilities. A crop of the whole picture has no corners to go to: it moves by a 32nd of its
side in both directions, one pixel of 32 as in airbench (Jordan 2024, arXiv 2404.00498); 2 and 4 pixels help less.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ml_images.train.calibration import Activation
from ml_images.train.crops import Crop
from ml_images.train.decode import ChooseCrop
from ml_images.train.transforms import Preprocessing, evaluation_crop

CROPS = (1, 10)
_MOVE = 1 / 32  # of the side
_TOOLS_CROP = 224  # pixels of the scaled picture in the crop of the original's tools (crops.tencent_single)


def check_crops(crops: int) -> None:
    """The rule of every option `crops`."""
    if crops not in CROPS:
        raise ValueError(f"crops must be 1 (the middle) or 10 (with corners and mirror images), got {crops}")


def choose_views(kind: Preprocessing, crops: int) -> list[ChooseCrop]:
    """What to cut out of a picture, as functions of its width and height; the first is the middle."""
    if crops == 1:
        return [evaluation_crop(kind)]
    places = [None, (0, 0), (1, 0), (0, 1), (1, 1)]
    return [_view(kind, place, mirror) for mirror in (False, True) for place in places]


def _view(kind: Preprocessing, place: tuple[int, int] | None, mirror: bool) -> ChooseCrop:
    """The evaluated crop moved to a corner (right or left, lower or upper), or left where it is."""
    centre = evaluation_crop(kind)

    def choose(width: int, height: int) -> Crop:
        crop = centre(width, height)
        if place is None:
            return crop._replace(mirror=mirror)
        left, upper, right, lower = crop.box
        w, h = right - left, lower - upper
        if kind == "whole":
            x, y = left + (2 * place[0] - 1) * _MOVE * w, upper + (2 * place[1] - 1) * _MOVE * h
            return Crop((x, y, x + w, y + h), mirror=mirror, reflect=True)
        x, y = place[0] * (width - w), place[1] * (height - h)
        if kind == "ml_images_single":  # OpenCV's middles of pixels: see crops.tencent_single
            x, y = x + w / _TOOLS_CROP / 2 - 0.5, y + h / _TOOLS_CROP / 2 - 0.5
        return crop._replace(box=(x, y, x + w, y + h), mirror=mirror)

    return choose


def mean_prediction(logits: Sequence[Tensor], activation: Activation) -> Tensor:
    """The logits (images, classes) whose probabilities are the mean of those of `logits`, as many (images, classes).

    By logarithms throughout: a mean that rounds to 0 or 1 would tie classes that differ. One view stays as it is.
    """
    if len(logits) == 1:
        return logits[0]
    stacked = torch.stack(list(logits))
    if activation == "softmax":
        return _log_mean(stacked.log_softmax(dim=2))
    return _log_mean(functional.logsigmoid(stacked)) - _log_mean(functional.logsigmoid(-stacked))


def _log_mean(logarithms: Tensor) -> Tensor:
    return logarithms.logsumexp(dim=0) - math.log(len(logarithms))
