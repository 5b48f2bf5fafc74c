"""Rows of a data set by row group: the Arrow reader, and what every reader gives.

A row group is the unit of reading. Nothing is cached here: who asks decides how many are held.
"""

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.storage.label_parquet.pages import OtherVersion
from ml_images.storage.paths import join, open_location
from ml_images.train.buffer_pool import BufferPool
from ml_images.train.dataset import Split
from ml_images.train.footers import Footers
from ml_images.train.group_size import COLUMNS, LABELS, GroupSize
from ml_images.train.picture_pages import are_plain, column_numbers, read_pictures


class Row(NamedTuple):
    key: str
    image: bytes | memoryview  # JPEG; a part of the row group
    classes: NDArray[np.int32]
    confidences: NDArray[np.float32]


class RowGroup(NamedTuple):
    """Row i has the labels offsets[i] to offsets[i + 1]."""

    place: str  # of which file, and which of its row groups, for messages
    keys: pa.Array
    images: Sequence[bytes | memoryview]
    offsets: NDArray[np.int64]
    classes: NDArray[np.int32]
    confidences: NDArray[np.float32]

    def row(self, number: int) -> Row:
        labels = slice(self.offsets[number], self.offsets[number + 1])
        return Row(self.keys[number].as_py(), self.images[number], self.classes[labels], self.confidences[labels])


class RowGroups(Protocol):
    """Where the rows of a split come from; `at_once` threads may read at the same time."""

    at_once: int

    def read(self, group: int) -> RowGroup:
        """Row group `group` of the split, counted over its files by name. Raises InputError for a damaged file."""

    def beside(self, size: GroupSize) -> int:
        """Bytes that reading a row group of this size takes at most, beside what is kept of it."""


class ArrowRowGroups:
    """Straight from the Parquet files, wherever ml_images.storage.paths can open them."""

    at_once = 2  # an object store answers after some 50 ms

    def __init__(self, split: Split) -> None:
        self._split = split
        self._filesystem, self._folder = open_location(split.location)
        # Where each request takes long, columns are fetched together; on disk that is a copy more.
        self._together = not isinstance(self._filesystem, fs.LocalFileSystem)
        self._footers = Footers()
        self._buffers = BufferPool(split.largest.pictures)

    def read(self, group: int) -> RowGroup:
        file, number = self._split.place_of(group)
        place = f"{join(self._split.location, file)}, row group {number}"
        try:
            # A file opens anew for each row group, 0.03 ms: threads share footers only. Not mapped: a mapped file that
            # is cut short kills the process.
            with (
                self._filesystem.open_input_file(join(self._folder, file)) as source,
                pq.ParquetFile(source, metadata=self._footers.get(file), pre_buffer=self._together) as opened,
            ):
                self._footers.keep(file, opened.metadata)
                table, images = self._columns(source, opened, number)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{place} cannot be read: {' '.join(str(error).split())}") from error
        return to_row_group(table, images, self._split.row_groups[group], place)

    def beside(self, size: GroupSize) -> int:
        return size.beside_store if self._together else size.beside_arrow

    def _columns(
        self, source: pa.NativeFile, opened: pq.ParquetFile, number: int
    ) -> tuple[pa.Table, Sequence[bytes | memoryview]]:
        """The other columns of a row group, and its pictures."""
        whole = opened.metadata.row_group(number)
        chunk = whole.column(column_numbers(whole)["image"])
        if not self._together and are_plain(opened.schema_arrow.field("image"), chunk):
            with contextlib.suppress(OtherVersion):  # which only its pages tell
                images = read_pictures(source, chunk, self._buffers)
                return opened.read_row_group(number, LABELS, use_threads=False), images
        table = opened.read_row_group(number, COLUMNS, use_threads=False)
        return table, pictures_of(table)


def to_row_group(table: pa.Table, images: Sequence[bytes | memoryview], rows: int, place: str) -> RowGroup:
    """A table of LABELS, and the pictures, as a RowGroup. Raises InputError where it is not what was promised."""
    keys, classes, confidences = (one_array(table.column(name)) for name in LABELS)
    for name, column in zip(LABELS, (keys, classes, confidences), strict=True):
        if column.null_count:
            raise InputError(f"{place} has nulls in {name}")
    for name, lists, kind in (("classes", classes, pa.int32()), ("confidences", confidences, pa.float32())):
        if not (pa.types.is_list(lists.type) and lists.type.value_type == kind):
            raise InputError(f"{place} has {name} as {lists.type}, expected list<{kind}>: the data set was changed")
        if lists.flatten().null_count:
            raise InputError(f"{place} has nulls within {name}: the data set was changed")
    try:
        keys.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InputError(f"{place} has keys that are no text: the data set was changed ({error})") from error
    if not len(keys) == len(images) == rows:
        raise InputError(f"{place} holds {len(keys)} rows, the footers said {rows}: the data set was changed")
    offsets = numbers(classes.offsets, np.int32).astype(np.int64)
    flat, sure = numbers(classes.flatten(), np.int32), numbers(confidences.flatten(), np.float32)
    offsets -= offsets[0]
    if not np.array_equal(np.diff(numbers(confidences.offsets, np.int32)), np.diff(offsets)):
        raise InputError(f"{place}: classes and confidences of a row differ in length")
    return RowGroup(place, keys, images, offsets, flat, sure)


def pictures_of(table: pa.Table, pool: BufferPool | None = None) -> list[memoryview]:
    """Each value of the column `image`, where it lies or in a buffer of `pool`; of a null no bytes."""
    images = one_array(table.column("image").cast(pa.binary()))
    _, starts, data = images.buffers()
    content = memoryview(b"" if data is None else data)
    if pool is not None:
        content = pool.copied(content)
    places = np.frombuffer(starts, np.int32)[images.offset : images.offset + len(images) + 1].tolist()
    pictures = [content[start:end] for start, end in itertools.pairwise(places)]
    if images.null_count:
        are_there = images.is_valid().to_pylist()
        pictures = [picture if is_there else content[:0] for picture, is_there in zip(pictures, are_there, strict=True)]
    return pictures


def numbers(values: pa.Array, kind: type[np.number]) -> Any:
    """As `to_numpy`, which imports pandas: 0.2 s, and 40 MB that every rank would hold."""
    if not len(values):
        return np.empty(0, kind)
    return np.frombuffer(values.buffers()[1], kind)[values.offset : values.offset + len(values)]


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """combine_chunks copies also what is one piece: 0.01 ms a row of 60 KB."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
