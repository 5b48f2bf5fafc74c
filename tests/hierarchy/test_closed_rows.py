import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.hierarchy.closed_rows import Closed, checked_rows, sort_members, write_rows


@given(st.integers(1, 80), st.data())
def test_members_come_out_ascending_whether_they_are_few_or_many(num_classes, data):
    members = data.draw(st.lists(st.integers(0, num_classes - 1), unique=True))
    classes = np.array([-7, *members, -9], np.int32)
    is_member = np.zeros(num_classes, np.int8)
    is_member[members] = 2
    sort_members(classes, 1, 1 + len(members), is_member)
    assert classes.tolist() == [-7, *sorted(members), -9]


@pytest.mark.parametrize("labels", [0, 1, 7, 1000])
def test_rows_are_asked_for_until_all_are_written_in_arrays_that_then_fit(labels):
    lengths = [3, 0, 3, 1, 2, 3, 3, 3, 3, 0]
    asked = []

    def close(row: int, out: Closed) -> int:
        asked.append(row)
        while row < len(lengths) and len(out.classes) - out.offsets[row] >= 3:
            end = out.offsets[row] + lengths[row]
            out.classes[out.offsets[row] : end] = row
            out.confidences[out.offsets[row] : end] = row / 10
            out.origins[out.offsets[row] : end] = 1
            row += 1
            out.offsets[row] = end
        return row

    out = write_rows(len(lengths), 3, labels, close)
    assert out.classes.tolist() == np.repeat(range(10), lengths).tolist()
    np.testing.assert_array_equal(out.confidences, out.classes.astype(np.float32) / np.float32(10))
    assert out.origins.tolist() == [1] * sum(lengths)
    assert np.diff(out.offsets).tolist() == lengths
    assert all(array.base is None for array in out)  # no view of something larger
    assert (len(asked) == 1) == (labels == 1000)


def test_rows_of_read_only_arrays_and_other_types_and_from_the_middle_are_put_in_form():
    offsets, classes = np.array([2, 3, 5], np.int32), np.array([9, 9, 0, 1, 2, 9], np.int32)
    sure = np.array([9, 9, 1, 0, -1, 9], np.float32)
    classes.flags.writeable = sure.flags.writeable = False
    offsets, classes, sure = checked_rows(offsets, classes, sure, 3)
    assert (offsets.tolist(), classes.tolist(), sure.tolist()) == ([0, 1, 3], [0, 1, 2], [1.0, 0.0, -1.0])
    assert [array.dtype for array in (offsets, classes, sure)] == [np.int64, np.int32, np.float32]
    assert all(array.flags.writeable and array.flags.c_contiguous for array in (offsets, classes, sure))
