"""What a footer tells of a row group's size, against the row group itself."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images import schemas
from ml_images.storage import tables
from ml_images.train.group_size import GroupSize, largest_of, sizes_of

KEYS = ["first", "the second", "3"]
ROWS: list[dict[str, Any]] = [
    {
        "key": key,
        "image": bytes([number]) * 1000 * (number + 1),
        "width": 1,
        "height": 1,
        "classes": list(range(number)),
        "confidences": [1.0] * number,
        "replication": 1.0,
    }
    for number, key in enumerate(KEYS)
]


def sizes(**options: Any) -> list[GroupSize]:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS, schemas.DATASET), out, row_group_size=2, **options)
    return sizes_of(pq.ParquetFile(out))


def test_row_groups_without_a_column_are_refused() -> None:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS, schemas.DATASET).drop_columns(["key"]), out)
    with pytest.raises(OSError, match=r"^row groups lack the columns key$"):
        sizes_of(pq.ParquetFile(out))


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}, {"use_dictionary": False}], ids=str)
def test_no_column_is_larger_than_is_told(options: dict[str, Any]) -> None:
    first, second = sizes(**options)
    assert (first.rows, first.labels) == (2, 2)  # Parquet counts an empty list as one value
    assert (second.rows, second.labels) == (1, 2)
    for size, rows in ((first, ROWS[:2]), (second, ROWS[2:])):
        assert size.keys >= sum(len(row["key"]) for row in rows)
        assert size.pictures >= sum(len(row["image"]) for row in rows)
        assert size.packed_pictures == size.pictures
        assert size.kept >= size.pictures + size.keys + 8 * size.labels


def test_pictures_that_lie_as_we_write_them_need_no_room_to_be_unpacked(tmp_path: Any) -> None:
    with tables.open_part(f"{tmp_path}/part.parquet", schemas.DATASET) as writer:
        writer.write_table(pa.Table.from_pylist(ROWS, schemas.DATASET))
    (size,) = sizes_of(pq.ParquetFile(tmp_path / "part.parquet"))
    assert (size.rows, size.labels, size.packed_pictures) == (3, 4, 0)
    assert 6000 <= size.pictures < 6200
    assert size.beside_arrow < size.beside_store < size.beside_petastorm


def test_the_largest_of_several_is_the_most_of_each_field() -> None:
    assert largest_of([GroupSize(1, 5, 3), GroupSize(2, 1, 9)]) == GroupSize(2, 5, 9)
    assert largest_of([]) == GroupSize()
