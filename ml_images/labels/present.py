"""Which labels of a table count as present, and how they are read: confidence strictly above a threshold, 0 by default.

A label that is verified absent (0) or unknown (-1) is never present. Where the Parquet footer says that all
confidences of a row group are above the threshold, they are not read: that saves half of the reading, and the usual
table has no other labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.errors import InputError
from ml_images.storage.paths import open_location

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]

# 1<<13 to 1<<15 read a million rows of 13 labels in 0.12 s, 1<<18 in 0.25 s: what is decoded still lies in the cache.
_ROWS_AT_ONCE = 1 << 14

_NOT_READ: Float32 = pa.array([], pa.float32()).to_numpy()  # read-only as all arrays of Arrow: one type to compile for


@dataclass(frozen=True, eq=False)
class LabelLists:
    """Labels of rows: row r has `classes[offsets[r]:offsets[r + 1]]`; `confidences` is empty when all are present."""

    offsets: Int32  # (rows + 1), not from 0 in a slice
    classes: Int32
    confidences: Float32

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1


def check_above(above: float) -> None:
    """The rule of every option `above`."""
    if not 0 <= above < 1:
        raise ValueError(f"above is a confidence from 0 to below 1, got {above}")


def read_lists(part: str, above: float) -> Iterator[LabelLists]:
    """Classes and, where it needs them to tell which are present, confidences of one part of a labels table."""
    filesystem, path = open_location(part)
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file) as opened:
        for group in range(opened.metadata.num_row_groups):
            columns = ["classes"]
            if not _all_above(opened.metadata.row_group(group), above):
                columns.append("confidences")
            batches = opened.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns, use_threads=False)
            yield from (to_lists(batch, part) for batch in batches)


def to_lists(batch: pa.RecordBatch, part: str) -> LabelLists:
    """The arrays of the columns classes and, if it is there, confidences. InputError where they do not fit."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    for name, column in columns.items():
        if column.null_count or column.flatten().null_count:
            raise InputError(f"labels table: {name} has nulls in '{part}'; empty lists are accepted")
    offsets = columns["classes"].offsets.to_numpy()
    classes = columns["classes"].values.to_numpy()
    if "confidences" not in columns:
        return LabelLists(offsets, classes, _NOT_READ)
    if not np.array_equal(columns["confidences"].offsets.to_numpy(), offsets):
        raise InputError(f"labels table: classes and confidences of a row differ in length in '{part}'")
    return LabelLists(offsets, classes, columns["confidences"].values.to_numpy())


def _all_above(group: pq.RowGroupMetaData, above: float) -> bool:
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema.split(".")[0] == "confidences":
            statistics = column.statistics
            if column.num_values == 0 or statistics is None or not statistics.has_min_max:
                return False
            return bool(np.float32(statistics.min) > np.float32(above))
    return False
