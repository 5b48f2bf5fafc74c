import hashlib
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ml_images.images.hashing import dhash, sha256


def look(image: Image.Image) -> int:
    return dhash(np.asarray(image.convert("RGB")))


def scene(seed: int) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((320, 240), Image.Resampling.BICUBIC)


def distance(a: int, b: int) -> int:
    return ((a ^ b) & (2**64 - 1)).bit_count()


def test_sha256_is_the_digest() -> None:
    assert sha256(b"abc").hex() == hashlib.sha256(b"abc").hexdigest()


def test_known_answers() -> None:
    ramp = Image.fromarray(np.broadcast_to(np.arange(0, 180, 20, dtype=np.uint8), (8, 9)).copy())
    assert look(ramp) == -1  # every pixel darker than its right neighbour: 64 ones
    assert look(ImageOps.mirror(ramp)) == 0
    assert look(Image.new("RGB", (50, 40), "red")) == 0
    one = np.zeros((8, 9), dtype=np.uint8)
    one[0, 1] = 255
    assert look(Image.fromarray(one)) == -(2**63)  # only the first bit, which is the sign


@given(st.integers(0, 2**32 - 1))
def test_fits_a_signed_64_bit_column(seed: int) -> None:
    assert -(2**63) <= look(scene(seed)) < 2**63


@given(st.integers(0, 2**32 - 1))
def test_a_second_encoding_and_another_size_change_few_bits(seed: int) -> None:
    image, out = scene(seed), io.BytesIO()
    image.resize((203, 151), Image.Resampling.BICUBIC).save(out, "JPEG", quality=60)
    with Image.open(out) as again:
        assert distance(look(image), look(again)) <= 6


@given(st.integers(0, 2**32 - 1))
def test_mirrors_and_strangers_differ(seed: int) -> None:
    image = scene(seed)
    assert distance(look(image), look(ImageOps.mirror(image))) > 10
    assert distance(look(image), look(scene(seed + 1))) > 10
