import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ml_images.images.jpeg import decode_jpeg, encode_jpeg, fits_into_jpeg


def scene(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    rough = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 3}])
def test_pixels_are_those_of_pillow(mode: str, options: dict[str, object]) -> None:
    data = jpeg(scene(mode=mode), **options)
    pixels = decode_jpeg(data, mode, 1000)
    assert pixels is not None
    assert pixels.shape == by_pillow(data).shape
    assert np.abs(pixels.astype(int) - by_pillow(data)).max() <= 2  # two builds of libjpeg-turbo


def test_a_jpeg_of_rgb_without_ycc_keeps_its_colours() -> None:
    data = jpeg(Image.new("RGB", (32, 32), (200, 60, 20)), keep_rgb=True, quality=95)
    pixels = decode_jpeg(data, "RGB", 1000)
    assert pixels is not None and np.abs(pixels[9, 9].astype(int) - (200, 60, 20)).max() <= 2


@pytest.mark.parametrize(
    ("least", "shape"), [(100, (100, 150)), (101, (150, 225)), (201, (400, 600)), (500, (400, 600))]
)
def test_the_fraction_is_the_smallest_that_is_large_enough(least: int, shape: tuple[int, int]) -> None:
    pixels = decode_jpeg(jpeg(scene(600, 400)), "RGB", least)
    assert pixels is not None and pixels.shape[:2] == shape


def test_what_is_unusual_is_left_to_pillow() -> None:
    good = jpeg(scene())
    assert decode_jpeg(jpeg(scene(mode="CMYK")), "CMYK", 10) is None
    assert decode_jpeg(good[: len(good) // 2], "RGB", 10) is None
    assert decode_jpeg(good[:-2], "RGB", 10) is None
    assert decode_jpeg(b"\xff\xd8\xff", "RGB", 10) is None


def test_bytes_after_the_picture_do_not_matter() -> None:
    good = jpeg(scene())
    assert np.array_equal(decode_jpeg(good + b"trailing garbage", "RGB", 1000), decode_jpeg(good, "RGB", 1000))


SEEDS = [jpeg(scene(40, 24)), jpeg(scene(40, 24), progressive=True), jpeg(scene(40, 24, "L"), restart_marker_blocks=2)]


@settings(parent=settings(), max_examples=max(300, settings().max_examples))
@given(
    seed=st.sampled_from(SEEDS),
    hits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    cut=st.integers(1, 10_000),
)
def test_nothing_is_taken_that_pillow_refuses(seed: bytes, hits: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(seed)
    for where, value in hits:
        data[where % len(data)] = value
    broken = bytes(data[:cut])
    pixels = decode_jpeg(broken, "L" if seed is SEEDS[2] else "RGB", 64)
    if pixels is not None:
        with Image.open(io.BytesIO(broken), formats=["JPEG"]) as image:
            assert pixels.shape[1] <= image.width and pixels.shape[0] <= image.height
            image.draft(None, (64, 64))
            image.load()


def test_the_stored_jpeg_halves_its_colour_and_is_baseline() -> None:
    with Image.open(io.BytesIO(encode_jpeg(np.asarray(scene()), 90, None))) as stored:
        assert stored.layer[0][1:3] == (2, 2) and stored.layer[1][1:3] == (1, 1)
        assert "progressive" not in stored.info


@pytest.mark.parametrize("length", [1, 65_519, 65_520, 200_000])
def test_a_profile_goes_in_whole_whatever_its_length(length: int) -> None:
    profile = np.random.default_rng(length).bytes(length)
    data = encode_jpeg(np.asarray(scene()), 90, profile)
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.info["icc_profile"] == profile
        assert "jfif" in stored.info
        assert np.array_equal(np.asarray(stored), by_pillow(encode_jpeg(np.asarray(scene()), 90, None)))


def test_a_profile_has_at_most_255_segments() -> None:
    assert fits_into_jpeg(bytes(255 * 65_519)) and not fits_into_jpeg(bytes(255 * 65_519 + 1))
    data = encode_jpeg(np.asarray(scene()), 90, bytes(255 * 65_519))
    with Image.open(io.BytesIO(data)) as stored:
        assert len(stored.info["icc_profile"]) == 255 * 65_519


def test_a_turned_view_is_encoded_as_seen() -> None:
    turned = np.asarray(scene())[::-1].swapaxes(0, 1)
    assert by_pillow(encode_jpeg(turned, 90, None)).shape == (96, 64, 3)
