"""Runs a batch function on the executors and brings its (small) result rows home.

The function gets Arrow batches, does its work (parse a slice, fetch a chunk, write a file) and yields one row a unit.
What is large goes straight from the worker to storage and never passes through the JVM.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images.errors import InputError, StorageError
from ml_images.spark.progress import TaskProgress

BatchFunction = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


def units(spark: SparkSession, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> DataFrame:
    """One partition for each of `rows`, so that each is a task of its own."""
    frame = spark.createDataFrame(
        [tuple(row[name] for name in schema.names) for row in rows], from_arrow_schema(schema)
    )
    return frame.repartitionByRange(max(1, len(rows)), schema.names[0]) if len(rows) > 1 else frame.coalesce(1)


def run(frame: DataFrame, function: BatchFunction, schema: pa.Schema, title: str) -> list[dict[str, Any]]:
    """Apply `function` to every partition of `frame`; the rows it yields (by `schema`) as dicts.

    A worker's InputError and StorageError are raised here, too; what else a task raises stops the job with its story.
    """
    return collect(frame.mapInArrow(function, from_arrow_schema(schema)), title)


def collect(frame: DataFrame, title: str) -> list[dict[str, Any]]:
    """The (few) rows of `frame` as dicts, with a progress line and the errors of `run`."""
    with TaskProgress(frame.sparkSession.sparkContext, title):
        try:
            rows = frame.collect()
        except (PySparkException, Py4JJavaError) as error:
            raise _named(error) from error
    return [row.asDict(recursive=True) for row in rows]


def grouped(batches: Iterable[pa.RecordBatch], column: str) -> Iterator[tuple[int, pa.Table]]:
    """(value, rows) for each run of equal integers in `column`, also when a run goes over several batches."""
    current, pieces = -1, list[pa.RecordBatch]()
    for batch in batches:
        values = batch.column(column).to_numpy()
        cuts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
        for start, end in itertools.pairwise(cuts):
            if start == end:
                continue
            if pieces and values[start] != current:
                yield current, pa.Table.from_batches(pieces)
                pieces = []
            current = int(values[start])
            pieces.append(batch.slice(start, end - start))
    if pieces:
        yield current, pa.Table.from_batches(pieces)


def _named(error: Exception) -> Exception:
    """A worker's error of one line, told by that line in the remote traceback; any other error as it is."""
    for line in str(error).splitlines():
        kind, _, message = line.strip().partition(": ")
        for known in (InputError, StorageError):
            if kind == f"{known.__module__}.{known.__name__}":
                return known(message)
        if "No space left on device" in line:  # the JVM's own spill and shuffle files
            return StorageError(f"no space left on the device ({message or line.strip()})")
    return error
