from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.labels.rows import BATCH_ROWS, read_rows, to_rows
from ml_images.schemas import LABELS
from ml_images.storage.label_parquet.writer import open_label_part

ROWS = BATCH_ROWS * 2 + 3
SIZES = np.arange(ROWS) % 4
OFFSETS = np.concatenate(([0], np.cumsum(SIZES)))
SOURCES = pa.array(["train_a.txt"] * (ROWS - 5) + ["val_b.txt"] * 5)


def lists() -> list[Any]:
    """classes, confidences, origins of all rows, one after the other."""
    classes = np.concatenate([np.arange(size) for size in SIZES])
    origins = np.arange(len(classes)) % 5
    return [classes.astype(np.int32), (classes / 7).astype(np.float32), origins.astype(np.int8)]


def write_ours(place: Path) -> None:
    with open_label_part(str(place)) as writer:
        writer.write_rows(pa.array(map(str, range(ROWS))), SOURCES, OFFSETS, *lists())


def write_otherwise(place: Path) -> None:
    """As some other program may have written it anew."""
    columns = [pa.ListArray.from_arrays(pa.array(OFFSETS, pa.int32()), pa.array(values)) for values in lists()]
    table = pa.Table.from_arrays([pa.array(map(str, range(ROWS))), SOURCES, *columns], schema=LABELS)
    pq.write_table(table, place, data_page_version="2.0", compression="snappy", row_group_size=ROWS // 3)


@pytest.mark.parametrize("write", [write_ours, write_otherwise])
def test_rows_are_read_in_their_order_whoever_wrote_them(write: Any, tmp_path: Path) -> None:
    write(tmp_path / "part.parquet")
    read = list(read_rows(str(tmp_path / "part.parquet")))
    assert pa.chunked_array([rows.sources.cast(pa.string()) for rows in read]).to_pylist() == SOURCES.to_pylist()
    assert np.array_equal(np.concatenate([np.diff(rows.offsets) for rows in read]), SIZES)
    for found, expected in zip(list(zip(*read, strict=True))[2:], lists(), strict=True):
        assert np.array_equal(np.concatenate(found), expected)
        assert {array.dtype for array in found} == {expected.dtype}


def test_both_ways_to_read_give_arrays_of_one_type(tmp_path: Path) -> None:
    """The loops over them would be compiled twice."""
    types = set()
    for write in (write_ours, write_otherwise):
        write(tmp_path / "part.parquet")
        for rows in read_rows(str(tmp_path / "part.parquet")):
            types.add(tuple((a.dtype.str, a.flags.c_contiguous, a.flags.aligned, a.flags.writeable) for a in rows[1:]))
    assert len(types) == 1


def test_a_row_without_a_source_is_refused() -> None:
    row = {"key": "k", "source": None, "classes": [1], "confidences": [1.0], "origins": [0]}
    nullable = pa.schema([field.with_nullable(True) for field in LABELS])
    with pytest.raises(InputError, match="source has nulls"):
        to_rows(pa.RecordBatch.from_pylist([row], schema=nullable))
