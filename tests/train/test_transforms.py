import io
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ml_images.train.transforms import evaluation_crop, normalise, random_box, training_crop


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    """Red rises from left to right, green from top to bottom."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], axis=2).astype(np.uint8))


@given(st.integers(1, 900), st.integers(1, 900), st.floats(0.01, 1), st.integers(0, 10**6))
def test_random_boxes_lie_in_the_picture_and_are_as_large_as_promised(
    width: int, height: int, crop_area_min: float, seed: int
) -> None:
    left, upper, right, lower = random_box(width, height, crop_area_min, random.Random(seed))
    assert 0 <= left < right <= width
    assert 0 <= upper < lower <= height
    if min(width, height) >= 100 and max(width, height) <= 4 / 3 * min(width, height):
        assert (right - left) * (lower - upper) >= 0.97 * crop_area_min * width * height  # rounded sides
        assert 0.7 < (right - left) / (lower - upper) < 1.4


def test_the_same_chance_gives_the_same_crop_and_another_gives_another() -> None:
    data = jpeg(gradient(200, 150))
    once, again, other = (training_crop(data, 48, 0.1, random.Random(seed)) for seed in (1, 1, 2))
    assert once.shape == (48, 48, 3)
    assert once.dtype == np.uint8
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_half_of_the_training_crops_are_mirrored() -> None:
    data = jpeg(gradient(64, 64))
    crops = [training_crop(data, 32, 0.5, random.Random(seed)) for seed in range(100)]
    mirrored = sum(int(crop[16, 0, 0]) > int(crop[16, -1, 0]) for crop in crops)
    assert 35 <= mirrored <= 65


@pytest.mark.parametrize(("width", "height"), [(640, 480), (333, 1000), (40, 30)])
def test_the_evaluation_crop_is_the_middle_at_any_size(width: int, height: int) -> None:
    """Decoding at a smaller scale must not move or scale the crop: the corners tell where it lies."""
    crop = evaluation_crop(jpeg(gradient(width, height)), 32).astype(float)
    side = 0.875 * min(width, height)
    left, right = 255 * (0.5 - side / width / 2), 255 * (0.5 + side / width / 2)
    assert crop[:, :2, 0].mean() == pytest.approx(left + (right - left) / 32, abs=5)
    assert crop[:, -2:, 0].mean() == pytest.approx(right - (right - left) / 32, abs=5)
    upper, lower = 255 * (0.5 - side / height / 2), 255 * (0.5 + side / height / 2)
    assert crop[:2, :, 1].mean() == pytest.approx(upper + (lower - upper) / 32, abs=5)
    assert crop[-2:, :, 1].mean() == pytest.approx(lower - (lower - upper) / 32, abs=5)


def test_grey_and_cmyk_pictures_become_rgb() -> None:
    for mode in ("L", "CMYK"):
        assert evaluation_crop(jpeg(gradient(100, 80).convert(mode)), 32).shape == (32, 32, 3)


@pytest.mark.parametrize("cut", [0, 20, 600])
def test_broken_bytes_raise(cut: int) -> None:
    with pytest.raises(OSError):
        evaluation_crop(jpeg(gradient(200, 150))[:cut], 32)


def test_normalised_pixels_are_what_torchvision_makes_of_them() -> None:
    pixels = torch.tensor([0, 124, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(0 - 0.485) / 0.229, (124 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert normalise(pixels).flatten().tolist() == pytest.approx(expected, rel=1e-5)
    strided = torch.zeros(2, 8, 8, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    assert normalise(strided).is_contiguous()  # Horovod refuses gradients of channels-last convolutions


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_picture_that_was_kept_as_it_came_is_turned_as_its_exif_says(orientation: int) -> None:
    upright = gradient(160, 120)
    lying = upright.transpose({3: Image.ROTATE_180, 6: Image.ROTATE_90, 8: Image.ROTATE_270}[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    lying.save(out, "JPEG", quality=95, exif=exif)
    for crop in (
        lambda data: evaluation_crop(data, 32),
        lambda data: training_crop(data, 32, 0.5, random.Random(3)),
    ):
        assert np.allclose(crop(out.getvalue()).astype(int), crop(jpeg(upright)).astype(int), atol=6)
