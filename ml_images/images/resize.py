"""Bytes of any picture to the JPEG that is stored: upright, RGB, short side bounded, without metadata.

Every picture is encoded anew, also a JPEG that is small already. So what lies in the table was decoded once for
certain, and carries no EXIF (places, names, thumbnails), no comments and no second orientation. With short_side
`original` the bytes are kept as they are instead: of any format, with all their metadata, decoded once to verify them
(a JPEG at an eighth of its size, which reads all of its bytes), and not turned.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_images.images.area import averaged
from ml_images.images.colour import to_rgb
from ml_images.images.config import ImageConfig
from ml_images.images.cpu_time import CpuTime
from ml_images.images.decode import ImageError, decode
from ml_images.images.hashing import dhash
from ml_images.images.jpeg import encode_jpeg
from ml_images.images.orientation import upright

_JPEG_MAX_SIDE = 65_500  # libjpeg's JPEG_MAX_DIMENSION


@dataclass(frozen=True)
class Shrunk:
    data: bytes  # JPEG; with short_side `original` the bytes as received, of any format
    width: int  # of the pixels in `data`, as they lie there
    height: int
    original_width: int  # of the whole picture, upright
    original_height: int
    phash: int  # signed 64 bits


def shrink(data: bytes, cfg: ImageConfig, rotation: int = 0, cpu: CpuTime | None = None) -> Shrunk:
    """The training-size JPEG of a picture, with its sizes and perceptual hash; `rotation` and ImageError as `decode`
    has them. `cpu` is marked after each stage."""
    cpu = cpu or CpuTime()
    decoded = decode(data, cfg, rotation)
    cpu.mark("decode")
    width, height = fit(decoded.stored_width, decoded.stored_height, cfg.side)
    if max(width, height) > _JPEG_MAX_SIDE and not cfg.keeps_bytes:
        raise ImageError("too_many_pixels", f"{width}x{height}, a JPEG side ends at {_JPEG_MAX_SIDE}")
    rgb, profile = to_rgb(resized(decoded.pixels, width, height), decoded.profile, cfg.icc)
    rgb = np.ascontiguousarray(upright(rgb, decoded.orientation))
    cpu.mark("resize")
    phash = dhash(rgb)
    cpu.mark("hash")
    if cfg.keeps_bytes:
        return Shrunk(data, decoded.stored_width, decoded.stored_height, *decoded.original_size, phash)
    stored = encode_jpeg(rgb, cfg.quality, profile)
    cpu.mark("encode")
    return Shrunk(stored, rgb.shape[1], rgb.shape[0], *decoded.original_size, phash)


def fit(width: int, height: int, short_side: int) -> tuple[int, int]:
    """The size with its shorter side at `short_side` pixels, aspect ratio kept; a smaller one stays as it is."""
    short = min(width, height)
    if short <= short_side:
        return width, height
    return round(width * short_side / short), round(height * short_side / short)


def resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """`pixels` (h, w), (h, w, 3) or (h, w, 4) at another size, not enlarged."""
    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.ndim == 2:
        return averaged(np.repeat(pixels[:, :, None], 3, axis=2), width, height)[:, :, 0]
    if pixels.shape[2] == 4:  # CMYK, rare: two passes for four channels
        return np.dstack(
            (averaged(pixels[:, :, :3], width, height), averaged(pixels[:, :, 1:], width, height)[:, :, 2])
        )
    return averaged(pixels, width, height)
