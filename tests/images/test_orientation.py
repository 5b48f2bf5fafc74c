import numpy as np
import pytest
from PIL import Image, ImageOps

from ml_images.images.orientation import BY_ROTATION, upright, upright_size

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(10))
def test_pixels_are_turned_as_pillow_turns_them(orientation: int) -> None:
    image = Image.fromarray(PIXELS)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    turned = upright(PIXELS, orientation)
    assert np.array_equal(turned, expected)
    assert upright_size(6, 4, orientation) == turned.shape[1::-1]


@pytest.mark.parametrize(("degrees", "quarters"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_rotations_count_counter_clockwise(degrees: int, quarters: int) -> None:
    assert np.array_equal(upright(PIXELS, BY_ROTATION[degrees]), np.rot90(PIXELS, quarters))


def test_grey_pixels_turn_too() -> None:
    assert upright(PIXELS[..., 0], 6).shape == (6, 4)
