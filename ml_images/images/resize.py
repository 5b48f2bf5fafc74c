"""Bytes of any picture to the JPEG that is stored: upright, RGB, short side bounded, without metadata.

Every picture is encoded anew, also a JPEG that is small already. So what lies in the table was decoded once for
certain, and carries no EXIF (places, names, thumbnails), no comments and no second orientation.
"""

import io
from dataclasses import dataclass

from PIL import Image

from ml_images.images.config import ImageConfig
from ml_images.images.decode import ImageError, decode
from ml_images.images.hashing import dhash

_JPEG_MAX_SIDE = 65_500  # libjpeg's JPEG_MAX_DIMENSION


@dataclass(frozen=True)
class Shrunk:
    data: bytes  # JPEG
    width: int
    height: int
    original_width: int  # upright
    original_height: int
    phash: int  # signed 64 bits


def shrink(data: bytes, cfg: ImageConfig) -> Shrunk:
    """The training-size JPEG of a picture, with its sizes and perceptual hash. Raises ImageError as `decode` does."""
    decoded = decode(data, cfg)
    width, height = fit(decoded.original_width, decoded.original_height, cfg.short_side)
    if max(width, height) > _JPEG_MAX_SIDE:
        raise ImageError("too_many_pixels", f"{width}x{height}, a JPEG side ends at {_JPEG_MAX_SIDE}")
    image = decoded.image
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=cfg.quality)
    return Shrunk(out.getvalue(), width, height, decoded.original_width, decoded.original_height, dhash(image))


def fit(width: int, height: int, short_side: int) -> tuple[int, int]:
    """The size with its shorter side at `short_side` pixels, aspect ratio kept; a smaller one stays as it is."""
    short = min(width, height)
    if short <= short_side:
        return width, height
    return round(width * short_side / short), round(height * short_side / short)
