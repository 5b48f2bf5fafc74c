"""A part of the table `labels`, written row group by row group: a plain Parquet file with schemas.LABELS.

pyarrow's writer puts levels and indices into runs value by value, 0.8 to 1.1 s of CPU per million rows of this table.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images.storage.label_parquet import columns
from ml_images.storage.label_parquet.chunks import Chunk
from ml_images.storage.label_parquet.footer import footer
from ml_images.storage.label_parquet.thrift import Value, i64, listing, struct
from ml_images.storage.tables import whole_file

_MAGIC = b"PAR1"


@contextmanager
def open_label_part(location: str) -> Iterator["LabelWriter"]:
    """A writer of label rows whose file appears under `location` whole, or not at all; like tables.open_part."""
    with whole_file(location) as (filesystem, beside), filesystem.open_output_stream(beside) as stream:
        writer = LabelWriter(stream)
        yield writer
        writer.finish()


class LabelWriter:
    """Writes a file from its first byte to its last, of which `finish` writes the last."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream = stream
        self._codec = pa.Codec("zstd", compression_level=1)
        self._row_groups: list[Value] = []
        self._rows = 0
        self._end = len(_MAGIC)
        stream.write(_MAGIC)

    def write_rows(
        self,
        keys: pa.StringArray,
        sources: str | pa.StringArray,
        offsets: npt.NDArray[np.int64],
        classes: npt.NDArray[np.int32],
        confidences: npt.NDArray[np.float32],
        origins: npt.NDArray[np.int8],
        sets: npt.NDArray[np.int32] | None = None,
    ) -> None:
        """One row group, or nothing for no rows; sources: of each row, or one of all.

        offsets: (sets + 1), from 0; the labels of each set ascend by class. sets: (rows) which one each row has;
        without it there is one for each row, in their order. No key or source is null, no class or origin negative,
        no confidence NaN.
        """
        starts, ends = (offsets[:-1], offsets[1:]) if sets is None else (offsets[:-1][sets], offsets[1:][sets])
        assert len(keys) == len(starts) and not keys.null_count
        assert isinstance(sources, str) or (len(sources) == len(keys) and not sources.null_count)
        assert offsets[0] == 0 and offsets[-1] == len(classes) == len(confidences) == len(origins)
        if not len(keys):
            return
        chunks = [Chunk(path, kind, self._codec) for path, kind in columns.COLUMNS.items()]
        pages = columns.list_pages(starts, ends)
        columns.add_keys(chunks[0], keys)
        columns.add_sources(chunks[1], sources, len(keys))
        columns.add_numbers(chunks[2], classes, pages)
        columns.add_floats(chunks[3], confidences, pages)
        columns.add_numbers(chunks[4], origins, pages)
        self._write_group(chunks, len(keys))

    def finish(self) -> None:
        """Write the footer."""
        end = footer(self._rows, self._row_groups)
        self._stream.write(end + len(end).to_bytes(4, "little") + _MAGIC)

    def _write_group(self, chunks: list[Chunk], rows: int) -> None:
        start, described = self._end, []
        for chunk in chunks:
            described.append(chunk.metadata(self._end))
            for piece in chunk.pieces:
                self._stream.write(piece)
            self._end += chunk.stored_bytes
        fields = {
            1: listing(described),
            2: i64(sum(chunk.raw_bytes for chunk in chunks)),
            3: i64(rows),
            5: i64(start),
            6: i64(self._end - start),
        }
        self._row_groups.append(struct(fields))
        self._rows += rows
