"""Rows of the table `labels` as arrays, whoever wrote the part: our own writer or, after a rewrite, somebody else's."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.errors import InputError
from ml_images.labels.counting import LISTS, label_arrays
from ml_images.storage.label_parquet.reader import LabelRows, is_ours, read_label_pages
from ml_images.storage.paths import open_location

# Rows decoded at once: 170,000 labels stay in a core's cache; 65,536 rows took a third longer.
BATCH_ROWS = 1 << 14


def read_rows(part: str) -> Iterator[LabelRows]:
    """The rows of one part in their order, without their keys. InputError where its lists do not fit together."""
    filesystem, path = open_location(part)
    # One string for all rows of a list, not one a row.
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file, read_dictionary=["source"]) as opened:
        if is_ours(opened):
            yield from read_label_pages(file, opened)
        else:
            for batch in opened.iter_batches(BATCH_ROWS, columns=["source", *LISTS], use_threads=False):
                yield to_rows(batch)


def to_rows(batch: pa.RecordBatch) -> LabelRows:
    """A batch of the table. InputError as `label_arrays`, and where a source is missing."""
    lists = label_arrays(batch)
    if batch.column("source").null_count:
        raise InputError("labels table: source has nulls")
    return LabelRows(batch.column("source"), *lists)
