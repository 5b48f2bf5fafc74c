import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ml_images.train.crops import tencent_single
from ml_images.train.resample import reflect, resample

FRACTIONS = st.floats(0.01, 0.99)  # whole pixels have a test of their own


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth enough to look like a picture, and full of edges."""
    coarse = np.random.default_rng(seed).integers(0, 256, (max(2, height // 5), max(2, width // 5), 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def resampled(pixels: np.ndarray, box, side: int, **options) -> np.ndarray:
    out = np.zeros((side, side, 3), np.uint8)
    resample(pixels, box, out, **options)
    return out


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([32, 64, 100]), st.integers(0, 5), st.data())
@settings(max_examples=60)
def test_it_gives_what_pillows_bilinear_filter_gives(width, height, side, seed, data):
    pixels = noise(width, height, seed)
    left, upper = data.draw(FRACTIONS) * (width - 1), data.draw(FRACTIONS) * (height - 1)
    box = (left, upper, data.draw(st.floats(left + 1, width)), data.draw(st.floats(upper + 1, height)))
    wanted = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR, box=box))
    found = resampled(pixels, box, side)
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 2
    assert np.abs(found.astype(int) - wanted.astype(int)).mean() < 0.5


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([32, 64, 100]), st.integers(0, 5), st.data())
@settings(max_examples=60)
def test_a_box_of_whole_pixels_is_cut_out_and_then_resized(width, height, side, seed, data):
    pixels = noise(width, height, seed)
    left, upper = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (left, upper, data.draw(st.integers(left + 1, width)), data.draw(st.integers(upper + 1, height)))
    wanted = np.asarray(Image.fromarray(pixels).crop(box).resize((side, side), Image.Resampling.BILINEAR))
    assert np.abs(resampled(pixels, box, side).astype(int) - wanted.astype(int)).max() <= 2


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_a_picture_goes_on_as_numpy_reflects_it(width, height, data):
    pixels = noise(width, height)
    wanted = np.pad(pixels, ((height - 1, height - 1), (width - 1, width - 1), (0, 0)), "reflect")
    box = (1 - width, 1 - height, 2 * width - 1, 2 * height - 1)
    assert np.array_equal(reflect(pixels, (0, 0), (width, height), box), wanted)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    inside = (x, y, width, height)
    assert np.array_equal(reflect(pixels[y:, x:], (x, y), (width, height), inside), pixels[y:, x:])


def slow_legacy(pixels: np.ndarray, box, side: int) -> np.ndarray:
    """TensorFlow 1's resize_bilinear of the crop, a pixel at a time."""
    left, upper, right, lower = box
    crop = pixels[upper:lower, left:right].astype(float)
    height, width = crop.shape[:2]
    out = np.empty((side, side, 3))
    for y in range(side):
        for x in range(side):
            row, column = y * height / side, x * width / side
            top, first = int(row), int(column)
            below, second = min(top + 1, height - 1), min(first + 1, width - 1)
            down, over = row - top, column - first
            upper_row = crop[top, first] * (1 - over) + crop[top, second] * over
            lower_row = crop[below, first] * (1 - over) + crop[below, second] * over
            out[y, x] = upper_row * (1 - down) + lower_row * down
    return out


@pytest.mark.parametrize("box", [(0, 0, 90, 70), (10, 5, 60, 68), (3, 3, 20, 12)])
def test_a_cut_box_without_antialias_is_what_tensorflow_1_gives(box):
    pixels = noise(90, 70)
    found = resampled(pixels, box, 40, antialias=False, cut=True)
    assert np.abs(found - slow_legacy(pixels, box, 40)).max() <= 1


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (301, 300), (1024, 512), (256, 256), (240, 180), (150, 100), (64, 48), (32, 32)]
)
def test_the_crop_of_the_tools_is_opencvs_linear_interpolation(width, height):
    pixels = noise(width, height)
    short = min(width, height)
    new_width, new_height = int(width * 256 / short), int(height * 256 / short)
    left, upper = int((new_width - 224) / 2), int((new_height - 224) / 2)
    rows, columns = (
        (np.arange(first, first + 224) + 0.5) * old / new - 0.5
        for first, old, new in ((upper, height, new_height), (left, width, new_width))
    )
    y, x = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, over = (rows - y)[:, None, None], (columns - x)[None, :, None]
    at = pixels.astype(float)
    top = at[y][:, x] * (1 - over) + at[y][:, x + 1] * over
    below = at[y + 1][:, x] * (1 - over) + at[y + 1][:, x + 1] * over
    crop = tencent_single(width, height)
    found = resampled(pixels, crop.box, 224, antialias=crop.antialias, cut=crop.cut)
    assert np.abs(found - (top * (1 - down) + below * down)).max() <= 1


def test_a_mirrored_picture_is_the_mirror_of_the_other():
    pixels = noise(80, 60)
    box = (3.5, 2.0, 70.25, 59.0)
    assert np.array_equal(resampled(pixels, box, 32, mirror=True), resampled(pixels, box, 32)[:, ::-1])


def test_one_colour_stays_that_colour():
    for level in (0, 1, 127, 254, 255):
        pixels = np.full((37, 51, 3), level, np.uint8)
        for antialias in (True, False):
            assert (resampled(pixels, (0, 0, 51, 37), 48, antialias=antialias) == level).all()


def test_a_box_at_its_own_size_is_the_box():
    pixels = noise(64, 64)
    assert np.array_equal(resampled(pixels, (8, 16, 40, 48), 32), pixels[16:48, 8:40])


def test_a_strong_reduction_is_a_mean():
    board = np.indices((320, 320)).sum(0) % 2 * 255
    pixels = np.repeat(board[:, :, None], 3, 2).astype(np.uint8)
    assert np.abs(resampled(pixels, (0, 0, 320, 320), 32).astype(int) - 128).max() <= 2


@pytest.mark.parametrize("vectors", ["avx512", "avx2", "default"])
def test_every_kind_of_processor_gives_the_same_pixels(vectors: str) -> None:
    program = """
import hashlib, sys
import numpy as np
from ml_images.train.resample import resample
digest, random = hashlib.sha256(), np.random.default_rng(0)
for height, width in ((300, 300), (31, 500), (224, 224), (90, 40), (1, 7), (640, 480)):
    out = np.zeros((96, 96, 3), np.uint8)
    resample(random.integers(0, 256, (height, width, 3), np.uint8), (0, 0, width, height), out, mirror=width > height)
    digest.update(out.tobytes())
print(digest.hexdigest()[:16])
"""
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"ATEN_CPU_CAPABILITY": vectors},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert told.stdout.split() == ["e01800f42905ac2e"]


def test_reading_for_training_leaves_numba_alone() -> None:
    program = """
import sys
import numpy as np
import ml_images.train.data
from ml_images.train.resample import resample
resample(np.zeros((40, 40, 3), np.uint8), (1, 2, 30, 33), np.zeros((32, 32, 3), np.uint8))
print(sorted({"numba", "llvmlite"} & sys.modules.keys()))
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.strip() == "[]"
