import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.train import crops
from ml_images.train.chance import Chance

sides = st.integers(1, 3000)


@given(sides, sides, st.floats(0.01, 1), st.integers(0, 2**64 - 1), st.sampled_from(["random_area", "random_height"]))
def test_a_crop_lies_in_the_picture(width, height, area_min, seed, kind):
    left, upper, right, lower = getattr(crops, kind)(width, height, area_min, Chance(seed)).box
    assert 0 <= left < right <= width and 0 <= upper < lower <= height


@given(st.integers(50, 2000), st.integers(50, 2000), st.floats(0.08, 1), st.integers(0, 2**64 - 1))
def test_crops_by_area_keep_the_share_and_the_shape_that_was_asked_for(width, height, area_min, seed):
    left, upper, right, lower = crops.random_area(width, height, area_min, Chance(seed)).box
    ratio = (right - left) / (lower - upper)
    assert 3 / 4 * 0.95 < ratio < 4 / 3 * 1.05
    if max(abs(left + right - width), abs(upper + lower - height)) > 1:  # not the middle, taken where nothing fits
        assert (right - left) * (lower - upper) >= area_min * width * height * 0.93


@pytest.mark.parametrize(("area_min", "mean"), [(0.7, 0.77), (0.05, 0.345)])
def test_crops_of_ml_images_are_as_large_as_those_measured_of_the_original(area_min, mean):
    areas = []
    for seed in range(4000):
        left, upper, right, lower = crops.random_height(640, 480, area_min, Chance(seed)).box
        areas.append((right - left) * (lower - upper) / (640 * 480))
    assert min(areas) >= area_min
    assert statistics.mean(areas) == pytest.approx(mean, abs=0.012)


def test_crops_of_ml_images_fall_back_to_the_whole_of_a_picture_of_two_to_one():
    assert {crops.random_height(800, 400, 0.7, Chance(seed)).box for seed in range(50)} == {(0, 0, 800, 400)}


def test_crops_by_area_centre_where_uniform_areas_do():
    areas = []
    for seed in range(4000):
        left, upper, right, lower = crops.random_area(500, 500, 0.5, Chance(seed)).box
        areas.append((right - left) * (lower - upper) / 250_000)
    assert statistics.mean(areas) == pytest.approx(
        0.693, abs=0.01
    )  # 0.75 but for shapes that do not fit; torchvision 0.29: 0.692


def test_half_of_the_crops_are_mirrored():
    for choose in (crops.random_area, crops.random_height):
        assert 450 < sum(choose(100, 100, 0.5, Chance(seed)).mirror for seed in range(1000)) < 550
    assert 450 < sum(crops.random_shift(32, 32, Chance(seed)).mirror for seed in range(1000)) < 550


def test_a_picture_of_cifar_is_shifted_by_up_to_four_pixels_in_each_direction():
    found = [crops.random_shift(32, 32, Chance(seed)) for seed in range(2000)]
    assert {crop.box for crop in found} == {(x, y, x + 32, y + 32) for x in range(-4, 5) for y in range(-4, 5)}
    assert all(crop.reflect for crop in found)


@given(st.integers(8, 500), st.integers(8, 500), st.integers(0, 2**64 - 1))
def test_a_shifted_square_is_of_the_short_side_and_leaves_the_picture_by_an_eighth_at_most(width, height, seed):
    left, upper, right, lower = crops.random_shift(width, height, Chance(seed)).box
    side = min(width, height)
    assert (right - left, lower - upper) == (side, side)
    assert -side / 8 <= left and right <= width + side / 8
    assert -side / 8 <= upper and lower <= height + side / 8


def test_the_middle_is_the_middle():
    assert crops.centre(640, 480, 0.875).box == (110, 30, 530, 450)


def test_the_evaluation_of_ml_images_keeps_four_fifths_of_each_side():
    left, upper, right, lower = crops.tencent_centre(500, 375).box
    assert (right - left, lower - upper) == (400, 301)  # specs 2.5: 375x500 -> 301x400


def test_the_tools_of_ml_images_take_224_pixels_of_a_short_side_of_256():
    left, upper, right, lower = crops.tencent_single(512, 512).box
    assert (left, upper, right, lower) == (32.5, 32.5, 480.5, 480.5)  # a new pixel is the mean of two by two
    left, upper, right, lower = crops.tencent_single(640, 480).box
    assert lower - upper == pytest.approx(480 * 224 / 256)
    assert math.isclose(right - left, 224 * 640 / 341)
