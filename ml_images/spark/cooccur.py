"""A labels table in, the tables `cooccurrence` and `pairs` out, in two passes of workers over Parquet.

Count: each task reads its share of the parts, only the columns it needs, into one dense array, and leaves its counts as
a file. Sum: each task adds up a range of classes and writes a part of both tables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.broadcast import Broadcast
from pyspark.sql import SparkSession

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.labels.association import measure
from ml_images.labels.cooccurrence import PairCounts, plan_bands, rank_classes
from ml_images.labels.present import read_lists
from ml_images.labels.sums import Int64
from ml_images.spark import work
from ml_images.spark.pair_sums import COUNT_TASK, SUM_TASK, Partials, count_tasks, plan_partials, read_tasks, sum_images
from ml_images.storage import tables
from ml_images.storage.paths import join

_COUNTED = pa.schema(
    [
        pa.field("first", pa.int32()),
        pa.field("rows", pa.int64()),
        pa.field("classes", pa.list_(pa.int32())),
        pa.field("images", pa.list_(pa.int64())),
    ]
)
_SUMMED = pa.schema(
    [
        pa.field("cells", pa.int64()),
        pa.field("labels", pa.int64()),
        pa.field("pairs", pa.int64()),
    ]
)


@dataclass(frozen=True, eq=False)
class Cooccurred:
    """What was counted. images: label rows; images_per_class: int64 (num_classes,); pairs: of different classes."""

    images: int
    images_per_class: Int64
    pairs: int
    pairs_kept: int  # in the table `pairs`


def count_pairs(
    spark: SparkSession, labels: str, num_classes: int, above: float, min_count: int, output: str
) -> Cooccurred:
    """Stage the tables cooccurrence and pairs in `output`, counted over the labels with a confidence above `above`."""
    location = join(output, "cooccurrence")
    for table in ("cooccurrence", "pairs"):
        tables.claim(join(output, table), table)
        tables.clear_staging(join(output, table))
    cores = spark.sparkContext.defaultParallelism
    partials = plan_partials(join(location, "_partials"), num_classes, triangle=True, tasks=cores)
    partials.clear()
    images, images_per_class = _count(spark, labels, partials, above, cores)
    broadcast = spark.sparkContext.broadcast(images_per_class)
    write = partial(
        _write_ranges, images_per_class=broadcast, images=images, partials=partials, min_count=min_count, output=output
    )
    tasks = partials.sum_tasks()
    written = work.run(work.units(spark, tasks, SUM_TASK), write, _SUMMED, "sum pairs")
    partials.clear()
    for table in ("cooccurrence", "pairs"):
        tables.require_staged(join(output, table), len(tasks))
    cells, labels_counted = (sum(row[name] for row in written) for name in ("cells", "labels"))
    assert labels_counted == images_per_class.sum(), "a label was lost between counting and summing"
    pairs = cells - int(np.count_nonzero(images_per_class))
    return Cooccurred(images, images_per_class, pairs, sum(row["pairs"] for row in written))


def _count(spark: SparkSession, labels: str, partials: Partials, above: float, cores: int) -> tuple[int, Int64]:
    """Write the partial counts; (label rows, images of each class)."""
    tasks = count_tasks(labels, cores, plan_bands(partials.num_classes))
    count = partial(_count_shares, partials=partials, above=above)
    counted = work.run(work.units(spark, tasks, COUNT_TASK), count, _COUNTED, "count pairs")
    partials.require(len(tasks))
    images = sum(row["rows"] for row in counted if row["first"] == 0)
    if not images:
        raise InputError(f"labels table '{labels}' has no rows: there is nothing to count")
    images_per_class = sum_images(counted, partials.num_classes)
    return images, images_per_class


def _count_shares(batches: Iterable[pa.RecordBatch], *, partials: Partials, above: float) -> Iterable[pa.RecordBatch]:
    for task in read_tasks(batches):
        counts = None
        for part in task["parts"]:
            for lists in read_lists(part, above):
                if counts is None:  # all bands of a share begin with the same rows, so they agree on the ranks
                    counts = PairCounts(rank_classes(lists, partials.num_classes), task["first"], task["end"])
                counts.add(lists, above)
        partials.write(task["number"], counts.cells() if counts else ())
        rows, (classes, images) = (counts.rows, counts.images()) if counts else (0, ([], []))
        columns = [[task["first"]], [rows], [classes], [images]]
        yield pa.RecordBatch.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, _COUNTED, strict=True)], schema=_COUNTED
        )


def _write_ranges(
    batches: Iterable[pa.RecordBatch],
    *,
    images_per_class: Broadcast[Int64],
    images: int,
    partials: Partials,
    min_count: int,
    output: str,
) -> Iterable[pa.RecordBatch]:
    for number in (task["number"] for task in read_tasks(batches)):
        counts, pairs = (
            join(output, table, tables.STAGING, f"part-{number:06d}.parquet") for table in ("cooccurrence", "pairs")
        )
        summary = {"cells": 0, "labels": 0, "pairs": 0}
        with (
            tables.open_part(counts, schemas.COOCCURRENCE) as to_counts,
            tables.open_part(pairs, schemas.PAIRS) as to_pairs,
        ):
            for sums in partials.sum(number).pieces():
                measured = measure(sums, images_per_class.value, images, min_count)
                if len(sums.counts):  # else a row group without rows
                    to_counts.write_table(pa.table(list(sums), schema=schemas.COOCCURRENCE))
                if len(measured):
                    to_pairs.write_table(measured)
                summary["cells"] += len(sums.counts)
                summary["labels"] += int(sums.counts[sums.class_a == sums.class_b].sum())
                summary["pairs"] += len(measured)
        yield pa.RecordBatch.from_pylist([summary], schema=_SUMMED)
