"""Rows of a data set by row group: the Arrow reader, and what every reader gives.

A row group is the unit of reading. Nothing is cached here: who asks decides how many are held.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.storage.paths import join, open_location
from ml_images.train.dataset import Split

COLUMNS = ["key", "image", "classes", "confidences"]


class Row(NamedTuple):
    key: str
    image: bytes  # JPEG
    classes: NDArray[np.int32]
    confidences: NDArray[np.float32]


class RowGroup(NamedTuple):
    """Row i has the labels offsets[i] to offsets[i + 1]."""

    place: str  # of which file, and which of its row groups, for messages
    keys: pa.Array
    images: pa.Array
    offsets: NDArray[np.int64]
    classes: NDArray[np.int32]
    confidences: NDArray[np.float32]

    def row(self, number: int) -> Row:
        labels = slice(self.offsets[number], self.offsets[number + 1])
        return Row(
            self.keys[number].as_py(), self.images[number].as_py(), self.classes[labels], self.confidences[labels]
        )


class RowGroups(Protocol):
    """Where the rows of a split come from; threads may read at the same time."""

    def read(self, group: int) -> RowGroup:
        """Row group `group` of the split, counted over its files by name. Raises InputError for a damaged file."""


class ArrowRowGroups:
    """Straight from the Parquet files, wherever ml_images.storage.paths can open them."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._filesystem, self._folder = open_location(split.location)
        # Where each request takes long, columns are fetched together; on disk that is a copy more.
        self._together = not isinstance(self._filesystem, fs.LocalFileSystem)

    def read(self, group: int) -> RowGroup:
        file, number = self._split.place_of(group)
        place = f"{join(self._split.location, file)}, row group {number}"
        try:
            # A file opens anew for each row group: 0.3 ms, and threads share nothing. Not mapped: a mapped file that is
            # cut short kills the process.
            with (
                self._filesystem.open_input_file(join(self._folder, file)) as source,
                pq.ParquetFile(source, pre_buffer=self._together) as opened,
            ):
                table = opened.read_row_group(number, COLUMNS, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{place} cannot be read: {' '.join(str(error).split())}") from error
        return to_row_group(table, self._split.row_groups[group], place)


def to_row_group(table: pa.Table, rows: int, place: str) -> RowGroup:
    """A table of COLUMNS as a RowGroup. Raises InputError where it is not what the footer promised."""
    keys, images, classes, confidences = (_one_array(table.column(name)) for name in COLUMNS)
    for name, column in zip(COLUMNS, (keys, images, classes, confidences), strict=True):
        if column.null_count:
            raise InputError(f"{place} has nulls in {name}")
    if len(keys) != rows:
        raise InputError(f"{place} holds {len(keys)} rows, the footers said {rows}: the data set was changed")
    offsets = _numbers(classes.offsets, np.int32).astype(np.int64)
    flat, sure = _numbers(classes.flatten(), np.int32), _numbers(confidences.flatten(), np.float32)
    offsets -= offsets[0]
    if not np.array_equal(np.diff(_numbers(confidences.offsets, np.int32)), np.diff(offsets)):
        raise InputError(f"{place}: classes and confidences of a row differ in length")
    return RowGroup(place, keys, images, offsets, flat, sure)


def _numbers(values: pa.Array, kind: type[np.number]) -> Any:
    """As `to_numpy`, which imports pandas: 0.2 s, and 40 MB that every rank would hold."""
    if not len(values):
        return np.empty(0, kind)
    return np.frombuffer(values.buffers()[1], kind)[values.offset : values.offset + len(values)]


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    """combine_chunks copies also what is one piece: 0.01 ms a row of 60 KB."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
