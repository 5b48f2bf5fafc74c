import io
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ml_images.images.config import ImageConfig
from ml_images.images.decode import Decoded, ImageError, decode, silence_pillow
from ml_images.outcomes import BY_NAME

CFG = ImageConfig()
# Four colours, one a quarter, so that any turn or flip shows: red, green / blue, white.
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)


def picture(width: int = 96, height: int = 64) -> Image.Image:
    return Image.fromarray(CORNERS).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def corners(decoded: Decoded) -> np.ndarray:
    """The four corner colours (2, 2, 3), a little inside."""
    pixels = np.asarray(decoded.image)
    rows, columns = pixels.shape[0] // 4, pixels.shape[1] // 4
    return pixels[[rows, -rows]][:, [columns, -columns]]


def outcome_of(data: bytes, cfg: ImageConfig = CFG) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, cfg)
    assert caught.value.outcome in BY_NAME
    return caught.value.outcome


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_every_format_gives_the_same_colours(name: str) -> None:
    decoded = decode(encoded(picture(), name), CFG)
    assert decoded.image.mode == "RGB"
    assert (decoded.original_width, decoded.original_height) == decoded.image.size == (96, 64)
    np.testing.assert_allclose(corners(decoded).astype(int), CORNERS, atol=12)


# How a camera stores an upright picture under each orientation: the inverse of what a viewer has to do.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_exactly_once(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(picture()))))
    decoded = decode(encoded(stored, name, exif=exif), CFG)
    assert (decoded.original_width, decoded.original_height) == decoded.image.size == (96, 64)
    np.testing.assert_allclose(corners(decoded).astype(int), CORNERS, atol=12)
    assert not decoded.image.getexif()


def test_nonsense_orientation_leaves_the_picture_as_it_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    np.testing.assert_allclose(
        corners(decode(encoded(picture(), "JPEG", exif=exif), CFG)).astype(int), CORNERS, atol=12
    )


def test_broken_exif_does_not_cost_the_picture() -> None:
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0not a TIFF header")
    assert decode(data, CFG).image.size == (96, 64)


def test_a_large_jpeg_is_decoded_at_a_fraction_and_keeps_its_sizes() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encoded(picture(2000, 1600), "JPEG", exif=exif), ImageConfig(short_side=100))
    assert (decoded.original_width, decoded.original_height) == (1600, 2000)
    assert decoded.image.size == (200, 250)  # 1/8, still over 1.5 times the short side


@pytest.mark.parametrize(("grey", "expected"), [(0, 0), (255, 0), (256, 1), (32768, 128), (65535, 255)])
@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_upper_byte(name: str, grey: int, expected: int) -> None:
    image = Image.fromarray(np.full((20, 20), grey, dtype=np.uint16))
    pixels = np.asarray(decode(encoded(image, name), CFG).image)
    assert np.unique(pixels).tolist() == [expected]


def test_floats_are_stretched_over_their_range_and_nan_is_survived() -> None:
    values = np.full((20, 20), 0.5, dtype=np.float32)
    values[0, 0], values[0, 1], values[0, 2] = 0.0, 1.0, np.nan
    pixels = np.asarray(decode(encoded(Image.fromarray(values), "TIFF"), CFG).image)
    assert pixels[0, :3, 0].tolist() == [0, 255, 0]
    assert pixels[5, 5].tolist() == [127, 127, 127]


def test_a_flat_float_picture_is_black() -> None:
    flat = Image.fromarray(np.full((20, 20), 7.0, dtype=np.float32))
    assert np.asarray(decode(encoded(flat, "TIFF"), CFG).image).max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.putpixel((3, 4), (0, 0, 0, 255))
    pixels = np.asarray(decode(encoded(image.convert(mode), "PNG"), CFG).image)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[4, 3].tolist() == [0, 0, 0]


def test_half_transparent_black_over_white_is_grey() -> None:
    pixels = np.asarray(decode(encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 128)), "PNG"), CFG).image)
    assert abs(int(pixels[0, 0, 0]) - 127) <= 1


def test_a_transparent_palette_colour_lies_over_white() -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 0, 250, 0, 0])
    image.putpixel((3, 4), 1)
    pixels = np.asarray(decode(encoded(image, "PNG", transparency=0), CFG).image)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[4, 3].tolist() == [250, 0, 0]


def test_a_transparent_colour_of_an_rgb_picture_lies_over_white() -> None:
    pixels = np.asarray(decode(encoded(picture(), "PNG", transparency=(255, 0, 0)), CFG).image)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, -1].tolist() == [0, 255, 0]


@pytest.mark.parametrize("mode", ["L", "1", "CMYK"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    white = Image.new("RGB", (32, 32), "white").convert(mode)
    decoded = decode(encoded(white, "TIFF" if mode == "1" else "JPEG"), CFG)
    assert decoded.image.mode == "RGB"
    assert np.asarray(decoded.image).min() >= 253


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(name: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], name, save_all=True, append_images=frames[1:])
    assert np.abs(np.asarray(decode(data, CFG).image)[9, 9].astype(int) - (255, 0, 0)).max() <= 4


def test_html_is_not_an_image() -> None:
    assert outcome_of(b"<html><body>404</body></html>") == "not_an_image"


def test_half_a_file_is_undecodable() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        data = encoded(noise, name)
        assert outcome_of(data[: len(data) // 2]) == "undecodable", name


def test_too_small_is_told_from_the_header() -> None:
    assert outcome_of(encoded(picture(96, 15), "PNG")) == "too_small"
    assert decode(encoded(picture(96, 16), "PNG"), CFG).image.size == (96, 16)


def test_the_pixel_cap_is_told_from_the_header_alone() -> None:
    cfg = ImageConfig(max_pixels=100 * 100)
    assert decode(encoded(picture(100, 100), "PNG"), cfg).image.size == (100, 100)
    whole = encoded(picture(101, 100), "PNG")
    assert outcome_of(whole, cfg) == "too_many_pixels"
    assert outcome_of(whole[:60], cfg) == "too_many_pixels"  # no pixel data there to decode


def test_a_bomb_ends_as_too_many_pixels_also_where_warnings_are_errors() -> None:
    header = b"BM" + bytes(8) + (54).to_bytes(4, "little")
    for width, height in ((60_000, 60_000), (10_000, 10_000)):  # Pillow raises for the one, warns for the other
        info = (40).to_bytes(4, "little") + width.to_bytes(4, "little") + height.to_bytes(4, "little")
        bomb = header + info + b"\1\0\x18\0" + bytes(24)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert outcome_of(bomb, ImageConfig(max_pixels=50_000_000)) == "too_many_pixels"


def test_pillows_warnings_are_silenced_and_no_others() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        silence_pillow()
        warnings.warn_explicit("odd EXIF", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
        warnings.warn_explicit("ours", UserWarning, "x.py", 1, module="ml_images.images")
    assert [str(warning.message) for warning in seen] == ["ours"]


SEEDS = [encoded(picture(40, 24), name) for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")]


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    hits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 10_000),
)
def test_broken_bytes_end_in_a_picture_or_a_named_outcome(seed: bytes, hits: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(seed)
    for where, value in hits:
        data[where % len(data)] = value
    try:
        decoded = decode(bytes(data[: max(cut, 1)]), ImageConfig(max_pixels=1_000_000))
    except ImageError as error:
        assert error.outcome in BY_NAME
    else:
        assert decoded.image.mode == "RGB"


def result_of(data: bytes, cfg: ImageConfig) -> tuple[str, bytes]:
    try:
        return "ok", decode(data, cfg).image.tobytes()
    except ImageError as error:
        return error.outcome, error.detail.encode()


@pytest.mark.real_data
def test_odd_and_broken_files_end_in_named_outcomes_twice_the_same(shared_data: Path) -> None:
    silence_pillow()
    cfg = ImageConfig(min_side=1)
    counts: Counter[str] = Counter()
    folder = shared_data / "bad-images"
    for file in sorted(folder.glob("*/*")):
        first, second = (result_of(file.read_bytes(), cfg) for _ in range(2))
        assert first == second, file
        counts[first[0]] += 1
    assert sum(counts.values()) == 245
    assert counts == {"ok": 177, "not_an_image": 25, "undecodable": 36, "too_many_pixels": 7}


@pytest.mark.real_data
def test_real_orientation_files_agree_with_their_upright_twin(shared_data: Path) -> None:
    folder = shared_data / "bad-images" / "exif_orientation"
    small = []
    for number in (3, 4, 6):  # one portrait, stored in three ways
        image = decode((folder / f"pillow__hopper_orientation_{number}.jpg").read_bytes(), CFG).image
        small.append(np.asarray(image.resize((16, 16), Image.Resampling.BOX), dtype=int))
    assert np.abs(small[0] - small[1]).mean() < 4
    assert np.abs(small[0] - small[2]).mean() < 4
