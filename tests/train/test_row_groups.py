"""What a table of a damaged or changed file gives: one line that names the place."""

import pyarrow as pa
import pytest

from ml_images.errors import InputError
from ml_images.train.row_groups import pictures_of, to_row_group

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


@pytest.mark.parametrize(
    ("types", "line"),
    [
        ((pa.string(), pa.list_(pa.int64()), pa.list_(pa.float32())), r"has classes as list<item: int64>"),
        ((pa.string(), pa.large_list(pa.int32()), pa.list_(pa.float32())), r"has classes as large_list"),
        ((pa.string(), pa.list_(pa.int32()), pa.list_(pa.float64())), r"has confidences as list<item: double>"),
    ],
)
def test_labels_in_other_numbers_are_refused_and_not_taken_for_others(
    types: tuple[pa.DataType, ...], line: str
) -> None:
    with pytest.raises(InputError, match=f"^file 7 {line}.*: the data set was changed"):
        to_row_group(table(pa.array(["a", "b"]), types), [b"", b""], 2, "file 7")


@pytest.mark.parametrize("name", ["classes", "confidences"])
def test_a_null_among_labels_is_no_label(name: str) -> None:
    whole = table(pa.array(["a", "b"]))
    place = whole.column_names.index(name)
    odd = whole.set_column(place, name, pa.array([[1, None], []], TYPES[place]))
    with pytest.raises(InputError, match=f"^file 7 has nulls within {name}"):
        to_row_group(odd, [b"", b""], 2, "file 7")


def test_labels_that_are_no_lists_are_named_by_their_place() -> None:
    odd = pa.table([pa.array(["a"]), pa.array([{"x": 1}]), pa.array([[1.0]])], names=["key", "classes", "confidences"])
    with pytest.raises(InputError, match=r"^file 7 has classes as struct"):
        to_row_group(odd, [b""], 1, "file 7")


def test_a_picture_that_is_null_is_one_of_no_bytes() -> None:
    images = pa.table([pa.array([b"xy", None, b"z"], pa.binary())], names=["image"])
    assert [bytes(picture) for picture in pictures_of(images.slice(1))] == [b"", b"z"]
    assert [bytes(picture) for picture in pictures_of(images)] == [b"xy", b"", b"z"]
    _, starts, content = pa.array([b"xy", b"gone", b"z"]).buffers()  # bytes may lie below a null
    below = pa.Array.from_buffers(pa.binary(), 3, [images["image"].chunk(0).buffers()[0], starts, content])
    assert [bytes(picture) for picture in pictures_of(pa.table([below], names=["image"]))] == [b"xy", b"", b"z"]
