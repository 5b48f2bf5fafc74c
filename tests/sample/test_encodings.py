from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from ml_images.sample.encodings import JPEG, LARGE, ODD, PNG, Encoding, Picture, encoding_of, make, unavailable_photo
from ml_images.sample.pictures import paint
from ml_images.sample.plan import FEWEST_IMAGES

BY_NAME = {encoding.name: encoding for encoding in (JPEG, PNG, LARGE, *ODD)}


def opened(picture: Picture) -> Image.Image:
    image = Image.open(BytesIO(picture.data))
    image.load()
    return image


def upright_rgb(picture: Picture) -> np.ndarray:
    image = opened(picture)
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.float32)


def as_painted(seed: int, index: int, picture: Picture) -> np.ndarray:
    """The same scene painted again, stored in no format at all."""
    rng = np.random.default_rng([seed, index, 3])
    rng.integers(*picture.encoding.sides, 2, endpoint=True)
    return np.asarray(paint(picture.scene, picture.width, picture.height, rng), np.float32)


@pytest.mark.parametrize("encoding", BY_NAME.values(), ids=BY_NAME.keys())
def test_every_encoding_decodes_upright_to_what_was_painted(encoding: Encoding) -> None:
    picture = make(3, 11, encoding)
    decoded = upright_rgb(picture)
    assert decoded.shape == (picture.height, picture.width, 3)
    assert picture.width != picture.height
    # 64 palette colours are the coarsest encoding; a wrong orientation or a wrong frame differs by 40 and more.
    assert np.abs(decoded - as_painted(3, 11, picture)).mean() < 8


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_turned_pictures_are_stored_turned(orientation: int) -> None:
    picture = make(1, 4, BY_NAME[f"exif_orientation_{orientation}"])
    image = opened(picture)
    assert image.getexif()[0x0112] == orientation
    assert (image.size == (picture.width, picture.height)) == (orientation < 5)
    if orientation < 5:
        assert np.abs(np.asarray(image, np.float32) - as_painted(1, 4, picture)).mean() > 20


@pytest.mark.parametrize(
    ("name", "format", "mode"),
    [
        ("progressive", "JPEG", "RGB"),
        ("cmyk", "JPEG", "CMYK"),
        ("grey_jpeg", "JPEG", "L"),
        ("grey_16_bit_png", "PNG", "I;16"),
        ("palette_png", "PNG", "P"),
        ("alpha_png", "PNG", "RGBA"),
        ("alpha_webp", "WEBP", "RGBA"),
        ("gif", "GIF", "P"),
        ("bmp", "BMP", "RGB"),
        ("tiff", "TIFF", "RGB"),
    ],
)
def test_odd_encodings_are_what_they_are_called(name: str, format: str, mode: str) -> None:
    image = opened(make(2, 5, BY_NAME[name]))
    assert (image.format, image.mode) == (format, mode)
    assert (name == "progressive") == ("progressive" in image.info)


def test_the_animated_gif_has_other_frames_after_the_first() -> None:
    image = Image.open(BytesIO(make(2, 5, BY_NAME["animated_gif"]).data))
    assert image.n_frames == 3
    first = np.asarray(image.convert("RGB"))
    image.seek(1)
    assert np.abs(np.asarray(image.convert("RGB"), np.float32) - first).mean() > 50


def test_alpha_is_clear_in_the_corners_only() -> None:
    alpha = np.asarray(opened(make(2, 5, BY_NAME["alpha_png"])).getchannel("A"))
    assert alpha[0, 0] == alpha[-1, -1] == 0
    assert (alpha == 255).mean() > 0.9


def test_large_and_tiny_pictures_have_such_sides() -> None:
    large, tiny = make(1, 0, BY_NAME["large"]), make(1, 0, BY_NAME["tiny"])
    assert min(large.width, large.height) > 384
    assert max(tiny.width, tiny.height) <= 33


def test_the_same_seed_and_index_give_the_same_bytes_and_others_give_others() -> None:
    for encoding in BY_NAME.values():
        assert make(1, 9, encoding).data == make(1, 9, encoding).data
    assert len({make(seed, index, JPEG).data for seed in (1, 2) for index in range(8)}) == 16


def test_every_encoding_occurs_in_the_smallest_world() -> None:
    assert {encoding_of(i).name for i in range(FEWEST_IMAGES)} == set(BY_NAME)


def test_the_unavailable_photo_is_a_grey_png_of_the_known_size() -> None:
    image = Image.open(BytesIO(unavailable_photo()))
    assert (image.format, image.size) == ("PNG", (500, 374))
    pixels = np.asarray(image.convert("RGB"))
    assert (pixels.max(axis=2) == pixels.min(axis=2)).all()
