"""Folds of the rows that are to be written, as the table `folds`: every data set of the same rows has the same ones.

The labels of all rows go through the driver: about 60 bytes a row and 16 a label, 0.25 GB for a million images of the
original's 11,166 classes.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from ml_images import schemas
from ml_images.labels.splits import fold_hashes
from ml_images.labels.stratify import stratify
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.paths import join


def make_folds(
    rows: DataFrame, scratch: str, num_classes: int, folds: int, seed: int
) -> tuple[pa.Table, dict[str, npt.NDArray[np.int64]]]:
    """(rows by schemas.FOLDS, images of each class in fold0, fold1, ...) of `rows` (key, item, classes, confidences).

    A label counts where it is present (confidence above 0), and a group of near duplicates (item) as one thing.
    """
    columns = ("key", "item", "classes", "confidences")
    parts = [place for place, _ in work.write(rows.select(*columns), join(scratch, "folds"), "read labels for folds")]
    hashes, lengths, labels = [], [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    for batch in _batches(parts, list(columns[1:])):
        hashes.append(fold_hashes(seed, batch.column("item")))
        present = pc.greater(batch.column("confidences").flatten(), 0)
        labels.append(batch.column("classes").flatten().filter(present).to_numpy())
        starts = batch.column("classes").offsets.to_numpy()
        before = np.concatenate([[0], np.cumsum(present.to_numpy(zero_copy_only=False), dtype=np.int64)])
        lengths.append(np.diff(before[starts - starts[0]]))
    offsets, classes = np.cumsum(np.concatenate(lengths)), np.concatenate(labels).astype(np.int32)
    fold_of = stratify(np.concatenate(hashes), offsets, classes, num_classes, folds)
    keys = [batch.column("key") for batch in _batches(parts, ["key"])]
    counts = np.bincount(
        np.repeat(fold_of.astype(np.int64), np.diff(offsets)) * num_classes + classes, minlength=folds * num_classes
    ).reshape(folds, num_classes)
    table = pa.table([pa.chunked_array(keys, pa.string()), fold_of], schema=schemas.FOLDS)
    return table.sort_by("key"), {f"fold{fold}": counts[fold] for fold in range(folds)}


def splits_of_folds(folds: DataFrame, fold: int) -> DataFrame:
    """(key, split) of rows (key, fold): one fold is val, the others train."""
    return folds.select("key", F.when(F.col("fold") == fold, "val").otherwise("train").alias("split"))


def _batches(parts: list[str], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        yield from tables.read_batches(part, columns)
