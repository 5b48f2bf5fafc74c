"""Labels and predictions in, the table `strong_pairs` out: joined by key in Spark, counted over Arrow batches.

The join is written down once, as classes and seen classes of each image, since every band of the counting reads it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs
from pyspark import TaskContext
from pyspark.broadcast import Broadcast
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, ByteType, DoubleType, FloatType, IntegerType, LongType, ShortType

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.hierarchy.ancestors import Ancestors
from ml_images.labels.strong_pairs import SeenCounts, StrongPairsConfig, plan_bands, select_strong
from ml_images.labels.sums import Int64
from ml_images.spark import work
from ml_images.spark.pair_sums import (
    COUNT_TASK,
    SUM_TASK,
    Partials,
    clear_folder,
    count_tasks,
    plan_partials,
    read_tasks,
    sum_images,
)
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join, open_location

_INTEGERS, _FLOATS = (ByteType, ShortType, IntegerType, LongType), (FloatType, DoubleType)
_SEEN = pa.schema([pa.field("classes", pa.list_(pa.int32())), pa.field("seen", pa.list_(pa.int32()))])
_JOINED = pa.schema(
    [pa.field("rows", pa.int64()), pa.field("classes", pa.list_(pa.int32())), pa.field("images", pa.list_(pa.int64()))]
)
_SELECTED = pa.schema([pa.field("pairs", pa.int64())])


@dataclass(frozen=True)
class Strong:
    """images: label rows that have predictions; predictions: rows of that table; pairs: strong ones."""

    images: int
    predictions: int
    pairs: int


def find_strong_pairs(
    spark: SparkSession,
    labels: str,
    predictions: str,
    ancestors: Ancestors,
    above: float,
    cfg: StrongPairsConfig,
    output: str,
) -> Strong:
    """Stage the table strong_pairs in `output`. A class is on an image by a label with a confidence above `above`."""
    location = join(output, "strong_pairs")
    tables.claim(location, "strong_pairs")
    tables.clear_staging(location)
    cores, num_classes = spark.sparkContext.defaultParallelism, ancestors.num_classes
    joined = join(location, "_joined")
    partials = plan_partials(join(location, "_partials"), num_classes, triangle=False, tasks=cores)
    clear_folder(joined)
    partials.clear()

    frame = _join(spark, labels, predictions, above, cfg.score_above)
    write = partial(_write_seen, location=joined, num_classes=num_classes)
    rows = work.run(frame, write, _JOINED, "join labels and predictions")
    images_per_class = sum_images(rows, num_classes)
    images = sum(row["rows"] for row in rows)
    if not images:
        raise InputError(f"predictions table '{predictions}' has no key of '{labels}': there is nothing to count")

    tasks = count_tasks(joined, cores, plan_bands(num_classes))
    work.run(
        work.units(spark, tasks, COUNT_TASK), partial(_count_seen, partials=partials), SUM_TASK, "count seen classes"
    )
    partials.require(len(tasks))

    broadcast = spark.sparkContext.broadcast((ancestors, images_per_class))
    select = partial(_select, broadcast=broadcast, partials=partials, share_above=cfg.share_above, location=location)
    selected = work.run(work.units(spark, partials.sum_tasks(), SUM_TASK), select, _SELECTED, "select strong pairs")
    tables.require_staged(location, len(partials.ranges))
    clear_folder(joined)
    partials.clear()
    return Strong(images, spark.read.parquet(for_spark(predictions)).count(), sum(row["pairs"] for row in selected))


def _join(spark: SparkSession, labels: str, predictions: str, above: float, score_above: float) -> DataFrame:
    """Columns classes, seen, key and predictions (how often the key is in that table), a row an image."""
    predicted = _read_predictions(spark, predictions)
    of_pairs = F.size("classes") == F.size("scores")
    uneven = predicted.where(~of_pairs).select("key").first()
    if uneven is not None:
        raise InputError(f"predictions table '{predictions}': key '{uneven['key']}' has not as many scores as classes")
    present = spark.read.parquet(for_spark(labels)).select(
        "key", _held("classes", "confidences", above).alias("classes")
    )
    seen = predicted.select("key", F.array_distinct(_held("classes", "scores", score_above)).alias("seen"))
    once = seen.groupBy("key").agg(F.first("seen").alias("seen"), F.count("*").alias("predictions"))
    return present.join(once, "key", "inner").select("classes", "seen", "key", "predictions")


def require_predictions(location: str) -> None:
    """Raise InputError unless there is a Parquet file, a folder of them, or a finished table of ours."""
    expected = "a Parquet file or folder with the columns key, classes and scores is expected"
    filesystem, path = open_location(location)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise InputError(f"predictions '{location}' do not exist; {expected}")
    if info.type == fs.FileType.Directory:
        if tables.read_json(join(location, tables.MARK)) is not None:
            tables.require(location, "predictions")
        if not tables.parts(location):
            raise InputError(f"predictions '{location}' hold no .parquet file; {expected}")
    else:
        try:
            pq.read_schema(path, filesystem=filesystem)
        except pa.ArrowInvalid as error:
            raise InputError(f"predictions '{location}' are no Parquet file; {expected}") from error


def _read_predictions(spark: SparkSession, location: str) -> DataFrame:
    """Key, classes and scores of any Parquet file or folder that has them; no list where it is null."""
    frame = spark.read.parquet(for_spark(location))
    found = {field.name: field.dataType for field in frame.schema.fields}
    columns = [F.col("key").cast("string")]
    for name, kinds, kept in (("classes", _INTEGERS, "bigint"), ("scores", _FLOATS, "float")):
        kind = found.get(name)
        if "key" not in found or not isinstance(kind, ArrayType) or not isinstance(kind.elementType, kinds):
            has = ", ".join(f"{field} {of.simpleString()}" for field, of in found.items())
            raise InputError(f"predictions '{location}' have {has}; key, lists of classes and of scores are expected")
        lists = F.col(name).cast(f"array<{kept}>")
        columns.append(F.coalesce(lists, F.array().cast(f"array<{kept}>")).alias(name))
    return frame.select(columns)


def _held(classes: str, values: str, above: float) -> Column:
    """The classes whose value is above `above`, compared as the float32 that it is stored as; NaN is not."""
    # Spark holds NaN for greater than any number.
    pairs = F.filter(
        F.arrays_zip(classes, values),
        lambda pair: (pair[values] > F.lit(above).cast("float")) & ~F.isnan(pair[values]),
    )
    return F.transform(pairs, lambda pair: pair[classes])


def _write_seen(batches: Iterable[pa.RecordBatch], *, location: str, num_classes: int) -> Iterable[pa.RecordBatch]:
    context = TaskContext.get()
    assert context is not None
    rows, images = 0, np.zeros(num_classes, np.int64)
    part = join(location, f"part-{context.partitionId():06d}.parquet")
    with tables.open_part(part, _SEEN) as writer:
        for batch in batches:
            twice = batch.filter(pc.greater(batch.column("predictions"), 1))
            if len(twice):
                key = twice.column("key")[0].as_py()
                raise InputError(f"predictions table: key '{key}' has several rows, one is expected")
            seen = batch.column("seen").flatten().to_numpy()
            if len(seen) and (seen.min() < 0 or seen.max() >= num_classes):
                wrong = seen.min() if seen.min() < 0 else seen.max()
                raise InputError(f"predictions table: class {wrong} is unknown, expected 0 to {num_classes - 1}")
            rows += len(batch)
            images += np.bincount(batch.column("classes").flatten().to_numpy(), minlength=num_classes)
            writer.write_table(pa.Table.from_batches([batch]).select(_SEEN.names).cast(_SEEN))
    found = np.flatnonzero(images)
    yield pa.RecordBatch.from_arrays(
        [pa.array([rows]), pa.array([found], pa.list_(pa.int32())), pa.array([images[found]], pa.list_(pa.int64()))],
        schema=_JOINED,
    )


def _count_seen(batches: Iterable[pa.RecordBatch], *, partials: Partials) -> Iterable[pa.RecordBatch]:
    for task in read_tasks(batches):
        counts = SeenCounts(partials.num_classes, task["first"], task["end"])
        for part in task["parts"]:
            for batch in tables.read_batches(part, _SEEN.names):
                counts.add(batch)
        partials.write(task["number"], counts.cells())
        yield pa.RecordBatch.from_pylist([{"number": task["number"]}], schema=SUM_TASK)


def _select(
    batches: Iterable[pa.RecordBatch],
    *,
    broadcast: Broadcast[tuple[Ancestors, Int64]],
    partials: Partials,
    share_above: float,
    location: str,
) -> Iterable[pa.RecordBatch]:
    ancestors, images_per_class = broadcast.value
    for number in (task["number"] for task in read_tasks(batches)):
        pairs = 0
        part = join(location, tables.STAGING, f"part-{number:06d}.parquet")
        with tables.open_part(part, schemas.STRONG_PAIRS) as writer:
            for sums in partials.sum(number).pieces():
                strong = select_strong(sums, images_per_class, ancestors, share_above)
                if len(strong):  # else a row group without rows
                    writer.write_table(strong)
                pairs += len(strong)
        yield pa.RecordBatch.from_pylist([{"pairs": pairs}], schema=_SELECTED)
