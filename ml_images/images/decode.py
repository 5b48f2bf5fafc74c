"""Bytes to pixels that are as large as needed, or the named reason why not.

A pixel cap read from the header comes before any pixel is decoded (AVIF alone can lie there, whose container may tell
less than its picture holds: that is bounded by the decoder process's limit of memory), a large JPEG is decoded at a
fraction of its size (the DCT does that for almost nothing), and an animation gives its first frame. Truncated files are
refused: half a picture must not carry the labels of a whole one. Pillow reads every header and most formats; the pixels
of an ordinary JPEG come from libjpeg-turbo directly (ml_images.images.jpeg).
"""

import functools
import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ml_images.images.channels import to_pixels
from ml_images.images.config import ImageConfig
from ml_images.images.jpeg import decode_jpeg
from ml_images.images.orientation import BY_ROTATION, upright_size
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
_TILE_SIDES = (322, 323)  # tags of TIFF 6.0, section 15
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# A JPEG is decoded at the fraction that leaves at least this many times the short side for the real resampling. PSNR
# against a whole decode and Lanczos over 98 photos to short side 96: 38.2 dB in the mean without fractions, 34.4 (at
# worst 27.3) with 1.5, 34.5 (26.0) with 2, 32.1 (22.9) with 1. To 256 most of these photos are decoded whole.
_DCT_GAP = 1.5


class ImageError(Exception):
    """The bytes are no usable picture; `outcome` is a name of ml_images.outcomes, `detail` says more."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome = outcome
        self.detail = detail


@dataclass(frozen=True, eq=False)
class Decoded:
    pixels: NDArray[np.uint8]  # (h, w) grey, (h, w, 3) RGB or (h, w, 4) CMYK, as stored; perhaps of a fraction
    orientation: int  # how they become upright: a number of EXIF
    profile: bytes | None  # ICC
    stored_width: int  # of the whole picture, as stored
    stored_height: int

    @property
    def original_size(self) -> tuple[int, int]:
        """Width and height of the whole picture, upright."""
        return upright_size(self.stored_width, self.stored_height, self.orientation)


def silence_pillow() -> None:
    """Keep Pillow's warnings about odd files off stderr: every one of them ends in an outcome or does not matter.

    For batch functions to call once. It is process-wide, because warnings.catch_warnings is not safe among threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(data: bytes, cfg: ImageConfig, rotation: int = 0) -> Decoded:
    """The picture in `data`, of any size down to `cfg.side` that its format gives cheaply.

    `rotation`: 90, 180 or 270 degrees counter-clockwise that make the stored pixels upright; they replace EXIF's
    orientation, which 0 leaves in force. Pixels that the format's reader has turned itself (HEIF's always, TIFF's by
    its tag; AVIF's tells its container's turn as EXIF) are upright already.

    Raises ImageError with not_an_image, unsupported_format, undecodable, too_many_pixels or too_small.
    """
    given = BY_ROTATION[rotation]  # out here, as a KeyError in there would be the picture's fault
    name = sniff(data)
    if name is None:
        raise ImageError("not_an_image", f"starts with {data[:12]!r}")
    if not _has_reader(name):
        raise ImageError("unsupported_format", f"{name}, which no installed library reads")
    if name == "WEBP" and data[12:16] == b"VP8X":  # Pillow makes room for all of an animation before it tells its size
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        _check_pixels(width, height, cfg)
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            _check_size(image.size, cfg)
            if isinstance(image, TiffImageFile):  # a tile is unpacked whole, however little of it the picture needs
                width, height = (int(image.tag_v2.get(tag, 0)) for tag in _TILE_SIDES)
                _check_pixels(width, height, cfg)
            return _decode(image, name, data, cfg, given)
    except _BOMBS as error:
        raise ImageError("too_many_pixels", str(error)) from error
    except UnidentifiedImageError as error:  # its message holds a memory address
        raise ImageError("undecodable", f"starts as {name}, but its header is broken") from error
    except _REFUSALS as error:
        raise ImageError("undecodable", f"{type(error).__name__}: {error}") from error


def _decode(image: Image.Image, name: str, data: bytes, cfg: ImageConfig, given: int) -> Decoded:
    least_side, size, pixels = round(cfg.side * _DCT_GAP), image.size, None
    # A TIFF's tag is gone with the turn. The other formats are asked later: PNG's EXIF may come after the pixels.
    turned = name == "HEIF" or (name == "TIFF" and _orientation(image) in range(2, 9))
    if name == "JPEG":
        pixels = decode_jpeg(data, image.mode, least_side)
        if pixels is None:
            image.draft(None, (least_side, least_side))
    if pixels is None:
        image.load()
        transparent = image.info.get("transparency")
        if name == "PNG" and data[24] == 16 and isinstance(transparent, tuple):  # of 16 bits, where pixels have 8 now
            image.info["transparency"] = tuple(value >> 8 for value in transparent)
        size = image.size if name != "JPEG" else size
        pixels = to_pixels(image, cfg.side)
    orientation = 1 if turned else given if given != 1 else _orientation(image)
    return Decoded(pixels, orientation, image.info.get("icc_profile"), *size)


def optional_formats() -> list[str]:
    """Those that an installed library reads, of the formats that need one."""
    return [name for name in ("AVIF", "HEIF") if _has_reader(name)]


@functools.cache
def _has_reader(name: str) -> bool:
    """Is there one for the formats that come with optional libraries? Makes it known to Pillow, on one thread."""
    if name == "AVIF":
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        return AvifImagePlugin.SUPPORTED
    if name == "HEIF":
        try:
            import pillow_heif
        except ImportError:
            return False
        pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    return True


def _check_pixels(width: int, height: int, cfg: ImageConfig) -> None:
    if width * height > cfg.max_pixels:
        raise ImageError("too_many_pixels", f"{width}x{height}, max_pixels is {cfg.max_pixels}")


def _check_size(size: tuple[int, int], cfg: ImageConfig) -> None:
    width, height = size
    _check_pixels(width, height, cfg)
    if min(width, height) < cfg.min_side:
        raise ImageError("too_small", f"{width}x{height}, min_side is {cfg.min_side}")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation (XMP's where EXIF has none), 1 where it is missing or broken."""
    try:
        tag = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _REFUSALS:
        return 1  # good pixels with broken metadata are a good picture
    return tag if isinstance(tag, int) else 1
