import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_images.storage.label_parquet.columns import list_pages, page_ends


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 20))
def test_pages_are_as_long_as_they_may_be_and_end_between_rows(sizes: list[int], most: int) -> None:
    offsets = np.cumsum([0, *sizes])
    ends = page_ends(offsets, most)
    starts = [0, *ends][:-1]
    assert ends == sorted(set(ends)) and [0, *ends][-1] == len(sizes)
    for start, end in zip(starts, ends, strict=True):
        assert end == start + 1 or offsets[end] - offsets[start] <= most
        assert end == len(sizes) or offsets[end + 1] - offsets[start] > most


def test_an_empty_list_counts_as_a_value_of_its_page() -> None:
    (page,) = list_pages(np.array([7, 4, 9]), np.array([7, 7, 9]))
    assert (page.places.tolist(), page.values) == ([4, 5, 6], 5)
