import io

import numpy as np
import pytest
from PIL import Image

from ml_images.images.channels import to_pixels


def loaded(image: Image.Image, name: str, **options: object) -> Image.Image:
    """As a file of that format has it."""
    out = io.BytesIO()
    image.save(out, name, **options)
    back = Image.open(out)
    back.load()
    return back


def pixels_of(image: Image.Image) -> np.ndarray:
    return to_pixels(image, 384)


@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        *((mode, (4, 6)) for mode in ("L", "1", "LA", "I;16", "I", "F")),
        *((mode, (4, 6, 3)) for mode in ("RGB", "RGBA", "P", "YCbCr")),
        ("CMYK", (4, 6, 4)),
    ],
)
def test_every_mode_becomes_grey_rgb_or_cmyk(mode: str, shape: tuple[int, ...]) -> None:
    pixels = pixels_of(Image.new(mode, (6, 4)))
    assert (pixels.shape, pixels.dtype) == (shape, np.uint8)


@pytest.mark.parametrize(("grey", "expected"), [(0, 0), (255, 0), (256, 1), (32768, 128), (65535, 255)])
@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_upper_byte(name: str, grey: int, expected: int) -> None:
    image = loaded(Image.fromarray(np.full((20, 20), grey, dtype=np.uint16)), name)
    assert np.unique(pixels_of(image)).tolist() == [expected]


def test_a_transparent_grey_of_sixteen_bits_lies_over_white() -> None:
    values = np.full((20, 20), 0x1234, dtype=np.uint16)
    values[3, 4] = 0x1235
    pixels = pixels_of(loaded(Image.fromarray(values), "PNG", transparency=0x1234))
    assert pixels[0, 0] == 255 and pixels[3, 4] == 0x12


def test_thirty_two_bits_are_clipped_to_sixteen() -> None:
    image = Image.fromarray(np.array([[-5, 0, 256, 65535, 70_000]], dtype=np.int32))
    assert pixels_of(image).tolist() == [[0, 0, 1, 255, 255]]


def test_floats_are_stretched_over_their_range_and_nan_is_survived() -> None:
    values = np.full((20, 20), 0.5, dtype=np.float32)
    values[0, 0], values[0, 1], values[0, 2] = 0.0, 1.0, np.nan
    pixels = pixels_of(loaded(Image.fromarray(values), "TIFF"))
    assert pixels[0, :3].tolist() == [0, 255, 0]
    assert pixels[5, 5] == 127


def test_a_flat_float_picture_is_black() -> None:
    assert pixels_of(Image.fromarray(np.full((20, 20), 7.0, dtype=np.float32))).max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.putpixel((3, 4), (0, 0, 0, 255))
    pixels = pixels_of(loaded(image.convert(mode), "PNG"))
    assert np.all(pixels[0, 0] == 255) and np.all(pixels[4, 3] == 0)


def test_half_transparent_black_over_white_is_grey() -> None:
    assert np.abs(pixels_of(Image.new("RGBA", (20, 20), (0, 0, 0, 128))).astype(int) - 127).max() <= 1


def test_a_transparent_palette_colour_lies_over_white() -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 0, 250, 0, 0])
    image.putpixel((3, 4), 1)
    pixels = pixels_of(loaded(image, "PNG", transparency=0))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[4, 3].tolist() == [250, 0, 0]


def test_a_transparent_colour_of_an_rgb_picture_lies_over_white() -> None:
    image = Image.new("RGB", (20, 20), (255, 0, 0))
    image.putpixel((3, 4), (0, 255, 0))
    pixels = pixels_of(loaded(image, "PNG", transparency=(255, 0, 0)))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[4, 3].tolist() == [0, 255, 0]


@pytest.mark.parametrize("mode", ["L", "1"])
def test_a_transparent_grey_lies_over_white_and_stays_grey(mode: str) -> None:
    image = Image.new(mode, (20, 20), 0)
    image.putpixel((3, 4), 255)
    assert pixels_of(loaded(image, "PNG", transparency=0)).min() == 255
    assert pixels_of(loaded(image, "PNG", transparency=255)).tolist()[4][3] == 255
    assert pixels_of(loaded(image, "PNG", transparency=255))[0, 0] == 0


def test_what_is_averaged_down_leaves_hidden_colours_out() -> None:
    """Transparent pixels may hold any colour; it must not bleed into their neighbours."""
    pixels = np.zeros((400, 400, 4), dtype=np.uint8)
    pixels[:, ::2] = (200, 100, 50, 255)
    pixels[:, 1::2] = (0, 255, 0, 0)
    small = to_pixels(Image.fromarray(pixels), 50)
    assert small.shape == (100, 100, 3)
    expected = (np.array([200, 100, 50]) + 255) / 2
    assert np.abs(small - expected).max() <= 2
