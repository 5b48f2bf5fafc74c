"""A labels table and pairs of classes in, the labels table with what the pairs add out: a part for each part."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
from pyarrow import fs
from pyspark.broadcast import Broadcast
from pyspark.sql import SparkSession

from ml_images import schemas
from ml_images.hierarchy.ancestors import Ancestors
from ml_images.hierarchy.closure import Closed
from ml_images.labels.augment import augment_labels
from ml_images.labels.counting import check_labels, label_arrays
from ml_images.labels.pair_list import Implications
from ml_images.labels.statistics import ORIGINS
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.label_parquet.writer import open_label_part
from ml_images.storage.paths import join, make_folder, open_location

_TASK = pa.schema([pa.field("number", pa.int64()), pa.field("parts", pa.list_(pa.string()))])
_OF_A_BATCH = ("closed", "added", "ancestors", "present", "held_back")
_COUNTS = ("images", "labels", "labels_after", "images_changed", *_OF_A_BATCH)
_DONE = pa.schema([pa.field(name, pa.int64()) for name in _COUNTS])


@dataclass(frozen=True)
class Done:
    """What happened to the labels. images: rows in, and out; closed: ancestors that were missing before anything was
    implied; images_changed: by pairs; present, held_back: implied labels that were not added."""

    images: int
    labels: int
    labels_after: int
    closed: int
    images_changed: int
    added: int
    ancestors: int
    present: int
    held_back: int


def augment(
    spark: SparkSession, labels: str, implications: Implications, ancestors: Ancestors, confidence: float, output: str
) -> Done:
    """Stage the table labels in `output`."""
    location = join(output, "labels")
    tables.claim(location, "labels")
    tables.clear_staging(location)
    shares = tables.share_parts(labels, 4 * spark.sparkContext.defaultParallelism)
    tasks = [{"number": number, "parts": share} for number, share in enumerate(shares)]
    broadcast = spark.sparkContext.broadcast((implications, ancestors))
    write = partial(_write_parts, broadcast=broadcast, confidence=confidence, labels=labels, location=location)
    rows = work.run(work.units(spark, tasks, _TASK), write, _DONE, "augment")
    tables.require_staged(location, sum(len(share) for share in shares))
    totals: Counter[str] = Counter()
    for row in rows:
        totals.update(row)
    return Done(**{name: totals[name] for name in _COUNTS})


def copy_table(location: str, table: str, target: str) -> None:
    """Stage the parts of a table as they are as the table `target`."""
    tables.claim(target, table)
    tables.clear_staging(target)
    (from_system, source), (to_system, path) = open_location(location), open_location(join(target, tables.STAGING))
    with tables.storage_errors(target):
        for name in tables.parts(location):
            make_folder(to_system, join(path, name).rpartition("/")[0])
            fs.copy_files(
                join(source, name), join(path, name), source_filesystem=from_system, destination_filesystem=to_system
            )


def _write_parts(
    batches: Iterable[pa.RecordBatch],
    *,
    broadcast: Broadcast[tuple[Implications, Ancestors]],
    confidence: float,
    labels: str,
    location: str,
) -> Iterable[pa.RecordBatch]:
    implications, ancestors = broadcast.value
    for part in (part for batch in batches for row in batch.to_pylist() for part in row["parts"]):
        name = part[len(labels.rstrip("/")) + 1 :]
        counts = Counter(dict.fromkeys(_COUNTS, 0))
        with open_label_part(join(location, tables.STAGING, name)) as writer:
            for batch in tables.read_batches(part, schemas.LABELS.names):
                given = Closed(*label_arrays(batch))
                check_labels(*given, ancestors.num_classes, len(ORIGINS))
                done = augment_labels(given, implications, ancestors, confidence)
                writer.write_rows(batch.column("key"), batch.column("source"), *done.labels)
                counts.update({"images": len(batch), "labels": len(given.classes), "images_changed": done.rows})
                counts["labels_after"] += len(done.labels.classes)
                counts.update({name: getattr(done, name) for name in _OF_A_BATCH})
        yield pa.RecordBatch.from_pylist([dict(counts)], schema=_DONE)
