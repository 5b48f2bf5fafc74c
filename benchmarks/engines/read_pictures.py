"""The training input of the peers: torchvision's transforms behind Pillow or behind torchvision's own decoder.

No decoder can shrink here: a crop of a picture of short side 384 is never twice as large as 224, so Pillow's `draft`
would change nothing.
"""

import io
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

SIDE = 224
BATCH = 64
WORKERS = 2


class Picture:
    """JPEG bytes -> uint8 (3, SIDE, SIDE), cropped and mirrored at random."""

    def __init__(self, decoder: str) -> None:
        decoders: dict[str, Callable[[bytes], object]] = {"pillow": _by_pillow, "torchvision": _by_torchvision}
        self._decode = decoders[decoder]
        last = [v2.PILToTensor()] if decoder == "pillow" else []
        crop = v2.RandomResizedCrop(SIDE, scale=(0.08, 1), antialias=True)
        self._transform = v2.Compose([crop, v2.RandomHorizontalFlip(), *last])

    def __call__(self, data: bytes) -> Tensor:
        picture: Tensor = self._transform(self._decode(data))
        return picture


def _by_pillow(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _by_torchvision(data: bytes) -> Tensor:
    return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
