"""Two passes over the labels of a data set to be: images of each label and split, and what replication makes of them.

Each core counts a share of the parts and gives back one array; nothing of the pictures is read.
"""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import SparkSession

from ml_images.labels.per_split import add_present
from ml_images.labels.replication import add_weighted, image_factors
from ml_images.schemas import SPLITS
from ml_images.spark import work
from ml_images.storage import tables

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

_SHARE = pa.schema([pa.field("parts", pa.list_(pa.string())), pa.field("splits", pa.list_(pa.string()))])
_COUNTED = pa.schema([pa.field("sums", pa.binary())])
_LABELS = ["classes", "confidences"]


def count_labels(spark: SparkSession, parts: Sequence[tuple[str, str]], num_classes: int) -> Int64:
    """Images on which each class is present: int64 (splits, classes), in the order of SPLITS.

    parts: the location of each, and the split of its rows; '' where the column split tells it.
    """
    count = partial(_count, num_classes=num_classes)
    rows = work.run(work.units(spark, _share(spark, parts), _SHARE), count, _COUNTED, "count labels")
    sums = [np.frombuffer(row["sums"], np.int64) for row in rows]
    return np.sum(sums, axis=0, dtype=np.int64).reshape(len(SPLITS), num_classes)


def weigh_labels(spark: SparkSession, parts: Sequence[tuple[str, str]], factors: Float64) -> tuple[Float64, float]:
    """(float64 (classes), sum): replication of the train rows, added up over those that show each class, and over all:
    what an epoch shows, on average. Rows that are in a data set already keep the replication they have."""
    weigh = partial(_weigh, factors=factors)
    rows = work.run(work.units(spark, _share(spark, parts), _SHARE), weigh, _COUNTED, "weigh labels")
    sums = np.sum([np.frombuffer(row["sums"], np.float64) for row in rows], axis=0)
    return sums[:-1], float(sums[-1])


def label_arrays(batch: pa.RecordBatch) -> tuple[Int64, npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """offsets (rows + 1) from 0 on, classes and confidences of a batch, as the loops of labels/ take them."""
    offsets = batch.column("classes").offsets.to_numpy().astype(np.int64)
    classes = np.array(batch.column("classes").flatten(), np.int32)  # a copy: one type to compile for
    return offsets - offsets[0], classes, np.array(batch.column("confidences").flatten(), np.float32)


def _share(spark: SparkSession, parts: Sequence[tuple[str, str]]) -> list[dict[str, list[str]]]:
    groups = min(len(parts), spark.sparkContext.defaultParallelism)
    dealt = [parts[group::groups] for group in range(groups)]
    return [{"parts": [part for part, _ in mine], "splits": [split for _, split in mine]} for mine in dealt]


def _count(batches: Iterable[pa.RecordBatch], *, num_classes: int) -> Iterable[pa.RecordBatch]:
    counts = np.zeros((len(SPLITS), num_classes), np.int64)
    for split, batch in _read(batches, _LABELS):
        rows = np.full(len(batch), SPLITS.index(split), np.int64) if split else split_numbers(batch.column("split"))
        add_present(*label_arrays(batch), rows, counts)
    yield pa.RecordBatch.from_pylist([{"sums": counts.tobytes()}], schema=_COUNTED)


def _weigh(batches: Iterable[pa.RecordBatch], *, factors: Float64) -> Iterable[pa.RecordBatch]:
    sums, total = np.zeros(len(factors)), 0.0
    for split, batch in _read(batches, [*_LABELS, "replication"]):
        labels = label_arrays(batch)
        if split:
            weights = np.array(batch.column("replication"), np.float32) * np.float32(split == "train")
        else:
            is_train = split_numbers(batch.column("split")) == SPLITS.index("train")
            weights = np.where(is_train, image_factors(*labels, factors), np.float32(0))
        add_weighted(*labels, weights, sums)
        total += float(weights.sum(dtype=np.float64))
    yield pa.RecordBatch.from_pylist([{"sums": np.append(sums, total).tobytes()}], schema=_COUNTED)


def _read(batches: Iterable[pa.RecordBatch], columns: list[str]) -> Iterable[tuple[str, pa.RecordBatch]]:
    """(split, batch) of parts of a data set with these columns; ('', batch) of rows to be, with labels and splits."""
    for share in (share for batch in batches for share in batch.to_pylist()):
        for part, split in zip(share["parts"], share["splits"], strict=True):
            for batch in tables.read_batches(part, columns if split else [*_LABELS, "split"]):
                yield split, batch


def split_numbers(splits: pa.Array) -> Int64:
    """The number of each split in SPLITS: int64 (rows)."""
    coded = splits.dictionary_encode()
    numbers = np.array([SPLITS.index(split) for split in coded.dictionary.to_pylist()], np.int64)
    return numbers[coded.indices.to_numpy()]
