"""Brings together the rows of keys that stand in several rows: set aside by bucket while parsing, resolved a bucket a
task."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.broadcast import Broadcast
from pyspark.sql import SparkSession

from ml_images.annotations.duplicates import SET_ASIDE, Duplicates, resolve_duplicates
from ml_images.annotations.rows import Parsed, line_bytes, line_texts
from ml_images.annotations.scanner import Int64
from ml_images.annotations.take import take_rows
from ml_images.errors import InputError
from ml_images.spark import work
from ml_images.spark.label_parts import Closing, LabelParts
from ml_images.storage import tables
from ml_images.storage.lines import Block
from ml_images.storage.paths import join

_BUCKET = pa.schema([pa.field("number", pa.int64()), pa.field("bucket", pa.int64())])
_RESOLVED = pa.schema(
    [
        pa.field("rows", pa.int64()),
        pa.field("labels_closed", pa.int64()),
        pa.field("conflicts", pa.int64()),
        pa.field("merged", pa.int64()),
        pa.field("repeated", pa.int64()),
        pa.field("labels_rejected", pa.int64()),
        pa.field("rejected", pa.int64()),
        pa.field("sources", pa.list_(pa.string())),
        pa.field("source_rows", pa.list_(pa.int64())),
        pa.field("example", pa.string()),
    ]
)


def set_aside(
    folder: str, piece: int, source: str, data: Block, first_line: int, parsed: Parsed, bucket: Int64
) -> None:
    """Write the rows of `parsed` that have a bucket (not -1) into that bucket's folder. `data`: what was parsed."""
    for number in np.unique(bucket[bucket >= 0]).tolist():
        rows = np.flatnonzero(bucket == number)
        offsets, places = take_rows(parsed.offsets, parsed.sets[rows])
        starts = pa.array(offsets, pa.int32())
        columns = [
            parsed.keys.take(pa.array(rows)),
            pa.array([source] * len(rows)),
            pa.array(np.full(len(rows), piece, np.int64)),
            pa.array(parsed.lines[rows]),
            pa.array(line_texts(line_bytes(data, first_line), parsed.lines[rows] - first_line)),
            pa.ListArray.from_arrays(starts, pa.array(parsed.classes[places])),
            pa.ListArray.from_arrays(starts, pa.array(parsed.confidences[places])),
            pa.ListArray.from_arrays(starts, pa.array(parsed.absent[places])),
        ]
        part = join(_folder(folder, number), f"{piece:06d}-{first_line:012d}.parquet")
        tables.write_part(part, pa.Table.from_arrays(columns, schema=SET_ASIDE))


def resolve(
    spark: SparkSession,
    folder: str,
    buckets: tuple[int, ...],
    first_part: int,
    closing: Broadcast[Closing],
    policy: Duplicates,
    output: str,
) -> list[dict[str, Any]]:
    """Write the parts of what was set aside, one for each bucket, numbered from `first_part` on; what became of it.

    Raises InputError under the policy error, when a key is there twice.
    """
    rows = [{"number": number, "bucket": bucket} for number, bucket in enumerate(buckets, first_part)]
    write = partial(_resolve_buckets, folder=folder, closing=closing, policy=policy, output=output)
    resolved = work.run(work.units(spark, rows, _BUCKET), write, _RESOLVED, "duplicates")
    examples = [row["example"] for row in resolved if row["example"]]
    if policy == "error" and examples:
        raise InputError(
            f"key {min(examples)} stands in several rows; duplicates=merge or duplicates=first accept that"
        )
    return resolved


def _resolve_buckets(
    batches: Iterable[pa.RecordBatch],
    *,
    folder: str,
    closing: Broadcast[Closing],
    policy: Duplicates,
    output: str,
) -> Iterable[pa.RecordBatch]:
    for row in (row for batch in batches for row in batch.to_pylist()):
        place = _folder(folder, row["bucket"])
        pieces = [
            table for part in tables.parts(place) for table in tables.read_batches(join(place, part), SET_ASIDE.names)
        ]
        # None, where all rows of the keys were rejected: a line that is wrong twice, say.
        rows = pa.Table.from_batches(pieces, SET_ASIDE)
        one = resolve_duplicates(rows, policy, closing.value.ancestors.num_classes)
        with LabelParts(output, row["number"], closing.value) as parts:
            parts.add(
                one.keys,
                one.sources,
                np.arange(len(one.keys), dtype=np.int32),
                one.offsets,
                one.classes,
                one.confidences,
                one.absent,
            )
            parts.reject(one.rejects)
        sources = pc.value_counts(one.sources).to_pylist()
        done = {
            "rows": parts.rows,
            "labels_closed": parts.labels_closed,
            "conflicts": parts.conflicts,
            "merged": one.merged,
            "repeated": one.repeated,
            "labels_rejected": one.labels_rejected,
            "rejected": parts.rejected,
            "sources": [source["values"] for source in sources],
            "source_rows": [source["counts"] for source in sources],
            "example": one.example,
        }
        yield pa.RecordBatch.from_pylist([done], schema=_RESOLVED)


def _folder(folder: str, bucket: int) -> str:
    return join(folder, "_aside", f"{bucket:06d}")
