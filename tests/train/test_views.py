import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from ml_images.train.calibration import Activation
from ml_images.train.transforms import Preprocessing, evaluation_crop
from ml_images.train.views import check_crops, choose_views, mean_prediction

KINDS: list[Preprocessing] = ["standard", "ml_images", "ml_images_single"]


@pytest.mark.parametrize("kind", [*KINDS, "whole"])
def test_one_crop_is_that_of_training_and_the_first_of_ten(kind: Preprocessing) -> None:
    (one,) = choose_views(kind, 1)
    ten = choose_views(kind, 10)
    assert one(500, 375) == evaluation_crop(kind)(500, 375) == ten[0](500, 375)
    assert len(ten) == 10


def test_ten_crops_are_the_middle_the_corners_and_their_mirror_images() -> None:
    found = [view(400, 300) for view in choose_views("standard", 10)]
    side = 300 * 224 / 256
    middle = ((400 - side) / 2, (300 - side) / 2)
    corners = [(0, 0), (400 - side, 0), (0, 300 - side), (400 - side, 300 - side)]
    for mirror, crops in ((False, found[:5]), (True, found[5:])):
        assert [crop.box for crop in crops] == [(x, y, x + side, y + side) for x, y in [middle, *corners]]
        assert {(crop.mirror, crop.antialias) for crop in crops} == {(mirror, True)}


def test_ten_crops_of_the_originals_evaluation_are_four_fifths_of_each_side() -> None:
    boxes = [view(500, 375).box for view in choose_views("ml_images", 10)]
    assert boxes[:5] == [
        (50, 37, 450, 338),
        (0, 0, 400, 301),
        (100, 0, 500, 301),
        (0, 74, 400, 375),
        (100, 74, 500, 375),
    ]


def test_ten_crops_of_the_originals_tools_are_pixels_of_the_scaled_picture() -> None:
    """The picture at short side 256 is 341 x 256; OpenCV takes its pixel i from (i + 0.5) * scale - 0.5."""
    x, y = 500 / 341, 375 / 256
    starts = [(58, 16), (0, 0), (341 - 224, 0), (0, 32), (341 - 224, 32)]
    for (left, upper), view in zip(starts, choose_views("ml_images_single", 10)[:5], strict=True):
        box = view(500, 375).box
        # `resample` without antialias takes pixel i of n from left + i * (right - left) / n: no half pixels
        assert_allclose(box[0], (left + 0.5) * x - 0.5)
        assert_allclose(box[1], (upper + 0.5) * y - 0.5)
        assert_allclose((box[2] - box[0], box[3] - box[1]), (224 * x, 224 * y))


def test_ten_crops_of_the_whole_picture_are_a_pixel_of_32_beside_it() -> None:
    found = choose_views("whole", 10)
    assert [view(32, 32).box for view in found[:5]] == [
        (0, 0, 32, 32),
        (-1, -1, 31, 31),
        (1, -1, 33, 31),
        (-1, 1, 31, 33),
        (1, 1, 33, 33),
    ]
    assert [view(32, 32).box for view in found[5:]] == [view(32, 32).box for view in found[:5]]
    assert [view(32, 32).mirror for view in found] == [False] * 5 + [True] * 5
    assert all(view(32, 32).reflect for view in found if view(32, 32).box[0])


@given(st.sampled_from(KINDS), st.integers(16, 900), st.integers(16, 900))
def test_all_crops_are_of_one_size_and_inside_but_for_half_a_pixel(
    kind: Preprocessing, width: int, height: int
) -> None:
    crops = [view(width, height) for view in choose_views(kind, 10)]
    sizes = np.array([[right - left, lower - upper] for left, upper, right, lower in (crop.box for crop in crops)])
    assert_allclose(sizes, np.broadcast_to(sizes[0], sizes.shape), atol=1e-6)
    edges = np.array([crop.box for crop in crops])
    beyond = 0.51 if kind != "ml_images_single" else 0.5 * max(width, height) / 256 + 1
    assert edges[:, :2].min() >= -beyond
    assert edges[:, 2].max() <= width + beyond
    assert edges[:, 3].max() <= height + beyond


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_mean_is_that_of_the_probabilities(activation: Activation) -> None:
    logits = [torch.randn(5, 7, generator=torch.Generator().manual_seed(seed)) * 3 for seed in range(10)]

    def squash(values: torch.Tensor) -> torch.Tensor:
        return values.double().sigmoid() if activation == "sigmoid" else values.double().softmax(dim=1)

    wanted = torch.stack([squash(values) for values in logits]).mean(dim=0)
    assert_allclose(squash(mean_prediction(logits, activation)), wanted, rtol=1e-5)


def test_one_view_is_left_alone_and_scores_near_0_and_1_stay_apart() -> None:
    logits = torch.randn(3, 4)
    assert mean_prediction([logits], "sigmoid") is logits
    far = torch.tensor([[-200.0, -199.0, 60.0, 61.0]])
    assert_allclose(mean_prediction([far, far], "sigmoid"), far, rtol=1e-6)


def test_other_numbers_of_crops_are_refused() -> None:
    with pytest.raises(ValueError, match=r"crops must be 1 .* or 10 .*, got 5"):
        check_crops(5)
