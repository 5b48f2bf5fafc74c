"""The pictures of a row group straight from the pages of its file: one read into one buffer, of which each is a part.

pyarrow copies them into a buffer that grows, whose pages its allocator gives back to the kernel and takes anew: 0.028
ms of CPU a picture of 60 KB where reading the bytes takes 0.005. Of what Parquet allows there is what materialize.py
writes for pictures: values as they are, without levels, in data pages of version 1.
https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.storage.label_parquet.pages import DATA_PAGE, DamagedPart, Page, read_pages
from ml_images.train.buffer_pool import BufferPool

_PLAIN = 0
_LENGTH = 4  # bytes before each value


class _Stored:
    """What a pa.Codec is, for pages that are not compressed."""

    @staticmethod
    def decompress(content: memoryview, _size: int) -> pa.Buffer:
        return pa.py_buffer(content)


def column_numbers(whole: pq.RowGroupMetaData) -> dict[str, int]:
    """Where in a row group the chunk of each column lies, by the column's name. ParquetFile.schema would tell, too, but
    it and the footer (some 70 KB) hold each other until somebody looks for such cycles."""
    paths = (whole.column(number).path_in_schema for number in range(whole.num_columns))
    return {path.partition(".")[0]: number for number, path in enumerate(paths)}


def are_plain(field: pa.Field, chunk: pq.ColumnChunkMetaData) -> bool:
    """Can `read_pictures` read this chunk of the column `field`?"""
    return (
        not field.nullable
        and not pa.types.is_nested(field.type)
        and chunk.physical_type == "BYTE_ARRAY"
        and chunk.compression == "UNCOMPRESSED"
        and set(chunk.encodings) == {"PLAIN", "RLE"}  # RLE: of the levels, which there are none of
        and not chunk.is_stats_set  # pages would have statistics, too
    )


def read_pictures(file: pa.NativeFile, chunk: pq.ColumnChunkMetaData, pool: BufferPool) -> list[memoryview]:
    """The bytes of each picture of a column chunk, parts of one buffer; OSError where it holds something else."""
    file.seek(chunk.data_page_offset)
    room = pool.lend(chunk.total_compressed_size)
    stored = room[: file.readinto(room)].toreadonly()
    pictures: list[memoryview] = []
    try:
        for page in read_pages(stored, _Stored()):
            pictures += _values(page)
    except (IndexError, RecursionError) as error:  # of page headers that end too early, or never
        raise DamagedPart(f"page header: {error}") from error
    if len(pictures) != chunk.num_values:
        raise DamagedPart(f"{len(pictures)} pictures, {chunk.num_values} were promised")
    return pictures


def _values(page: Page) -> list[memoryview]:
    content, values, at = memoryview(page.content), [], 0
    if (page.kind, page.encoding) != (DATA_PAGE, _PLAIN):
        raise DamagedPart(f"a page of type {page.kind} in encoding {page.encoding}")
    for _ in range(page.values):
        start = at + _LENGTH
        at = start + int.from_bytes(content[at:start], "little")
        values.append(content[start:at])
    if at != len(content):  # also where a length was cut off, or leads beyond the page
        raise DamagedPart(f"values end at byte {at} of a page of {len(content)}")
    return values
