import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images import schemas
from ml_images.annotations.batches import take_rows, to_label_batch


def test_one_row_for_each_key_also_without_labels():
    batch = to_label_batch(
        pa.array(["a", "b", "c"]),
        pa.array(["list.txt"] * 3),
        np.array([0, 2, 2, 3]),
        np.array([3, 7, 1], np.int32),
        np.array([1, 0.5, -1], np.float32),
        np.array([0, 1, 0], np.int8),
    )
    batch.validate(full=True)
    assert batch.schema.equals(schemas.LABELS)
    assert batch.to_pylist() == [
        {"key": "a", "source": "list.txt", "classes": [3, 7], "confidences": [1.0, 0.5], "origins": [0, 1]},
        {"key": "b", "source": "list.txt", "classes": [], "confidences": [], "origins": []},
        {"key": "c", "source": "list.txt", "classes": [1], "confidences": [-1.0], "origins": [0]},
    ]


def test_no_rows():
    empty = np.empty(0)
    batch = to_label_batch(
        pa.array([], pa.string()),
        pa.array([], pa.string()),
        np.zeros(1, np.int64),
        empty.astype(np.int32),
        empty.astype(np.float32),
        empty.astype(np.int8),
    )
    assert batch.num_rows == 0
    assert batch.schema.equals(schemas.LABELS)


def test_keys_and_offsets_that_do_not_fit_are_our_bug():
    one = np.ones(1)
    with pytest.raises(AssertionError):
        to_label_batch(
            pa.array(["a", "b"]),
            pa.array(["s", "s"]),
            np.array([0, 1]),
            one.astype(np.int32),
            one.astype(np.float32),
            one.astype(np.int8),
        )


@given(st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=1), st.data())
def test_rows_are_taken_in_the_order_asked_for(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1)))
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    values = np.array([value for row in lists for value in row], np.int64)
    taken, places = take_rows(offsets, np.array(rows, np.int64))
    assert [values[places][a:b].tolist() for a, b in itertools.pairwise(taken)] == [lists[row] for row in rows]
