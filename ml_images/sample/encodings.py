"""The file formats of the world's pictures: the ordinary ones, and each odd one that real collections hold."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from ml_images.sample.pictures import paint
from ml_images.sample.scenes import Scene, compose

Rng = np.random.Generator


@dataclass(frozen=True)
class Encoding:
    """One way to store a picture; `size` is its range of sides in pixels."""

    name: str
    suffix: str
    encode: Callable[[Image.Image, Rng], bytes]
    neutral: bool = False  # stored without colour, so the scene must do without
    sides: tuple[int, int] = (96, 200)


@dataclass(frozen=True)
class Picture:
    """A picture file: what it shows, how it is stored, its upright size in pixels, its bytes."""

    scene: Scene
    encoding: Encoding
    width: int
    height: int
    data: bytes


def make(seed: int, index: int, encoding: Encoding) -> Picture:
    """Picture `index` of the world `seed` in the given encoding; the same bytes each time."""
    scene = compose(seed, index, neutral=encoding.neutral)
    rng = np.random.default_rng([seed, index, 3])
    low, high = encoding.sides
    width, height = (int(side) for side in rng.integers(low, high + 1, 2))
    width += width == height  # never square: a reader that forgets an EXIF quarter turn gets the sides wrong too
    image = paint(scene, width, height, rng)
    return Picture(scene, encoding, width, height, encoding.encode(image, rng))


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _jpeg(image: Image.Image, rng: Rng) -> bytes:
    return _saved(image, "JPEG", quality=int(rng.integers(85, 96)))


def _png(image: Image.Image, rng: Rng) -> bytes:
    return _saved(image, "PNG")


# Stored pixels = upright picture transposed by this; a reader that obeys the tag undoes it (EXIF 2.3, tag 0x0112).
_STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def _turned(orientation: int) -> Encoding:
    def encode(image: Image.Image, rng: Rng) -> bytes:
        exif = Image.Exif()
        exif[0x0112] = orientation
        return _saved(image.transpose(_STORED_AS[orientation]), "JPEG", quality=90, exif=exif)

    return Encoding(f"exif_orientation_{orientation}", ".jpg", encode)


def _progressive(image: Image.Image, rng: Rng) -> bytes:
    return _saved(image, "JPEG", quality=92, progressive=True)


def _cmyk(image: Image.Image, rng: Rng) -> bytes:
    return _saved(image.convert("CMYK"), "JPEG", quality=92)


def _grey_jpeg(image: Image.Image, rng: Rng) -> bytes:
    return _saved(image.convert("L"), "JPEG", quality=90)


def _grey_16_bit_png(image: Image.Image, rng: Rng) -> bytes:
    deep = np.asarray(image.convert("L"), np.uint16) * 257
    return _saved(Image.fromarray(deep), "PNG")


def _palette_png(image: Image.Image, rng: Rng) -> bytes:
    return _saved(image.quantize(64), "PNG")


def _with_clear_corners(image: Image.Image) -> Image.Image:
    """RGBA with an alpha that falls to 0 in the corners only: no label depends on what a reader puts behind it."""
    y, x = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    alpha = (np.hypot(x, y) < 1.25) * 255
    clear = image.copy()
    clear.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    return clear


def _alpha_png(image: Image.Image, rng: Rng) -> bytes:
    return _saved(_with_clear_corners(image), "PNG")


def _alpha_webp(image: Image.Image, rng: Rng) -> bytes:
    return _saved(_with_clear_corners(image), "WEBP", quality=90)


def _gif(image: Image.Image, rng: Rng) -> bytes:
    return _saved(image.quantize(128), "GIF")


def _animated_gif(image: Image.Image, rng: Rng) -> bytes:
    """The picture first, then two frames that belie every label."""
    others = [Image.new("RGB", image.size, colour).quantize(2) for colour in ("magenta", "cyan")]
    return _saved(image.quantize(128), "GIF", save_all=True, append_images=others, duration=200, loop=0)


def _bmp(image: Image.Image, rng: Rng) -> bytes:
    return _saved(image, "BMP")


def _tiff(image: Image.Image, rng: Rng) -> bytes:
    return _saved(image, "TIFF")


JPEG = Encoding("jpeg", ".jpg", _jpeg)
PNG = Encoding("png", ".png", _png)

ODD: tuple[Encoding, ...] = (
    *(_turned(orientation) for orientation in _STORED_AS),
    Encoding("progressive", ".jpg", _progressive),
    Encoding("cmyk", ".jpg", _cmyk),
    Encoding("grey_jpeg", ".jpg", _grey_jpeg, neutral=True),
    Encoding("grey_16_bit_png", ".png", _grey_16_bit_png, neutral=True),
    Encoding("palette_png", ".png", _palette_png),
    Encoding("alpha_png", ".png", _alpha_png),
    Encoding("alpha_webp", ".webp", _alpha_webp),
    Encoding("gif", ".gif", _gif),
    Encoding("animated_gif", ".gif", _animated_gif),
    Encoding("bmp", ".bmp", _bmp),
    Encoding("tiff", ".tif", _tiff),
    Encoding("tiny", ".png", _png, sides=(24, 32)),
)
LARGE = Encoding("large", ".jpg", _jpeg, sides=(440, 620))  # larger than the training size, short side 384


def encoding_of(index: int) -> Encoding:
    """Every other picture is odd until each odd encoding had its turn; then JPEG, now and then PNG, seldom large."""
    if index % 2 and index // 2 < len(ODD):
        return ODD[index // 2]
    if index % 60 == 50:
        return LARGE
    return PNG if index % 6 == 0 else JPEG


def broken(kind: str, data: bytes) -> bytes:
    """What is stored under the name of a picture of these bytes when it is broken in one of the ways of plan.BROKEN."""
    return {
        "cut_short": data[: len(data) * 2 // 3],
        "web_page": b"<!DOCTYPE html><html><body>Please log in to see this photo.</body></html>\n",
        "no_bytes": b"",
        "one_pixel": _saved(Image.new("RGB", (1, 1)), "JPEG"),  # as pages use them to count visitors
    }[kind]


def unavailable_photo() -> bytes:
    """What a host shows in place of a photo that is gone: a grey PNG of 500x374 pixels, the size that Flickr uses."""
    image = Image.new("RGB", (500, 374), (242, 242, 242))
    image.paste((215, 215, 215), (150, 97, 350, 277))  # an empty frame
    image.paste((242, 242, 242), (162, 109, 338, 265))
    return _saved(image, "PNG")
