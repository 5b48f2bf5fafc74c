import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_images.sample.full_scale.chance import below, bits, stream_key, unit, units

MASK = (1 << 64) - 1
WORDS = st.integers(0, MASK)


def mixed(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def splitmix(state: int, number: int) -> int:
    """Number `number` (from 0) of Steele, Lea and Flood's generator."""
    return mixed((state + (number + 1) * 0x9E3779B97F4A7C15) & MASK)


def test_the_finaliser_is_that_of_splitmix64() -> None:
    # First numbers of the reference implementation for the seed 0 (Vigna's splitmix64.c).
    assert [splitmix(0, n) for n in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(key=WORDS, row=st.integers(0, 1 << 40), draw=st.integers(0, 100), limit=st.integers(1, (1 << 32) - 1))
def test_numbers_follow_from_key_row_and_draw(key: int, row: int, draw: int, limit: int) -> None:
    expected = splitmix(mixed((key + row * 0x9E3779B97F4A7C15) & MASK), draw)
    assert bits(np.uint64(key), row, draw) == expected
    assert below(np.uint64(key), row, draw, limit) == (expected >> 32) * limit >> 32
    assert unit(np.uint64(key), row, draw) == (expected >> 11) / 2**53
    assert units(np.uint64(key), row, 3, draw)[0] == unit(np.uint64(key), row, draw)


def test_a_block_of_units_is_a_cut_of_a_longer_one() -> None:
    key = stream_key(1, "a")
    assert np.array_equal(units(key, 0, 100, 0)[40:60], units(key, 40, 20, 0))
    assert not np.array_equal(units(key, 0, 100, 0), units(key, 0, 100, 1))


def test_units_are_even() -> None:
    counts = np.histogram(units(stream_key(1, "even"), 0, 100_000, 7), bins=20, range=(0, 1))[0]
    assert abs(counts - 5_000).max() < 5 * 5_000**0.5


def test_streams_differ_by_seed_and_name() -> None:
    assert len({int(stream_key(seed, name)) for seed in (1, 11) for name in ("a", "1 a", "b")}) == 6
