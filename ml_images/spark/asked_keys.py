"""The keys that a run asks archives for: as a table for Spark, and as an index for the workers that read archives.

Both lie in the staging folder of the images table, out of the sight of every reader, until it is published.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyarrow import fs
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

from ml_images.archives.key_index import KeyIndex, digests_of
from ml_images.archives.names import Shape
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join, open_location

_KEYS = pa.schema([pa.field("key", pa.string())])
_WRITTEN = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("prefixes", pa.list_(pa.string())),
        pa.field("folders", pa.list_(pa.int64())),
        pa.field("have_endings", pa.list_(pa.bool_())),
    ]
)


@dataclass(frozen=True)
class AskedKeys:
    """Where the keys of a run lie."""

    folder: str
    numbers: tuple[int, ...]  # of its files
    shapes: frozenset[Shape]
    rows: int

    def read(self, spark: SparkSession) -> DataFrame:
        files = [for_spark(_keys_file(self.folder, number)) for number in self.numbers]
        return spark.read.parquet(*files)

    def load(self) -> KeyIndex:
        """The index, shared by all workers of a machine where the folder is on a local disk."""
        return KeyIndex(_load(self.folder), self.shapes)


def write_asked_keys(keys: DataFrame, location: str) -> AskedKeys:
    """Write `keys` (one column, distinct) into the staging folder of the images table at `location`."""
    folder = join(location, tables.STAGING, f"_asked-{uuid4().hex}")  # never one that a worker remembers
    files = work.run(keys, partial(_write, folder=folder), _WRITTEN, "look for missing keys")
    numbers = tuple(sorted(file["number"] for file in files))
    arrays = [tables.read_array(_digests_file(folder, number), np.uint64) for number in numbers]
    if arrays:
        tables.write_array(_digests_file(folder), np.sort(np.concatenate(arrays)))
    shapes = frozenset(
        Shape(*shape)
        for file in files
        for shape in zip(file["prefixes"], file["folders"], file["have_endings"], strict=True)
    )
    return AskedKeys(folder, numbers, shapes, sum(file["rows"] for file in files))


def _write(batches: Iterable[pa.RecordBatch], *, folder: str) -> Iterable[pa.RecordBatch]:
    """The keys of one partition as a Parquet file and as an array of digests; an empty partition writes nothing."""
    context = TaskContext.get()
    assert context is not None, "runs in a task of Spark"
    number, rows = context.partitionId(), 0
    digests, shapes = [], set[Shape]()
    with tables.open_part(_keys_file(folder, number), _KEYS) as writer:
        for batch in batches:
            rows += batch.num_rows
            writer.write_batch(pa.RecordBatch.from_arrays([batch.column("key").cast(pa.string())], schema=_KEYS))
            of_batch, shapes_of_batch = digests_of(batch.column("key").to_pylist())
            digests.append(of_batch)
            shapes |= shapes_of_batch
    tables.write_array(_digests_file(folder, number), np.concatenate([np.empty(0, np.uint64), *digests]))
    told = {
        "number": number,
        "rows": rows,
        "prefixes": [shape.prefix for shape in shapes],
        "folders": [shape.folders for shape in shapes],
        "have_endings": [shape.has_ending for shape in shapes],
    }
    yield pa.RecordBatch.from_pylist([told], schema=_WRITTEN)


@lru_cache(maxsize=1)
def _load(folder: str) -> np.ndarray:
    filesystem, path = open_location(_digests_file(folder))
    if isinstance(filesystem, fs.LocalFileSystem):
        filesystem = fs.LocalFileSystem(use_mmap=True)
    with filesystem.open_input_file(path) as file:
        return np.frombuffer(file.read_buffer(), np.dtype("<u8"))


def _keys_file(folder: str, number: int) -> str:
    return join(folder, f"{number:06d}.parquet")


def _digests_file(folder: str, number: int | None = None) -> str:
    return join(folder, "digests" if number is None else f"{number:06d}.digests")
