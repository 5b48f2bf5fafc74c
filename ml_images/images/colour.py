"""Grey, RGB or CMYK with its ICC profile to RGB, by the option `icc`.

A broken profile, or one of another colour space than the pixels, is ignored: good pixels with broken metadata are a
good picture. A profile is sRGB where it says so by its numbers: nine in ten profiles of photographs are sRGB under one
of many names, and need no conversion.
"""

import functools
import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ml_images.images.jpeg import fits_into_jpeg

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}  # by Pillow's mode, as the profile's header has it
_SAME = 2  # of 255: versions of sRGB differ by so much in rounding
_REFUSALS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


def to_rgb(
    pixels: NDArray[np.uint8], profile: bytes | None, icc: Literal["drop", "srgb", "keep"]
) -> tuple[NDArray[np.uint8], bytes | None]:
    """RGB (h, w, 3) of pixels (h, w), (h, w, 3) or (h, w, 4: CMYK), and the profile to store with it, if any.

    keep can keep the profiles of RGB pictures only; the stored picture is RGB, so grey and CMYK become sRGB.
    """
    mode = {2: "L", 3: "RGB"}.get(pixels.ndim if pixels.ndim == 2 else pixels.shape[2], "CMYK")
    if profile is not None and icc != "drop":
        if icc == "keep" and mode == "RGB":
            return pixels, profile if _opened(profile, mode) and fits_into_jpeg(profile) else None
        transform = _to_srgb(profile, mode)
        if transform is not None:
            return np.asarray(transform.apply(_image(pixels, mode))), None
    if mode == "L":
        return np.repeat(pixels[:, :, None], 3, axis=2), None
    return (pixels if mode == "RGB" else np.asarray(_image(pixels, mode).convert("RGB"))), None


def _image(pixels: NDArray[np.uint8], mode: str) -> Image.Image:
    height, width = pixels.shape[:2]
    return Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())


def _opened(profile: bytes, mode: str) -> ImageCms.ImageCmsProfile | None:
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return opened if opened.profile.xcolor_space == _SPACES[mode] else None
    except _REFUSALS:
        return None


@functools.lru_cache(maxsize=16)  # a hundred profiles cover most of the photographs of the web; one takes up to 1 MB
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from the profile to sRGB; None where there is none or nothing to do."""
    opened = _opened(profile, mode)
    if opened is None:
        return None
    try:
        transform = ImageCms.ImageCmsTransform(opened, _srgb(), mode, "RGB")
        return None if mode != "CMYK" and _changes_little(transform, mode) else transform
    except _REFUSALS:
        return None


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    steps = np.linspace(0, 255, 18 if mode == "RGB" else 256).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3) if mode == "RGB" else steps[None, :]
    changed = np.asarray(transform.apply(_image(cube, mode))).astype(int)
    return bool(np.abs(changed - (cube if mode == "RGB" else cube[..., None])).max() <= _SAME)
