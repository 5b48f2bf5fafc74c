import io
import resource
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from ml_images.images.area import averaged
from ml_images.images.colour import to_rgb
from ml_images.images.config import ImageConfig
from ml_images.images.decode import ImageError, _has_reader, decode, silence_pillow
from ml_images.images.orientation import upright
from ml_images.images.resize import shrink
from ml_images.outcomes import BY_NAME

CFG = ImageConfig()
SRGB = ImageCms.createProfile("sRGB")
# Four colours, one a quarter, so that any turn or flip shows: red, green / blue, white.
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)


def picture(width: int = 96, height: int = 64) -> Image.Image:
    return Image.fromarray(CORNERS).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def seen(data: bytes, cfg: ImageConfig = CFG, rotation: int = 0) -> np.ndarray:
    """The upright RGB pixels (h, w, 3) as integers that can be subtracted."""
    decoded = decode(data, cfg, rotation)
    return upright(to_rgb(decoded.pixels, decoded.profile, cfg.icc)[0], decoded.orientation).astype(int)


def corners(pixels: np.ndarray) -> np.ndarray:
    """The four corner colours (2, 2, 3), a little inside."""
    rows, columns = pixels.shape[0] // 4, pixels.shape[1] // 4
    return pixels[[rows, -rows]][:, [columns, -columns]]


def outcome_of(data: bytes, cfg: ImageConfig = CFG) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, cfg)
    assert caught.value.outcome in BY_NAME
    return caught.value.outcome


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF"])
def test_every_format_gives_the_same_colours(name: str) -> None:
    if name == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = encoded(picture(), name)
    assert decode(data, CFG).original_size == (96, 64)
    assert seen(data).shape == (64, 96, 3)
    np.testing.assert_allclose(corners(seen(data)), CORNERS, atol=24)


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


def stored(orientation: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(picture()))))


def tagged(name: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored(orientation if orientation in STORED else 1), name, exif=exif.tobytes())


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_exactly_once(name: str, orientation: int) -> None:
    if name == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = tagged(name, orientation)
    assert decode(data, CFG).original_size == (96, 64)
    np.testing.assert_allclose(corners(seen(data)), CORNERS, atol=24)


@pytest.mark.parametrize(("rotation", "as_tag"), [(90, 8), (180, 3), (270, 6)])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "AVIF"])
def test_a_given_rotation_takes_the_place_of_exif(name: str, rotation: int, as_tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = as_tag
    for data in (encoded(stored(as_tag), name), encoded(stored(as_tag), "JPEG", exif=exif)):
        assert decode(data, CFG, rotation).original_size == (96, 64)
        np.testing.assert_allclose(corners(seen(data, CFG, rotation)), CORNERS, atol=24)


def test_a_tiff_turned_by_its_tag_is_not_turned_again() -> None:
    np.testing.assert_array_equal(corners(seen(tagged("TIFF", 6), CFG, 270)), CORNERS)
    np.testing.assert_array_equal(corners(seen(encoded(stored(6), "TIFF"), CFG, 270)), CORNERS)


def test_a_rotation_that_is_no_quarter_is_our_bug() -> None:
    with pytest.raises(KeyError):
        decode(encoded(picture(), "PNG"), CFG, 45)


def test_nonsense_orientation_leaves_the_picture_as_it_is() -> None:
    np.testing.assert_allclose(corners(seen(tagged("JPEG", 9))), CORNERS, atol=12)


def test_broken_exif_does_not_cost_the_picture() -> None:
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0not a TIFF header")
    assert seen(data).shape == (64, 96, 3)


def test_a_large_jpeg_is_decoded_at_a_fraction_and_keeps_its_sizes() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encoded(picture(2000, 1600), "JPEG", exif=exif), ImageConfig(short_side=100))
    assert (decoded.stored_width, decoded.stored_height) == (2000, 1600)
    assert decoded.original_size == (1600, 2000)
    assert decoded.pixels.shape == (200, 250, 3)  # 1/8, still over 1.5 times the short side


def test_other_large_pictures_are_averaged_down_and_keep_their_sizes() -> None:
    decoded = decode(encoded(picture(2000, 1600), "PNG"), ImageConfig(short_side=100))
    assert decoded.original_size == (2000, 1600)
    assert decoded.pixels.shape == (200, 250, 3)


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_animation_gives_its_first_frame(name: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], name, save_all=True, append_images=frames[1:])
    assert np.abs(seen(data)[9, 9] - (255, 0, 0)).max() <= 4


def test_a_format_without_a_reader_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    heif = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    _has_reader.cache_clear()
    try:
        assert outcome_of(heif) == "unsupported_format"
    finally:
        _has_reader.cache_clear()


def test_html_is_not_an_image() -> None:
    assert outcome_of(b"<html><body>404</body></html>") == "not_an_image"


def test_half_a_file_is_undecodable() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        data = encoded(noise, name)
        assert outcome_of(data[: len(data) // 2]) == "undecodable", name


def test_too_small_is_told_from_the_header() -> None:
    assert outcome_of(encoded(picture(96, 15), "PNG")) == "too_small"
    assert decode(encoded(picture(96, 16), "PNG"), CFG).original_size == (96, 16)


def test_the_pixel_cap_is_told_from_the_header_alone() -> None:
    cfg = ImageConfig(max_pixels=100 * 100)
    assert decode(encoded(picture(100, 100), "PNG"), cfg).original_size == (100, 100)
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


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def test_a_transparent_colour_of_sixteen_bits_lies_over_white() -> None:
    colours = [(0x8000, 0x1200, 0xFF00), (0, 0, 0)] * 20
    line = b"\0" + b"".join(struct.pack(">3H", *colour) for colour in colours)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0))
    transparent = chunk(b"tRNS", struct.pack(">3H", *colours[0]))
    whole = b"\x89PNG\r\n\x1a\n" + header + transparent + chunk(b"IDAT", zlib.compress(line * 40)) + chunk(b"IEND", b"")
    pixels = decode(whole, ImageConfig()).pixels
    assert pixels[0, :2].tolist() == [[255, 255, 255], [0, 0, 0]]


@pytest.mark.parametrize("head", [(b"zTXt", b"note\0\0"), (b"iCCP", b"made\0\0"), (b"iTXt", b"note\0\1\0\0\0")])
def test_a_bomb_in_a_png_chunk_is_not_unpacked(head: tuple[bytes, bytes]) -> None:
    whole = encoded(picture(), "PNG")
    bomb = whole[:33] + chunk(head[0], head[1] + zlib.compress(bytes(300 << 20), 9)) + whole[33:]  # after IHDR
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome_of(bomb) == "undecodable"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


def test_a_webps_canvas_is_told_before_there_is_room_for_it() -> None:
    size = (16383).to_bytes(3, "little") + (5999).to_bytes(3, "little")
    canvas = b"VP8X" + (10).to_bytes(4, "little") + b"\2\0\0\0" + size
    frame = b"ANIM" + (6).to_bytes(4, "little") + bytes(6)
    whole = b"RIFF" + (4 + len(canvas + frame)).to_bytes(4, "little") + b"WEBP" + canvas + frame
    assert outcome_of(whole, ImageConfig(max_pixels=16384 * 6000 - 1)) == "too_many_pixels"
    assert outcome_of(whole, ImageConfig(max_pixels=16384 * 6000)) == "undecodable"  # there is no frame


def test_a_tiffs_tile_counts_as_the_picture() -> None:
    tile = zlib.compress(bytes(1024 * 1024 * 3))
    tags = [(256, 64), (257, 64), (258, 8), (259, 8), (262, 2), (277, 3), (322, 1024), (323, 1024)]
    tags += [(324, 8 + 2 + 10 * 12 + 4), (325, len(tile))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    whole = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + tile
    assert decode(whole, ImageConfig(max_pixels=1024 * 1024)).original_size == (64, 64)
    assert outcome_of(whole, ImageConfig(max_pixels=1024 * 1024 - 1)) == "too_many_pixels"


def test_a_gif_frame_larger_than_its_screen_counts_as_the_picture() -> None:
    screen = b"GIF89a" + struct.pack("<HH", 20, 20) + b"\x80\0\0" + bytes(6)
    frame = b"," + struct.pack("<HHHH", 0, 0, 12_000, 9_500) + b"\0" + b"\2\2\x4c\1\0;"
    assert outcome_of(screen + frame) == "too_many_pixels"


def test_pillows_warnings_are_silenced_and_no_others() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        silence_pillow()
        warnings.warn_explicit("odd EXIF", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
        warnings.warn_explicit("ours", UserWarning, "x.py", 1, module="ml_images.images")
    assert [str(warning.message) for warning in seen] == ["ours"]


SEEDS = [encoded(picture(40, 24), name) for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")]
SEEDS += [
    encoded(picture(40, 24), "JPEG", progressive=True),
    encoded(picture(40, 24).convert("CMYK"), "JPEG"),
    encoded(picture(40, 24).convert("L"), "JPEG", restart_marker_blocks=2),
    encoded(picture(40, 24).convert("RGBA"), "PNG", icc_profile=ImageCms.ImageCmsProfile(SRGB).tobytes()),
    encoded(picture(40, 24).quantize(16), "PNG", transparency=1),
    encoded(picture(40, 24), "TIFF", compression="jpeg"),
    encoded(picture(40, 24), "TIFF", compression="tiff_lzw"),
    encoded(picture(40, 24).convert("RGBA"), "WEBP", lossless=True),
]


@settings(parent=settings(), max_examples=max(300, settings().max_examples))
@given(
    seed=st.sampled_from(SEEDS),
    hits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 10_000),
)
def test_broken_bytes_end_in_a_picture_or_a_named_outcome(seed: bytes, hits: list[tuple[int, int]], cut: int) -> None:
    """Ten minutes of it: pytest tests/images/test_decode.py -k broken_bytes --hypothesis-profile fuzz --timeout 0"""
    data = bytearray(seed)
    for where, value in hits:
        data[where % len(data)] = value
    broken = bytes(data[: max(cut, 1)])
    try:
        shrunk = shrink(broken, ImageConfig(short_side=32, max_pixels=1_000_000))
    except ImageError as error:
        assert error.outcome in BY_NAME and " at 0x" not in error.detail  # an address would differ from run to run
    else:
        assert simplejpeg.decode_jpeg(shrunk.data).shape == (shrunk.height, shrunk.width, 3)


@pytest.mark.real_data
def test_real_orientation_files_agree_with_their_upright_twin(shared_data: Path) -> None:
    folder = shared_data / "bad-images" / "exif_orientation"
    small = []
    for number in (3, 4, 6):  # one portrait, stored in three ways
        pixels = seen((folder / f"pillow__hopper_orientation_{number}.jpg").read_bytes())
        small.append(averaged(pixels.astype(np.uint8), 16, 16).astype(float))
    assert np.abs(small[0] - small[1]).mean() < 4
    assert np.abs(small[0] - small[2]).mean() < 4
