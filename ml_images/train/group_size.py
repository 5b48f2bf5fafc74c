"""What a row group takes in memory, from the footer of its file alone: for as long as it is kept, and while it is read.

Counted is as Arrow's memory pool and Python count. Columns are as Arrow decodes them: texts once with an offset each,
4 bytes a number. So the keys of a row group have to differ, and so have pictures where they are stored with a
dictionary, which our own files never do; other repeated texts could be longer than the footer tells.
"""

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.train.picture_pages import are_plain, column_numbers

LABELS = ["key", "classes", "confidences"]
COLUMNS = [*LABELS, "image"]

# Of a row: 184 of a view of its picture (or 33 of bytes of its own), 8 in the list of these, 20 in three arrays of
# offsets, 8 in the order of the epoch.
_ROW = 256
_LABEL = 8  # class and confidence
# Arrow's buffers double until they are cut to size, and beside each value lie two levels of 2 bytes: up to 16 for each
# of the two numbers, of which 8 are kept; a bit each says whether it is null.
_LABEL_READ = 25
_READER = 1 << 18  # of a file: its footer, decompressors, buffers of fixed size


class GroupSize(NamedTuple):
    """Of a row group, or of several the most of each."""

    rows: int = 0
    keys: int = 0  # bytes
    pictures: int = 0  # bytes
    labels: int = 0
    pages: int = 0  # bytes of all but pictures in the file, as they lie there and unpacked
    packed_pictures: int = 0  # bytes of pictures that are not just read, but unpacked; 0 where all are

    @property
    def kept(self) -> int:
        """Bytes of a RowGroup."""
        return self.rows * _ROW + self.keys + self.pictures + self.labels * _LABEL

    @property
    def beside_arrow(self) -> int:
        """Bytes that it takes beside these to read it from a disk."""
        return self._beside + 3 * self.packed_pictures  # as they lie there, unpacked page by page, in a growing buffer

    @property
    def beside_store(self) -> int:
        """The same where all columns are fetched together."""
        return self._beside + 2 * self.pictures + self.packed_pictures

    @property
    def beside_petastorm(self) -> int:
        """The same through Petastorm, which has Arrow unpack pictures as all other columns."""
        return self._beside + 3 * self.pictures

    @property
    def _beside(self) -> int:
        return _READER + self.pages + self.keys + self.labels * _LABEL_READ


def sizes_of(opened: pq.ParquetFile) -> list[GroupSize]:
    """Of each row group of a file that has the columns of a data set; OSError where its row groups have not."""
    footer, field = opened.metadata, opened.schema_arrow.field("image")
    groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
    numbers = column_numbers(groups[0]) if groups else {}
    missing = [name for name in COLUMNS if name not in numbers]
    if groups and missing:
        raise OSError(f"row groups lack the columns {', '.join(missing)}")
    return [_size_of(whole, numbers, field) for whole in groups]


def _size_of(whole: pq.RowGroupMetaData, numbers: dict[str, int], field: pa.Field) -> GroupSize:
    pictures, *others = (whole.column(numbers[name]) for name in ("image", *LABELS))
    size = max(pictures.total_uncompressed_size, pictures.total_compressed_size)
    return GroupSize(
        whole.num_rows,
        others[0].total_uncompressed_size,
        size,
        max(chunk.num_values for chunk in others),
        sum(chunk.total_compressed_size + 2 * chunk.total_uncompressed_size for chunk in others),
        0 if are_plain(field, pictures) else size,
    )


def largest_of(sizes: Iterable[GroupSize]) -> GroupSize:
    """The most of each."""
    return GroupSize(*map(max, zip(*sizes, strict=True))) if (sizes := list(sizes)) else GroupSize()
