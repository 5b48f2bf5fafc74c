import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ml_images.images.config import ImageConfig
from ml_images.images.decode import ImageError
from ml_images.images.resize import fit, shrink

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


@pytest.mark.real_data
def test_a_fractional_decode_looks_like_a_whole_one(shared_data: Path) -> None:
    cfg, compared = ImageConfig(short_side=96), 0
    for file in sorted((shared_data / "photos").glob("*.JPEG"))[:20]:
        with Image.open(file) as image:
            whole = image.convert("RGB").resize(fit(*image.size, cfg.short_side), Image.Resampling.BICUBIC)
        with Image.open(io.BytesIO(shrink(file.read_bytes(), cfg).data)) as stored:
            difference = np.asarray(stored, dtype=float) - np.asarray(whole, dtype=float)
        compared += 1
        assert 10 * np.log10(255**2 / np.mean(difference**2)) > 27, file  # dB; quality 90 itself costs most of it
    assert compared == 20
