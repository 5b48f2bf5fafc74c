import numpy as np
import pytest

from ml_images.sample.pictures import paint
from ml_images.sample.scenes import COLOURS, SHAPES, Scene, Thing


def painted(scene: Scene, width: int = 120, height: int = 90) -> np.ndarray:
    return np.asarray(paint(scene, width, height, np.random.default_rng(0)), np.float32)


def test_a_picture_has_the_size_that_was_asked_for() -> None:
    assert painted(Scene((Thing("star", "red"),), "day", "plain"), 130, 97).shape == (97, 130, 3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_the_thing_covers_a_large_part_in_its_colour(shape: str, colour: str) -> None:
    ground = painted(Scene((), "night", "plain"))
    picture = painted(Scene((Thing(shape, colour),), "night", "plain"))
    changed = np.abs(picture - ground).max(axis=2) > 40
    assert changed.mean() > 0.12
    red, green, blue = np.median(picture[changed], axis=0)
    assert {
        "red": red > 150 > 2 * max(green, blue),
        "orange": red > 200 and 100 < green < 170 and blue < 60,
        "yellow": min(red, green) > 180 and blue < 80,
        "green": green > 130 > 1.5 * max(red, blue),
        "blue": blue > 190 > 1.5 * max(red, green),
        "purple": blue > 150 and red > 120 and green < 80,
        "white": min(red, green, blue) > 220,
        "grey": min(red, green, blue) > 100 and max(red, green, blue) < 160,
    }[colour]


def test_day_is_bright_and_night_is_dark_whatever_the_pattern() -> None:
    for pattern in ("plain", "stripes", "dots"):
        day, night = (painted(Scene((), light, pattern)).mean() for light in ("day", "night"))
        assert day > 170
        assert night < 90


def test_stripes_are_the_same_along_one_direction_and_dots_along_none() -> None:
    def least_change(pattern: str) -> float:
        grey = painted(Scene((), "day", pattern)).mean(axis=2)
        return min(np.std(grey, axis=axis).mean() for axis in (0, 1))

    assert least_change("plain") < 8
    assert least_change("dots") > 20
    straight = [
        np.asarray(paint(Scene((), "day", "stripes"), 120, 90, np.random.default_rng(i))).std(axis=(0, 1)).min()
        for i in range(4)
    ]
    assert min(straight) > 20
