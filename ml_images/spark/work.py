"""Runs a batch function on the executors and brings its (small) result rows home.

The function gets Arrow batches, does its work (parse a slice, fetch a chunk, write a file) and yields one row a unit.
What is large goes straight from the worker to storage and never passes through the JVM.
"""

import gc
import itertools
import os
import re
import socket
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zipimport import zipimporter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images.errors import InputError, StorageError
from ml_images.spark.progress import TaskProgress
from ml_images.storage import tables
from ml_images.storage.paths import for_spark_to_write, join, open_location

# Not those of files that are gone, or whose columns are of other types, which have names of their own.
_UNREADABLE = re.compile(
    r"FAILED_READ_FILE\.(?:NO_HINT|CANNOT_READ_FILE_FOOTER)\] "
    r"Encountered error while reading file (?:file:(?://)?)?(.+?)\. "
)

BatchFunction = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Units:
    """Rows that say what is to be done, shared out to tasks in their order; a task gets its rows as one batch."""

    spark: SparkSession
    shares: Sequence[Sequence[dict[str, Any]]]
    schema: pa.Schema


def units(spark: SparkSession, rows: Sequence[dict[str, Any]], schema: pa.Schema, *, at_once: int = 1) -> Units:
    """A task for each of `rows`, or for up to `at_once` of them where they are many and short."""
    ends = itertools.accumulate(task_sizes(len(rows), spark.sparkContext.defaultParallelism, at_once), initial=0)
    return Units(spark, [rows[start:end] for start, end in itertools.pairwise(ends)], schema)


def task_sizes(num_units: int, cores: int, at_once: int) -> list[int]:
    """How many units each task takes: at most `at_once`, and fewer and fewer, so that all cores end at the same time.

    A task takes two thirds of a core's share of what is left (guided self-scheduling: Polychronopoulos and Kuck 1987).
    One unit a task would be as even, but a task costs 0.015 s.
    """
    sizes, left = [], num_units
    while left:
        sizes.append(min(at_once, -(-2 * left // (3 * cores))))
        left -= sizes[-1]
    return sizes


def run(work: DataFrame | Units, function: BatchFunction, schema: pa.Schema, title: str = "") -> list[dict[str, Any]]:
    """Apply `function` to every partition of a frame, or to units; the rows it yields (by `schema`) as dicts.

    Without a title somebody else shows how far it is. A worker's InputError and StorageError are raised here, too; what
    else a task raises stops the job with its story.
    """
    if isinstance(work, DataFrame):
        return collect(work.mapInArrow(function, from_arrow_schema(schema)), title)
    # An RDD, as there is nothing for SQL to plan: its first job in a session takes 1.4 s, mapInArrow's 3.4 s.
    context = work.spark.sparkContext
    shares = context.parallelize(work.shares, len(work.shares) or 1)
    done = shares.flatMap(partial(_run_units, schema=work.schema, run=function, _=_AcknowledgedAtOnce()))
    with TaskProgress(context, title) if title else nullcontext(), _workers_errors():
        return list(done.collect())


def _run_units(
    rows: list[dict[str, Any]], *, schema: pa.Schema, run: BatchFunction, _: "_AcknowledgedAtOnce"
) -> Iterator[dict[str, Any]]:
    for batch in run([pa.RecordBatch.from_pylist(rows, schema=schema)]):
        yield from batch.to_pylist()
    _spare_later_tasks()


class _AcknowledgedAtOnce:
    """Belongs to what a worker is told to run; while that is unpickled, the JVM's message is acknowledged.

    The JVM writes what is to be run and the rows one after the other, and its kernel keeps the second back until the
    first is acknowledged (Nagle's algorithm), which the worker's kernel puts off as it has nothing to say: 0.045 s of
    waiting in every task (PySpark 4.0 on Linux).
    """

    def __reduce__(self) -> tuple[Callable[[], "_AcknowledgedAtOnce"], tuple[()]]:
        return _acknowledged_at_once, ()


def _acknowledged_at_once() -> _AcknowledgedAtOnce:
    if hasattr(socket, "TCP_QUICKACK"):  # Linux
        for number in (int(entry.name) for entry in Path("/proc/self/fd").iterdir()):
            with suppress(OSError):  # no TCP, or closed: the listing's own
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    connection = socket.socket(fileno=os.dup(number))
                    with connection:
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return _AcknowledgedAtOnce()


def _spare_later_tasks() -> None:
    """Between two tasks of a worker PySpark 4.0 invalidates the import caches and collects garbage: 0.13 s of CPU.

    The first makes the importer of each package in pyspark.zip read the directory of that zip again; forgotten, an
    importer comes back when it is needed. The second looks at all objects of all modules; frozen, they are passed over.
    """
    for place, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimporter):
            del sys.path_importer_cache[place]
    _freeze_modules()


@cache
def _freeze_modules() -> None:
    """Once in a process; to ask `gc.get_freeze_count` whether it was done walks over all of them for 0.015 s."""
    gc.collect()
    gc.freeze()


def collect(frame: DataFrame, title: str) -> list[dict[str, Any]]:
    """The (few) rows of `frame` as dicts, with a progress line and the errors of `run`."""
    with TaskProgress(frame.sparkSession.sparkContext, title), _workers_errors():
        rows = frame.collect()
    return [row.asDict(recursive=True) for row in rows]


def write(frame: DataFrame, folder: str, title: str) -> list[tuple[str, int]]:
    """`frame` as Parquet files in `folder`, a new one, in the order of its partitions; (location, rows) of each that
    has rows. With a progress line and the errors of `run`."""
    with TaskProgress(frame.sparkSession.sparkContext, title), _workers_errors():
        frame.write.parquet(for_spark_to_write(folder))
    found = []
    for name in tables.parts(folder):
        filesystem, path = open_location(join(folder, name))
        rows = pq.read_metadata(path, filesystem=filesystem).num_rows
        if rows:
            found.append((join(folder, name), rows))
    return found


@contextmanager
def _workers_errors() -> Iterator[None]:
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        raise _named(error) from error


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
    unreadable = _UNREADABLE.search(str(error))
    if unreadable is not None:
        return InputError(f"'{unquote(unreadable[1])}' cannot be read to its end: it is damaged or cut")
    for line in str(error).splitlines():
        kind, _, message = line.strip().partition(": ")
        for known in (InputError, StorageError):
            if kind == f"{known.__module__}.{known.__name__}":
                return known(message)
        if "No space left on device" in line:  # the JVM's own spill and shuffle files
            return StorageError(f"no space left on the device ({message or line.strip()})")
    return error
