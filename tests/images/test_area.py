import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml_images.images.area import averaged


def slow(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float64]:
    """The mean by the share that each old pixel has in each new one."""
    rows, columns = shares(rgb.shape[0], height), shares(rgb.shape[1], width)
    return np.einsum("yh,hwc,xw->yxc", rows, rgb.astype(float), columns, optimize=True)


def shares(old: int, new: int) -> NDArray[np.float64]:
    start, end = np.arange(new)[:, None] * old, np.arange(1, new + 1)[:, None] * old
    left, right = np.arange(old)[None] * new, np.arange(1, old + 1)[None] * new
    return np.clip(np.minimum(end, right) - np.maximum(start, left), 0, None) / old


def picture(seed: int, height: int, width: int, levels: tuple[int, int] = (0, 255)) -> NDArray[np.uint8]:
    """Noise of the two outermost levels and some between, which is the hardest for rounded weights."""
    rng = np.random.default_rng(seed)
    noise = rng.choice([levels[0], levels[1], levels[1], sum(levels) // 2], (height, width, 3))
    return noise.astype(np.uint8)


sides = st.integers(1, 90)


@given(st.integers(0, 2**32 - 1), sides, sides, sides, sides)
@example(0, 90, 1, 7, 90)  # larger on one axis
@example(1, 64, 64, 32, 16)
def test_within_one_level_of_the_rounded_mean(seed: int, h: int, w: int, height: int, width: int) -> None:
    rgb = picture(seed, h, w)
    small, exact = averaged(rgb, width, height), slow(rgb, width, height)
    assert small.shape == (height, width, 3) and small.dtype == np.uint8
    assert np.abs(small - np.rint(exact)).max() <= 1
    assert np.abs(small - exact).max() <= 0.95  # 0.5 is rounding alone


@pytest.mark.parametrize(("w", "h", "width", "height"), [(500, 375, 341, 256), (1999, 1500, 512, 384)])
def test_photo_sizes_are_hardly_worse_than_rounded(w: int, h: int, width: int, height: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (h, w, 3), dtype=np.uint8)
    difference = averaged(rgb, width, height) - slow(rgb, width, height)
    assert np.abs(difference).mean() < 0.26  # 0.25 is rounding alone
    assert np.abs(difference.mean()) < 0.02  # neither darker nor lighter


@given(st.integers(0, 255), sides, sides, sides, sides)
def test_one_colour_stays(level: int, h: int, w: int, height: int, width: int) -> None:
    rgb = np.empty((h, w, 3), dtype=np.uint8)
    rgb[:] = colour = (level, 255 - level, 255)
    assert (averaged(rgb, width, height) == colour).all()


@given(st.integers(0, 2**32 - 1), sides, sides)
def test_the_same_size_is_the_same_picture(seed: int, h: int, w: int) -> None:
    rgb = picture(seed, h, w)
    assert (averaged(rgb, w, h) == rgb).all()


def test_whole_factors_are_means_of_blocks() -> None:
    rgb = picture(0, 40, 60)
    blocks = rgb.reshape(10, 4, 15, 4, 3).mean(axis=(1, 3))
    assert np.abs(averaged(rgb, 15, 10) - blocks).max() <= 0.5


@pytest.mark.parametrize(("h", "w"), [(1, 300_000), (300_000, 1), (20, 70_000), (5000, 3)])
def test_a_ribbon_is_averaged_as_well(h: int, w: int) -> None:
    rgb = picture(0, h, w)
    assert np.abs(averaged(rgb, 2, 1) - slow(rgb, 2, 1)).max() <= 1.2  # in two steps, each of them rounded


def test_views_and_read_only_pixels_are_taken_and_left_alone() -> None:
    rgb = picture(0, 30, 40)
    before, turned = rgb.copy(), rgb[::-1, ::-1].swapaxes(0, 1)
    assert (averaged(turned, 11, 13) == averaged(turned.copy(), 11, 13)).all()
    averaged(rgb, 11, 13)
    rgb[0, 0] = before[0, 0]  # still ours to write
    frozen = rgb.copy()
    frozen.setflags(write=False)
    assert (averaged(frozen, 11, 13) == averaged(rgb, 11, 13)).all()
    assert (rgb == before).all()


def test_a_master_of_decoders_does_not_load_the_compiler() -> None:
    code = "import sys, ml_images.images.shrinker; print([name for name in ('numba', 'cv2') if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert loaded.strip() == "[]"
