"""Reads parts of the table `labels` as arrays, a page at a time: those that writer.py wrote.

pyarrow finds out for each of the three list columns by itself where its rows begin, and takes three times as long. In
these parts the pages of the three end at the same rows and have the same levels, which are looked at once.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.storage.label_parquet.chunks import PLAIN, RLE_DICTIONARY
from ml_images.storage.label_parquet.decodings import decode, row_starts, words_of
from ml_images.storage.label_parquet.encodings import frozen
from ml_images.storage.label_parquet.pages import DICTIONARY_PAGE, DamagedPart, read_pages, varint

_FIRST = 2  # the place of the first list column in schemas.LABELS
_LISTS: Any = ((np.int32, np.int32), (np.float32, np.float32), (np.int32, np.int8))  # values in the file, and as read
_CONFIDENCES = 1  # their place among the lists
_NOT_READ = frozen(np.empty(0, np.float32))
_DEFINITIONS = frozen(np.arange(4, dtype=np.uint8))
_IS_LABEL = 2


class LabelRows(NamedTuple):
    """Row r has the labels offsets[r] to offsets[r + 1]. The arrays of labels are read-only, as those of Arrow are.

    They are for counting what is present, absent and unknown: where the footer says that all labels of a row group are
    present, their confidences are not read and not here, which takes a fifth off the time.
    """

    sources: pa.StringArray | pa.DictionaryArray
    offsets: npt.NDArray[np.int64]  # from 0
    classes: npt.NDArray[np.int32]
    confidences: npt.NDArray[np.float32]  # none of them where all labels are present
    origins: npt.NDArray[np.int8]


def is_ours(opened: pq.ParquetFile) -> bool:
    """Did writer.py write it? Other parts may have all that Parquet allows, which pyarrow reads."""
    return str(opened.metadata.created_by).startswith("ml-images ")


def read_label_pages(file: pa.NativeFile, opened: pq.ParquetFile) -> Iterator[LabelRows]:
    """The rows of `file`, which is open as `opened`, too, in their order; DamagedPart where they are not such rows."""
    for number in range(opened.num_row_groups):
        group = opened.metadata.row_group(number)
        sources = opened.read_row_group(number, ["source"], use_threads=False)["source"].combine_chunks()
        lists = [group.column(_FIRST + i) for i in range(len(_LISTS))]
        read = [i for i, column in enumerate(lists) if i != _CONFIDENCES or not _all_present(column)]
        row = 0
        for pages in zip(*(_read_column(file, lists[i], *_LISTS[i]) for i in read), strict=True):
            if any(page.levels != pages[0].levels for page in pages):
                raise DamagedPart("lists of different lengths in a row")
            offsets = _offsets(pages[0])
            rows, labels = len(offsets) - 1, int(offsets[-1])
            values = [_values(page, labels) for page in pages]
            if _CONFIDENCES not in read:
                values.insert(_CONFIDENCES, _NOT_READ)
            yield LabelRows(sources.slice(row, rows), offsets, *values)
            row += rows
        if row != len(sources):
            raise DamagedPart(f"{row} rows of lists, {len(sources)} sources")


def _all_present(confidences: pq.ColumnChunkMetaData) -> bool:
    bounds = confidences.statistics
    return bounds is not None and bounds.has_min_max and 0 < bounds.min <= bounds.max <= 1


class _ListPage(NamedTuple):
    num_levels: int
    levels: bytes  # repetition and definition, each behind its length in four bytes
    encoding: int
    values: memoryview
    dictionary: npt.NDArray
    stored: Any  # type of the values in the file


def _read_column(file: pa.NativeFile, column: pq.ColumnChunkMetaData, stored: Any, dtype: Any) -> Iterator[_ListPage]:
    start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
    dictionary = np.empty(0, dtype)
    for page in read_pages(memoryview(file.read_at(column.total_compressed_size, start)), pa.Codec("zstd")):
        if page.kind == DICTIONARY_PAGE:
            dictionary = np.frombuffer(page.content, stored).astype(dtype)
        else:
            content, end = memoryview(page.content), 0
            for _ in range(2):
                end += 4 + int.from_bytes(content[end : end + 4], "little")
            yield _ListPage(page.values, bytes(content[:end]), page.encoding, content[end:], frozen(dictionary), stored)


def _offsets(page: _ListPage) -> npt.NDArray[np.int64]:
    """Of the labels of each row."""
    behind = 4 + int.from_bytes(page.levels[:4], "little")  # where the repetition levels end
    head, start = varint(page.levels, 4)
    words = words_of(page.levels)
    if head & 1 == 0 or (head >> 1) * 8 < page.num_levels or behind - start < head >> 1:
        raise DamagedPart("repetition levels")
    definitions = np.empty(page.num_levels, np.uint8)
    if not decode(words, behind + 4, len(page.levels), 2, _DEFINITIONS, definitions):
        raise DamagedPart("definition levels")
    starts = row_starts(words, start, page.num_levels)
    if page.num_levels and starts[0]:
        raise DamagedPart("a page that begins in the middle of a row")
    is_empty = definitions != _IS_LABEL
    if not is_empty.any():
        return starts
    empty_before = np.zeros(page.num_levels + 1, np.int64)
    np.cumsum(is_empty, out=empty_before[1:])
    return starts - empty_before[starts]


def _values(page: _ListPage, count: int) -> npt.NDArray:
    if page.encoding == PLAIN:
        return frozen(np.frombuffer(page.values, page.stored, count).astype(page.dictionary.dtype))
    values = np.empty(count, page.dictionary.dtype)
    if page.encoding != RLE_DICTIONARY or not len(page.values):
        raise DamagedPart(f"encoding {page.encoding}")
    if not decode(words_of(page.values), 1, len(page.values), page.values[0], page.dictionary, values):
        raise DamagedPart("indices")
    return frozen(values)
