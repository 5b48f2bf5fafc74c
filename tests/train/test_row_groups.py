"""What a table of a damaged or changed file gives: one line that names the place."""

import pyarrow as pa
import pytest

from ml_images.errors import InputError
from ml_images.train.row_groups import to_row_group

TYPES = (pa.string(), pa.list_(pa.int32()), pa.list_(pa.float32()))


def table(keys: pa.Array, types: tuple[pa.DataType, ...] = TYPES) -> pa.Table:
    columns = [keys, pa.array([[1, 2], []], types[1]), pa.array([[1, 0], []], types[2])]
    return pa.table(columns, names=["key", "classes", "confidences"])


def test_rows_have_their_own_keys_and_labels() -> None:
    group = to_row_group(table(pa.array(["a", "b"])), [b"x", b"y"], 2, "file 7")
    first, second = group.row(0), group.row(1)
    assert (first.key, first.image, first.classes.tolist(), first.confidences.tolist()) == ("a", b"x", [1, 2], [1, 0])
    assert (second.key, second.classes.tolist()) == ("b", [])


def test_keys_that_are_no_text_are_named_by_their_place() -> None:
    keys = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"\xff"]).buffers())
    with pytest.raises(InputError, match=r"^file 7 has keys that are no text: the data set was changed"):
        to_row_group(table(keys), [b"", b""], 2, "file 7")


def test_labels_that_are_no_lists_are_named_by_their_place() -> None:
    odd = pa.table([pa.array(["a"]), pa.array([{"x": 1}]), pa.array([[1.0]])], names=["key", "classes", "confidences"])
    with pytest.raises(InputError, match=r"^file 7 has no lists of classes and confidences"):
        to_row_group(odd, [b""], 1, "file 7")
