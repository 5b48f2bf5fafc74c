"""JPEG bytes to the square that a network sees, in a place that is already there.

The crop is chosen from the size in the header, and only its part of the picture is decoded, at 1/2, 1/4 or 1/8 of the
size where the crop is large enough for that. Ordinary files go through TurboJPEG; where that is not installed through
simplejpeg, whole; and unusual ones (CMYK, turned by EXIF) through Pillow.
"""

import io
import math
import struct
from collections.abc import Callable

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ml_images.images.orientation import upright
from ml_images.train import turbojpeg
from ml_images.train.crops import Crop
from ml_images.train.resample import resample

ChooseCrop = Callable[[int, int], Crop]  # of the width and the height of a picture
UInt8 = NDArray[np.uint8]

# What Pillow raises for broken files and metadata: see images/decode.py.
_REFUSALS = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, struct.error)

_SHRINKS = 8, 4, 2, 1
_EXIF = b"Exif\0\0"
_FILL = 0xFF
_LAST = 0xDA, 0xD9  # start of scan, end of image


class BadImage(Exception):
    """Bytes that are no JPEG, or a broken one; says what the decoder says."""


def decode_crop(data: bytes, choose: ChooseCrop, out: UInt8) -> None:
    """Fill `out`, uint8 (side, side, 3), with the crop that `choose` names for the size of the picture in `data`.

    Raises BadImage, and leaves anything in `out` then.
    """
    side = out.shape[0]
    if not _is_turned(data):
        decoder = turbojpeg.decoder()
        header = None if decoder is None else decoder.header(data)
        if decoder is not None and header is not None:
            crop = choose(header.width, header.height)
            shrink = _shrink(crop, side)
            try:
                region = decoder.decode(data, header, _pixels_of(crop, header, shrink, side), shrink)
            except ValueError as error:
                raise BadImage(str(error)) from error
            left, upper, right, lower = (edge / shrink for edge in crop.box)
            moved = (left - region.x, upper - region.y, right - region.x, lower - region.y)
            resample(region.pixels, moved, out, antialias=crop.antialias, mirror=crop.mirror)
            return
        if decoder is None and _decode_whole(data, choose, out):
            return
    _decode_unusual(data, choose, out)


def _decode_whole(data: bytes, choose: ChooseCrop, out: UInt8) -> bool:
    """As decode_crop, by simplejpeg; False for what Pillow has to look at."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours in ("CMYK", "YCCK"):
            return False
        crop = choose(width, height)
        shrink = _shrink(crop, out.shape[0])
        least = {"min_height": -(-height // shrink), "min_width": -(-width // shrink), "min_factor": 2}
        pixels = simplejpeg.decode_jpeg(data, "RGB", **(least if shrink > 1 else {}))
    except ValueError:
        return False
    # A pixel of the shrunk picture is exactly `shrink` by `shrink` of the whole; the last ones stick out.
    left, upper, right, lower = (edge / shrink for edge in crop.box)
    resample(pixels, (left, upper, right, lower), out, antialias=crop.antialias, mirror=crop.mirror)
    return True


def _decode_unusual(data: bytes, choose: ChooseCrop, out: UInt8) -> None:
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        pixels = np.asarray(image.convert("RGB"))
        orientation = _orientation(image)
    except (*_REFUSALS, Image.DecompressionBombError) as error:
        raise BadImage(f"{type(error).__name__}: {error}") from error
    pixels = np.ascontiguousarray(upright(pixels, orientation))
    crop = choose(pixels.shape[1], pixels.shape[0])
    resample(pixels, crop.box, out, antialias=crop.antialias, mirror=crop.mirror)


def _orientation(image: Image.Image) -> int:
    """What EXIF says, 1 where it is broken: good pixels with broken metadata are a good picture."""
    try:
        tag = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _REFUSALS:
        return 1
    return tag if isinstance(tag, int) else 1


def _is_turned(data: bytes) -> bool:
    """May EXIF say that the picture is turned? Looks at all segments before the first scan: comments, tables and fill
    bytes may lie before those of applications (ITU-T T.81, B.1.1.2 and B.2.1)."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == _FILL:
            at += 1
            continue
        if marker in _LAST:
            return False
        if data[at + 4 : at + 10] == _EXIF:
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _shrink(crop: Crop, side: int) -> int:
    """The strongest of _SHRINKS that leaves the box at least as large as the square; none where the picture is not to
    be smoothed, as a smaller one is."""
    if not crop.antialias:
        return 1
    least = min(crop.box[2] - crop.box[0], crop.box[3] - crop.box[1])
    return next((shrink for shrink in _SHRINKS if least >= side * shrink), 1)


def _pixels_of(crop: Crop, header: turbojpeg.Header, shrink: int, side: int) -> tuple[int, int, int, int]:
    """The pixels of the shrunk picture that the crop needs: the triangle of the filter reaches beyond the box by half a
    pixel of the square, and the box of a shrunk picture is off by less than one."""
    left, upper, right, lower = (edge / shrink for edge in crop.box)
    beyond_x, beyond_y = (2 + math.ceil(extent / side / 2) for extent in (right - left, lower - upper))
    return (
        max(0, math.floor(left) - beyond_x),
        max(0, math.floor(upper) - beyond_y),
        min(-(-header.width // shrink), math.ceil(right) + beyond_x),
        min(-(-header.height // shrink), math.ceil(lower) + beyond_y),
    )
