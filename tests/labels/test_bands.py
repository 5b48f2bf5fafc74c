import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_images.labels.bands import cut_rows


@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.integers(1, 400), st.integers(1, 9))
def test_bands_cover_the_rows_and_keep_their_size(lengths: list[int], at_most: int, at_least: int) -> None:
    bands = cut_rows(np.array(lengths, np.int64), at_most, at_least)
    assert [row for first, end in bands for row in range(first, end)] == list(range(len(lengths)))
    assert all(first < end for first, end in bands)
    assert all(sum(lengths[first:end]) <= at_most + max(lengths) for first, end in bands)


def test_as_many_bands_as_asked_for_when_there_are_as_many_rows() -> None:
    assert cut_rows(np.ones(10, np.int64), 1000, 5) == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert cut_rows(np.ones(2, np.int64), 1000, 5) == [(0, 1), (1, 2)]


def test_the_published_vocabulary_is_counted_in_one_band() -> None:
    from ml_images.labels.cooccurrence import BAND_CELLS, plan_bands

    assert plan_bands(11_166) == [(0, 11_166)]
    bands = plan_bands(100_000)
    assert max(end * (end + 1) // 2 - first * (first + 1) // 2 for first, end in bands) <= BAND_CELLS + 100_000


def test_no_rows_no_bands() -> None:
    assert cut_rows(np.empty(0, np.int64), 10, 3) == []
