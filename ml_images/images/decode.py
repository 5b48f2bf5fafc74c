"""Bytes to an upright RGB picture, or the named reason why not.

A pixel cap read from the header comes before any pixel is decoded, a large JPEG is decoded at a fraction of its size
(the DCT does that for almost nothing), the EXIF orientation is applied exactly once, and an animation gives its first
frame. Truncated files are refused: half a picture must not carry the labels of a whole one.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ml_images.images.config import ImageConfig
from ml_images.images.sniff import sniff

# The first four are what Pillow 13 raised over 245 odd files and half a million randomly broken copies of them; the
# rest is what its parsers of binary formats let through in other versions. Anything else is our bug and stops the task.
_REFUSALS = (
    OSError,  # nine in ten
    SyntaxError,  # chunks out of order
    ValueError,
    RuntimeError,  # AVIF
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# A JPEG is decoded at the fraction that leaves at least this many times the short side for the real resampling. At
# worst of 17 photos to 256, PSNR against a whole decode is 46 dB with 1.5 and 33 dB with 1.
_DRAFT_GAP = 1.5

# How the stored pixels become upright, by the value of the EXIF orientation tag.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset((5, 6, 7, 8))


class ImageError(Exception):
    """The bytes are no usable picture; `outcome` is a name of ml_images.outcomes, `detail` says more."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome = outcome
        self.detail = detail


@dataclass(frozen=True)
class Decoded:
    image: Image.Image  # RGB, upright, no metadata; perhaps a fraction of the original size
    original_width: int  # of the whole picture, upright
    original_height: int


def silence_pillow() -> None:
    """Keep Pillow's warnings about odd files off stderr: every one of them ends in an outcome or does not matter.

    For batch functions to call once. It is process-wide, because warnings.catch_warnings is not safe among threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(data: bytes, cfg: ImageConfig) -> Decoded:
    """The picture in `data`; a JPEG may come at 1/2, 1/4 or 1/8 of its size, never below `cfg.short_side`.

    Raises ImageError with not_an_image, undecodable, too_many_pixels or too_small.
    """
    name = sniff(data)
    if name is None:
        raise ImageError("not_an_image", f"starts with {data[:12]!r}")
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            _check_size(image.size, cfg)
            size = image.size
            if name == "JPEG":
                image.draft(None, (round(cfg.short_side * _DRAFT_GAP),) * 2)
                image.load()
            else:
                image.load()
                size = image.size  # Pillow turns a TIFF upright as it loads
            turn = _orientation(image)
            rgb = _to_rgb(image)
    except _BOMBS as error:
        raise ImageError("too_many_pixels", str(error)) from error
    except UnidentifiedImageError as error:  # its message holds a memory address
        raise ImageError("undecodable", f"starts as {name}, but its header is broken") from error
    except _REFUSALS as error:
        raise ImageError("undecodable", f"{type(error).__name__}: {error}") from error
    if turn in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[turn])
    width, height = reversed(size) if turn in _SIDEWAYS else size
    rgb.info.clear()  # Pillow would write comments and colour profiles into the stored picture
    return Decoded(rgb, width, height)


def _check_size(size: tuple[int, int], cfg: ImageConfig) -> None:
    width, height = size
    if width * height > cfg.max_pixels:
        raise ImageError("too_many_pixels", f"{width}x{height}, max_pixels is {cfg.max_pixels}")
    if min(width, height) < cfg.min_side:
        raise ImageError("too_small", f"{width}x{height}, min_side is {cfg.min_side}")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation (XMP's where EXIF has none), 1 where it is missing, broken or was already applied."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except _REFUSALS:
        return 1  # good pixels with broken metadata are a good picture


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Greyscale of 16 or 32 bits to 8: integers keep their upper byte of 16, floats are stretched over their range.

    Pillow's own conversion clips at 255, which turns nearly every 16-bit photograph white.
    """
    values = np.asarray(image)
    if image.mode != "F":
        return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    return Image.fromarray(((finite - low) * (255.0 / max(high - low, 1e-300))).astype(np.uint8))
