import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from ml_images.images.sniff import sniff


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_what_pillow_writes_is_known_by_its_first_bytes(name: str) -> None:
    if name == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, name)
    assert sniff(out.getvalue()) == name


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><html>gone</html>",
        b"BMW makes cars, this is plain text",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypmp41\0\0\0\0isommp41",
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
        b"\x89PN",
    ],
)
def test_everything_else_is_no_picture(data: bytes) -> None:
    assert sniff(data) is None


def test_avif_in_a_common_container_is_found_among_the_brands() -> None:
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"


def test_brands_beyond_the_first_box_do_not_count() -> None:
    assert sniff(b"\0\0\0\x14ftypmif1\0\0\0\0mif1avif") == "HEIF"


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1", b"msf1"])
def test_the_same_container_without_avif_is_heif(brand: bytes) -> None:
    assert sniff(b"\0\0\0\x14ftyp" + brand + b"\0\0\0\0mif1") == "HEIF"


@given(st.binary(max_size=40))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    assert sniff(data) in {None, "JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF"}
