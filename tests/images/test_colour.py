import numpy as np
import pytest
from PIL import Image, ImageCms

from ml_images.images.colour import to_rgb

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# By the definition of sRGB (IEC 61966-2-1) and the matrices in conftest.py; the last one lies outside of sRGB.
FROM_P3 = [
    ((200, 60, 60), (219, 37, 49)),
    ((60, 60, 200), (57, 57, 209)),
    ((128, 128, 128), (129, 129, 129)),
    ((255, 255, 255), (255, 255, 255)),
    ((60, 200, 60), (0, 205, 0)),
]


def one(*channels: int) -> np.ndarray:
    return np.array([[channels if len(channels) > 1 else channels[0]]], dtype=np.uint8)


@pytest.mark.parametrize(("wide", "expected"), FROM_P3)
def test_wide_colours_become_srgb(p3_profile: bytes, wide: tuple[int, ...], expected: tuple[int, ...]) -> None:
    rgb, profile = to_rgb(one(*wide), p3_profile, "srgb")
    assert np.abs(rgb[0, 0].astype(int) - expected).max() <= 1
    assert profile is None


def test_keep_hands_the_profile_on_and_drop_forgets_it(p3_profile: bytes) -> None:
    for icc, profile in (("keep", p3_profile), ("drop", None)):
        rgb, kept = to_rgb(one(200, 60, 60), p3_profile, icc)
        assert rgb.tolist() == [[[200, 60, 60]]]
        assert kept == profile


@pytest.mark.parametrize(("grey", "expected"), [(0, 0), (64, 81), (128, 146), (255, 255)])
@pytest.mark.parametrize("icc", ["srgb", "keep"])
def test_grey_becomes_srgb_by_its_own_gamma(icc: str, grey: int, expected: int, grey_profile: bytes) -> None:
    rgb, profile = to_rgb(one(grey), grey_profile, icc)
    assert np.abs(rgb[0, 0].astype(int) - expected).max() <= 1
    assert profile is None  # a grey profile fits no RGB picture


@pytest.mark.parametrize("icc", ["srgb", "keep", "drop"])
def test_srgb_changes_nothing(icc: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    rgb, profile = to_rgb(pixels, SRGB, icc)
    assert np.array_equal(rgb, pixels)
    assert profile == (SRGB if icc == "keep" else None)


@pytest.mark.parametrize("icc", ["srgb", "keep", "drop"])
@pytest.mark.parametrize("broken", [b"", b"profile" * 40, SRGB[:200]])
def test_broken_profiles_are_ignored(icc: str, broken: bytes) -> None:
    rgb, profile = to_rgb(one(200, 60, 60), broken, icc)
    assert (rgb.tolist(), profile) == ([[[200, 60, 60]]], None)


def test_profiles_of_another_space_are_ignored(p3_profile: bytes, grey_profile: bytes) -> None:
    assert to_rgb(one(200, 60, 60), grey_profile, "keep")[1] is None
    assert to_rgb(one(200, 60, 60), grey_profile, "srgb")[0].tolist() == [[[200, 60, 60]]]
    assert to_rgb(one(90), p3_profile, "srgb")[0].tolist() == [[[90, 90, 90]]]


def test_cmyk_without_a_profile_is_ink_on_white() -> None:
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    assert to_rgb(inks, None, "srgb")[0].tolist() == [[[255, 255, 255], [0, 255, 255], [0, 0, 0]]]
    expected = np.asarray(Image.frombytes("CMYK", (3, 1), inks.tobytes()).convert("RGB"))
    assert np.array_equal(to_rgb(inks, None, "drop")[0], expected)
