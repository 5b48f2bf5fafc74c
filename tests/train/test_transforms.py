import numpy as np
import pytest
import torch

from ml_images.train.crops import Crop
from ml_images.train.transforms import (
    chances_of_colour,
    evaluation_crop,
    normalise,
    recolour,
    training_crop,
)


def test_a_crop_is_a_function_of_seed_epoch_and_place() -> None:
    def crops(seed: int, epoch: int) -> list[Crop]:
        choose = training_crop("standard", 0.1, seed, epoch)
        return [choose(place, 500, 375) for place in range(20)]

    assert crops(1, 2) == crops(1, 2)
    assert len({tuple(found) for found in (crops(1, 2), crops(1, 3), crops(2, 2))}) == 3
    assert len(set(crops(1, 2))) == 20
    choose = training_crop("standard", 0.1, 1, 2)
    assert [choose(place, 500, 375) for place in (7, 3)] == [crops(1, 2)[7], crops(1, 2)[3]]


def test_the_crops_of_ml_images_go_without_antialias_and_the_others_with() -> None:
    assert training_crop("standard", 0.5, 0, 0)(0, 100, 80).antialias
    assert not training_crop("ml_images", 0.5, 0, 0)(0, 100, 80).antialias
    assert [evaluation_crop(kind)(100, 80).antialias for kind in ("standard", "ml_images", "ml_images_single")] == [
        True,
        False,
        False,
    ]


def test_shifted_squares_are_a_function_of_seed_epoch_and_place_too() -> None:
    choose, again = (training_crop("shift", 1.0, 1, 2) for _ in range(2))
    found = [choose(place, 32, 32) for place in range(50)]
    assert found == [again(place, 32, 32) for place in range(50)]
    assert len(set(found)) > 30
    assert found != [training_crop("shift", 1.0, 1, 3)(place, 32, 32) for place in range(50)]


def test_the_whole_of_a_picture_is_the_middle_square() -> None:
    assert evaluation_crop("whole")(32, 32) == Crop((0, 0, 32, 32))
    assert evaluation_crop("whole")(50, 40) == Crop((5, 0, 45, 40))


def test_small_pictures_have_the_numbers_of_the_standard_ones() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3, 1).view(1, 3, 16, 16)
    assert torch.equal(normalise(pixels, "shift"), normalise(pixels))
    assert torch.equal(normalise(pixels, "whole"), normalise(pixels))


def test_normalised_pixels_are_what_torchvision_makes_of_them() -> None:
    pixels = torch.tensor([0, 124, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(0 - 0.485) / 0.229, (124 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert normalise(pixels).flatten().tolist() == pytest.approx(expected, rel=1e-5)
    strided = torch.zeros(2, 8, 8, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    assert normalise(strided).is_contiguous()  # Horovod refuses gradients of channels-last convolutions
    for images in (strided, strided.contiguous()):
        last = normalise(images, memory_format=torch.channels_last)
        assert last.is_contiguous(memory_format=torch.channels_last) and torch.equal(last, normalise(images))


def test_pixels_of_ml_images_lie_between_minus_one_and_one() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalise(pixels, "ml_images").flatten().tolist() == pytest.approx([-1, -0.6, 1])


def test_colours_are_chances_of_the_place() -> None:
    places = np.array([5, 9, 1])
    chances = chances_of_colour(3, 1, places)
    assert chances.shape == (3, 6) and chances.min() >= 0 and chances.max() < 1
    assert torch.equal(chances_of_colour(3, 1, places[::-1].copy()), chances.flip(0))
    assert not torch.equal(chances_of_colour(3, 2, places), chances)


def test_recoloured_pictures_stay_between_black_and_white() -> None:
    images = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    chances = chances_of_colour(0, 0, np.arange(16))
    for kind in ("standard", "ml_images"):
        found = recolour(images, kind, 0.8, chances)
        assert found.min() >= 0 and found.max() <= 255 and found.dtype == torch.float32
        assert not torch.allclose(found, images.float(), atol=1)
    assert torch.allclose(recolour(images, "standard", 0.0, chances), images.float(), atol=0.01)
