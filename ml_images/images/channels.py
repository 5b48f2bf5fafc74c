"""Any of Pillow's pixel modes to 8 bits of grey, RGB or CMYK, alpha over white, at no more than the size needed.

A picture much larger than needed is averaged down in its own mode first: 110 megapixels with alpha then take 0.9 GB
at their peak instead of 2.2.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WITH_ALPHA = frozenset(("RGBA", "LA", "PA", "La", "RGBa"))
_GREY = frozenset(("L", "LA", "La", "1"))


def to_pixels(image: Image.Image, least_side: int) -> NDArray[np.uint8]:
    """uint8 of shape (h, w) for grey, (h, w, 3) for RGB, (h, w, 4) for CMYK; the shorter side may come out smaller
    than the picture's, but not below twice `least_side`."""
    image = _plain(image)
    factor = min(image.size) // (2 * least_side)
    if factor > 1:
        image = image.reduce(factor)
    if image.mode in ("LA", "RGBA"):
        mode = image.mode[:-1]
        white = Image.new(mode, image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return np.asarray(image)


def _plain(image: Image.Image) -> Image.Image:
    """In mode L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image)
    grey = image.mode in _GREY
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        # A transparent colour of a grey or RGB picture becomes alpha only on the way to RGBA.
        rgba = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
        return rgba.convert("LA") if grey and rgba.mode != "LA" else rgba
    if grey:
        return image.convert("L") if image.mode != "L" else image
    return image if image.mode in ("RGB", "CMYK") else image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Greyscale of 16 or 32 bits to 8: integers keep their upper byte of 16, floats are stretched over their range.

    Pillow's own conversion clips at 255, which turns nearly every 16-bit photograph white.
    """
    values = np.asarray(image)
    if image.mode != "F":
        if values.dtype.itemsize > 2:
            values = np.clip(values, 0, 65535)
        grey = (values >> 8).astype(np.uint8)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            grey[values == transparent] = 255  # over white
        return Image.fromarray(grey)
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64)
    low, high = finite.min(), finite.max()
    finite -= low
    finite *= 255.0 / max(high - low, 1e-300)
    return Image.fromarray(finite.astype(np.uint8))
