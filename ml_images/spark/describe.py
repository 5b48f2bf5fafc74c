"""The numbers of a report, read from the tables: labels in one pass, everything else from small columns."""

from collections.abc import Iterable
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from ml_images.errors import InputError
from ml_images.images.config import ImageConfig
from ml_images.images.resize import shrink
from ml_images.labels.statistics import LabelStatistics
from ml_images.report.contents import Dataset, Lines, Reject, Thumbnail
from ml_images.spark import work
from ml_images.spark.download import count_outcomes
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join, open_location

_COUNTED = pa.schema([pa.field("counters", pa.string())])

THUMBNAILS, THUMBNAIL_SIDE, THUMBNAIL_LABELS = 24, 128, 4


def count_labels(spark: SparkSession, labels: str, num_classes: int) -> LabelStatistics:
    """The statistics of a labels table."""
    frame = spark.read.parquet(for_spark(labels)).select("source", "classes", "confidences", "origins")
    statistics = LabelStatistics(num_classes)
    for row in work.run(frame, partial(_count_batches, num_classes=num_classes), _COUNTED, "describe"):
        statistics.merge(LabelStatistics.from_json(row["counters"]))
    return statistics


def _count_batches(batches: Iterable[pa.RecordBatch], *, num_classes: int) -> Iterable[pa.RecordBatch]:
    statistics = LabelStatistics(num_classes)
    for batch in batches:
        statistics.update(batch)
    yield pa.RecordBatch.from_pylist([{"counters": statistics.to_json()}], schema=_COUNTED)


def count_lines(spark: SparkSession, labels: str, rejects: str) -> Lines:
    """What became of the lines; the first rejected line of each reason is its example."""
    accepted = spark.read.parquet(for_spark(labels)).count()
    first = F.min(F.struct("source", "line", "text")).alias("first")
    rows = spark.read.parquet(for_spark(rejects)).groupBy("reason").agg(F.count("*").alias("count"), first).collect()
    found = tuple(
        Reject(row["reason"], row["count"], row["first"]["source"], row["first"]["line"], row["first"]["text"])
        for row in sorted(rows, key=lambda row: (-row["count"], row["reason"]))
    )
    return Lines(accepted + sum(reject.count for reject in found), accepted, found)


def count_keys(spark: SparkSession, labels: str) -> int:
    """Distinct keys of a labels table."""
    return spark.read.parquet(for_spark(labels)).select("key").distinct().count()


def count_images(spark: SparkSession, labels: str, images: str, num_keys: int) -> dict[str, int]:
    """Outcomes of the keys of a labels table. Raises InputError when some of them are not in the images table."""
    outcomes = count_outcomes(spark, images, spark.read.parquet(for_spark(labels)))
    missing = num_keys - sum(outcomes.values())
    if missing:
        raise InputError(
            f"images table '{images}' lacks {missing} of {num_keys} keys of '{labels}': run jobs/download.py"
        )
    return outcomes


def count_dataset(dataset: str, num_ok: int | None) -> Dataset:
    """Rows of each split, from the manifest; `num_ok` verified images are there to take, if that is known."""
    manifest = tables.read_json(join(dataset, "_manifest.json"))
    assert manifest is not None, "a finished data set has a manifest"
    rows = {split: layout["rows"] for split, layout in manifest["splits"].items()}
    left_out = 0 if num_ok is None else num_ok - sum(rows.values())
    if left_out < 0:
        raise InputError(
            f"data set '{dataset}' has more rows than there are ok images ({num_ok}): it was made of others"
        )
    return Dataset(rows, {"not in this data set": left_out} if left_out else {})


def thumbnails(dataset: str, vocabulary: pa.Table) -> tuple[Thumbnail, ...]:
    """Small pictures of the first rows of the data set (its order is random) with their most specific labels."""
    names = [names[0] for names in vocabulary["names"].to_pylist()]
    depths = vocabulary["depth"].to_pylist()
    config = ImageConfig(short_side=THUMBNAIL_SIDE, quality=80)
    made: list[Thumbnail] = []
    for name in tables.parts(dataset):
        filesystem, path = open_location(join(dataset, name))
        rows = pq.ParquetFile(filesystem.open_input_file(path)).iter_batches(THUMBNAILS)
        for row in next(rows).select(["key", "image", "classes", "confidences"]).to_pylist():
            positive = [c for c, conf in zip(row["classes"], row["confidences"], strict=True) if conf > 0]
            deepest = sorted(positive, key=lambda c: (-depths[c], c))[:THUMBNAIL_LABELS]
            jpeg = shrink(row["image"], config).data
            made.append(Thumbnail(row["key"], jpeg, tuple(names[c] for c in deepest)))
            if len(made) == THUMBNAILS:
                return tuple(made)
    return tuple(made)
