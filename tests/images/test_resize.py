import io
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ml_images.images.config import ImageConfig
from ml_images.images.cpu_time import CpuTime
from ml_images.images.decode import ImageError
from ml_images.images.resize import fit, resized, shrink

CFG = ImageConfig(short_side=64)


def jpeg(width: int, height: int, **options: object) -> bytes:
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.broadcast_to(ramp[None, :, None], (height, width, 3)).copy()).save(out, "JPEG", **options)
    return out.getvalue()


def test_the_short_side_is_met_and_the_sizes_are_told() -> None:
    shrunk = shrink(jpeg(300, 200), CFG)
    assert (shrunk.width, shrunk.height) == (96, 64)
    assert (shrunk.original_width, shrunk.original_height) == (300, 200)
    with Image.open(io.BytesIO(shrunk.data)) as stored:
        assert (stored.format, stored.mode, stored.size) == ("JPEG", "RGB", (96, 64))


def test_a_fractional_decode_does_not_change_the_size() -> None:
    shrunk = shrink(jpeg(1288, 899), CFG)  # decoded at 1/8 as 161x113, which by itself would become 91x64
    assert (shrunk.width, shrunk.height) == (92, 64)


def test_sizes_of_a_turned_picture_are_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    shrunk = shrink(jpeg(300, 200, exif=exif), CFG)
    assert (shrunk.width, shrunk.height, shrunk.original_width, shrunk.original_height) == (64, 96, 200, 300)


def test_small_images_stay_and_lose_their_metadata() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    data = jpeg(50, 40, exif=exif, comment=b"a secret name", icc_profile=b"profile" * 40)
    assert b"secret place" in data and b"secret name" in data
    shrunk = shrink(data, CFG)
    assert (shrunk.width, shrunk.height) == (50, 40)
    assert b"secret" not in shrunk.data
    with Image.open(io.BytesIO(shrunk.data)) as stored:
        assert not stored.getexif()
        assert "icc_profile" not in stored.info


def test_quality_rules_the_size() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    out = io.BytesIO()
    noise.save(out, "PNG")
    low, high = (len(shrink(out.getvalue(), ImageConfig(quality=quality)).data) for quality in (50, 90))
    assert low < high / 1.5


def test_same_bytes_in_same_bytes_out() -> None:
    assert shrink(jpeg(300, 200), CFG) == shrink(jpeg(300, 200), CFG)


def test_the_cpu_time_is_told_by_stage() -> None:
    data = jpeg(1200, 900)
    shrink(data, CFG)  # loads the compiled loops
    started, cpu = time.thread_time_ns(), CpuTime()
    for _ in range(20):
        shrink(data, CFG, cpu=cpu)
    whole = time.thread_time_ns() - started
    assert {stage for stage, spent in cpu.spent.items() if spent} == {"decode", "resize", "hash", "encode"}
    assert 0.95 * whole < sum(cpu.spent.values()) <= whole
    assert max(cpu.spent, key=lambda stage: cpu.spent[stage]) == "decode"


def test_kept_bytes_are_not_encoded() -> None:
    cpu = CpuTime()
    shrink(jpeg(300, 200), ImageConfig(short_side="original"), cpu=cpu)
    assert {stage for stage, spent in cpu.spent.items() if spent} == {"decode", "resize", "hash"}


def test_a_side_that_no_jpeg_can_have_is_refused() -> None:
    out = io.BytesIO()
    Image.new("L", (70_000, 20)).save(out, "PNG")
    with pytest.raises(ImageError, match="too_many_pixels"):
        shrink(out.getvalue(), CFG)


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(32, 512))
def test_never_enlarged_and_aspect_kept(width: int, height: int, short_side: int) -> None:
    new_width, new_height = fit(width, height, short_side)
    assert min(new_width, new_height) == min(width, height, short_side)
    scale = min(new_width, new_height) / min(width, height)
    assert abs(new_width - width * scale) <= 0.5 and abs(new_height - height * scale) <= 0.5


def test_grey_and_cmyk_are_resized_as_each_of_their_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 4), dtype=np.uint8)
    small = resized(pixels, 31, 20)
    assert small.shape == (20, 31, 4)
    for channel in range(4):
        assert (resized(np.ascontiguousarray(pixels[:, :, channel]), 31, 20) == small[:, :, channel]).all()
    assert (resized(np.ascontiguousarray(pixels[:, :, :3]), 31, 20) == small[:, :, :3]).all()
    assert np.abs(small.mean(axis=(0, 1)) - pixels.mean(axis=(0, 1))).max() < 0.5


def test_original_keeps_the_bytes_and_tells_sizes_as_stored_and_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    data = jpeg(300, 200, exif=exif)
    kept = shrink(data, ImageConfig(short_side="original"))
    assert kept.data is data
    assert (kept.width, kept.height, kept.original_width, kept.original_height) == (300, 200, 200, 300)
    assert (kept.phash ^ shrink(data, CFG).phash).bit_count() <= 4


def test_original_verifies_to_the_last_byte_of_the_picture() -> None:
    data = jpeg(2000, 1500)
    with pytest.raises(ImageError, match="undecodable"):
        shrink(data[: len(data) * 9 // 10], ImageConfig(short_side="original"))


def test_original_has_no_bound_on_sides() -> None:
    out = io.BytesIO()
    Image.new("L", (70_000, 20)).save(out, "PNG")
    assert shrink(out.getvalue(), ImageConfig(short_side="original")).width == 70_000


@pytest.mark.parametrize("icc", ["srgb", "keep", "drop"])
def test_a_profile_is_applied_kept_or_dropped(icc: Literal["srgb", "keep", "drop"], p3_profile: bytes) -> None:
    out = io.BytesIO()
    Image.new("RGB", (100, 80), (200, 60, 60)).save(out, "PNG", icc_profile=p3_profile)
    shrunk = shrink(out.getvalue(), ImageConfig(short_side=64, icc=icc))
    with Image.open(io.BytesIO(shrunk.data)) as stored:
        assert stored.info.get("icc_profile") == (p3_profile if icc == "keep" else None)
        pixel = np.asarray(stored.convert("RGB"))[30, 30].astype(int)
    assert np.abs(pixel - ((219, 37, 49) if icc == "srgb" else (200, 60, 60))).max() <= 2


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_pictures_are_stored_as_rgb(mode: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (100, 80), (90, 90, 90)).convert(mode).save(out, "JPEG")
    with Image.open(io.BytesIO(shrink(out.getvalue(), CFG).data)) as stored:
        assert stored.mode == "RGB"
        assert np.abs(np.asarray(stored).astype(int) - 90).max() <= 4


@pytest.mark.real_data
def test_real_photos_look_like_a_whole_decode_and_lanczos(shared_data: Path) -> None:
    cfg, decibels = ImageConfig(short_side=96), []
    for file in sorted((shared_data / "photos").glob("*.JPEG"))[:40]:
        with Image.open(file) as image:
            whole = image.convert("RGB").resize(fit(*image.size, 96), Image.Resampling.LANCZOS)
        with Image.open(io.BytesIO(shrink(file.read_bytes(), cfg).data)) as stored:
            difference = np.asarray(stored, dtype=float) - np.asarray(whole, dtype=float)
        decibels.append(10 * np.log10(255**2 / np.mean(difference**2)))
    assert len(decibels) == 40
    assert min(decibels) > 23 and np.mean(decibels) > 29  # quality 90 with halved colour costs most of it
