import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_images.annotations.take import count_labels, take_rows


@given(st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=1), st.data())
def test_rows_are_taken_in_the_order_asked_for(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1)))
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    values = np.array([value for row in lists for value in row], np.int64)
    taken, places = take_rows(offsets, np.array(rows, np.int64))
    assert count_labels(offsets, np.array(rows, np.int32)) == len(places)
    assert [values[places][a:b].tolist() for a, b in itertools.pairwise(taken)] == [lists[row] for row in rows]
