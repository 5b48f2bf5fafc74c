"""JPEG bytes to the square that a network sees, in a place that is already there.

The crop is chosen from the size in the header, and only its part of the picture is decoded, at 1/2, 1/4 or 1/8 of the
size where the crop is large enough for that. Ordinary files go through TurboJPEG; where that is not installed through
simplejpeg, whole; and unusual ones (CMYK, turned by EXIF, odd in any way) through Pillow, which also decides what is a
picture when it is fetched: what is `ok` there can be trained with.
"""

import io
import math
import struct
from collections.abc import Callable

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from ml_images.images.orientation import upright
from ml_images.train import turbojpeg
from ml_images.train.crops import Crop
from ml_images.train.resample import reflect, resample

ChooseCrop = Callable[[int, int], Crop]  # of the width and the height of a picture
UInt8 = NDArray[np.uint8]

# What Pillow raises for broken files and metadata: see images/decode.py.
_REFUSALS = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, struct.error)

_SHRINKS = 8, 4, 2, 1
_EXIF = b"Exif\0\0"
_FILL = 0xFF
_LAST = 0xDA, 0xD9  # start of scan, end of image
_SCAN = b"\xff\xda"  # nowhere else in a scan: there 0xFF is followed by 0 or a restart


class BadImage(Exception):
    """Bytes that are no JPEG, or a broken one; says what the decoder says."""


def decode_crop(data: bytes | memoryview, choose: ChooseCrop, out: UInt8) -> None:
    """Fill `out`, uint8 (side, side, 3), with the crop that `choose` names for the size of the picture in `data`.

    Raises BadImage, and leaves anything in `out` then.
    """
    if not _is_turned(data):
        decoder = turbojpeg.decoder()
        is_filled = _decode_whole(data, choose, out) if decoder is None else _decode_part(decoder, data, choose, out)
        if is_filled:
            return
    _decode_unusual(data, choose, out)


def _decode_part(decoder: turbojpeg.Decoder, data: bytes | memoryview, choose: ChooseCrop, out: UInt8) -> bool:
    """As decode_crop, by TurboJPEG; False for what Pillow has to look at: also all that libjpeg only warns of, such as
    bytes too many before a marker, which Pillow passes over."""
    header = decoder.header(data)
    if header is None:
        return False
    crop = choose(header.width, header.height)
    shrink = _shrink(crop, out.shape[0])
    try:
        region = decoder.decode(data, header, _pixels_of(crop, header, shrink, out.shape[0]), shrink)
    except ValueError:
        return False
    size = -(-header.width // shrink), -(-header.height // shrink)
    _fill(out, region.pixels, (region.x, region.y), size, crop, shrink)
    return True


def _decode_whole(data: bytes | memoryview, choose: ChooseCrop, out: UInt8) -> bool:
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
    _fill(out, pixels, (0, 0), (pixels.shape[1], pixels.shape[0]), crop, shrink)
    return True


def _decode_unusual(data: bytes | memoryview, choose: ChooseCrop, out: UInt8) -> None:
    if bytes(data).count(_SCAN) > turbojpeg.MOST_SCANS:  # Pillow has no limit
        raise BadImage(f"it has more than {turbojpeg.MOST_SCANS} scans")
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        pixels = np.asarray(image.convert("RGB"))
        orientation = _orientation(image)
    except (*_REFUSALS, Image.DecompressionBombError) as error:
        told = "it is no JPEG" if isinstance(error, UnidentifiedImageError) else str(error)  # which names a BytesIO
        raise BadImage(f"{type(error).__name__}: {told}") from error
    pixels = np.array(upright(pixels, orientation), order="C")  # Pillow's cannot be written to, and torch warns of that
    crop = choose(pixels.shape[1], pixels.shape[0])
    _fill(out, pixels, (0, 0), (pixels.shape[1], pixels.shape[0]), crop, 1)


def _fill(out: UInt8, pixels: UInt8, at: tuple[int, int], size: tuple[int, int], crop: Crop, shrink: int) -> None:
    """Put `crop` into `out`. pixels: those from `at` (x, y) on of a picture shrunk to `size`, all that the crop needs.

    A pixel of the shrunk picture is exactly `shrink` by `shrink` of the whole; the last ones stick out.
    """
    x, y = at
    left, upper, right, lower = (edge / shrink for edge in crop.box)
    if crop.reflect:
        needed = _needed(crop, shrink, out.shape[0])
        pixels, (x, y) = reflect(pixels, at, size, needed), needed[:2]
    box = left - x, upper - y, right - x, lower - y
    resample(pixels, box, out, antialias=crop.antialias, mirror=crop.mirror, cut=crop.cut)


def _orientation(image: Image.Image) -> int:
    """What EXIF says, 1 where it is broken: good pixels with broken metadata are a good picture."""
    try:
        tag = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _REFUSALS:
        return 1
    return tag if isinstance(tag, int) else 1


def _is_turned(data: bytes | memoryview) -> bool:
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
    pixel of the square, and the box of a shrunk picture is off by less than one. What is reflected into a crop lies
    within as well, as its box reaches less than half of itself beyond the picture."""
    left, upper, right, lower = _needed(crop, shrink, side)
    return (
        max(0, left),
        max(0, upper),
        min(-(-header.width // shrink), right),
        min(-(-header.height // shrink), lower),
    )


def _needed(crop: Crop, shrink: int, side: int) -> tuple[int, int, int, int]:
    """_pixels_of, also beyond the picture."""
    left, upper, right, lower = (edge / shrink for edge in crop.box)
    beyond_x, beyond_y = (2 + math.ceil(extent / side / 2) for extent in (right - left, lower - upper))
    return (
        math.floor(left) - beyond_x,
        math.floor(upper) - beyond_y,
        math.ceil(right) + beyond_x,
        math.ceil(lower) + beyond_y,
    )
