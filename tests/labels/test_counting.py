import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.labels.counting import check_labels, label_arrays
from ml_images.schemas import LABELS

NUM_CLASSES, NUM_ORIGINS = 5, 5

confidence = st.sampled_from([-1.0, 0.0, 0.5, 1.0])
origin = st.integers(0, NUM_ORIGINS - 1)
good_row = st.dictionaries(st.integers(0, NUM_CLASSES - 1), st.tuples(confidence, origin)).map(
    lambda row: [(c, *row[c]) for c in sorted(row)]
)
any_label = st.one_of(
    st.tuples(st.integers(-1, NUM_CLASSES), confidence, origin),
    st.tuples(st.just(2), st.sampled_from([1.5, -0.5, -2.0, float("nan"), float("inf")]), origin),
    st.tuples(st.just(2), confidence, st.sampled_from([-1, NUM_ORIGINS])),
)


@st.composite
def tables(draw):
    """Good rows; in half of the tables one label more in one of them, which may break it."""
    rows = draw(st.lists(good_row, min_size=1, max_size=5))
    if draw(st.booleans()):
        row = draw(st.sampled_from(rows))
        row.insert(draw(st.integers(0, len(row))), draw(any_label))
    return rows


def arrays(rows):
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    flat = [label for row in rows for label in row]
    classes, confidences, origins = zip(*flat, strict=True) if flat else ((), (), ())
    return offsets, np.array(classes, np.int32), np.array(confidences, np.float32), np.array(origins, np.int8)


def is_valid(row):
    """The contract of schemas.LABELS, a label at a time."""
    classes = [c for c, _, _ in row]
    in_range = all(0 <= c < NUM_CLASSES and 0 <= origin < NUM_ORIGINS for c, _, origin in row)
    ascending = all(a < b for a, b in itertools.pairwise(classes))
    return in_range and ascending and all(value == -1 or 0 <= value <= 1 for _, value, _ in row)


@given(tables())
def test_a_table_is_refused_exactly_when_one_of_its_rows_breaks_the_contract(rows):
    if all(map(is_valid, rows)):
        check_labels(*arrays(rows), NUM_CLASSES, NUM_ORIGINS)
    else:
        with pytest.raises(InputError, match="labels table: "):
            check_labels(*arrays(rows), NUM_CLASSES, NUM_ORIGINS)


@pytest.mark.parametrize("value", [1.0000001, 1.5, -1e-9, -0.5, -2.0, float("nan"), float("inf"), float("-inf")])
def test_one_odd_confidence_is_enough(value):
    with pytest.raises(InputError, match="confidences must be"):
        check_labels(*arrays([[(0, 1.0, 0)], [(0, -1.0, 0), (2, value, 0), (3, 0.0, 0)]]), NUM_CLASSES, NUM_ORIGINS)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[(1, 1, 0)], [], [(0, 1, 0), (3, 1, 0), (3, 1, 0)]], "must ascend in every row, got 3 after 3"),
        ([[(2, 1, 0), (1, 1, 0)], [(4, 1, 0)], []], "must ascend in every row, got 1 after 2"),
        ([[(4, 1, 0)], [(4, 0.5, 0), (5, 1, 0)]], "class 5 is unknown, expected 0 to 4"),
        ([[(0, 1, 0), (1, float("nan"), 0)]], r"must be in \[0, 1\] or -1, got nan"),
    ],
)
def test_the_message_names_what_is_wrong(rows, message):
    with pytest.raises(InputError, match=message):
        check_labels(*arrays(rows), NUM_CLASSES, NUM_ORIGINS)


def test_arrays_of_a_slice_begin_at_its_first_row():
    rows = [
        {"key": "k", "source": "s", "classes": [i, i + 1], "confidences": [1, 1], "origins": [0, 1]} for i in range(4)
    ]
    offsets, classes, _, origins = label_arrays(pa.RecordBatch.from_pylist(rows, schema=LABELS).slice(2, 2))
    assert offsets.tolist() == [0, 2, 4]
    assert classes.tolist() == [2, 3, 3, 4]
    assert origins.tolist() == [0, 1, 0, 1]
