"""What a run has to fetch, written down before it begins: files of entries in the staging folder, for one task or more.

So lists and labels are read once, workers need nothing from Spark but names of files, and a task that runs again reads
what it read before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyarrow import fs
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_type

from ml_images.download.entries import ENTRY, ROW
from ml_images.download.shared import components
from ml_images.spark import work
from ml_images.spark.url_spelling import spelled_alike, stripped
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join, open_location

# A minute of work and two seconds of it: the slowest URLs of a task, however few it has, may take another minute
# (deadline_s).
TASK_ROWS, LEAST_TASK_ROWS = 20_000, 1_000
_FILE_BYTES = 100_000  # of lists, for a file of a plan: a thousand rows or two
_FILES_A_CORE = 64  # at most, while tasks are not longer than TASK_ROWS: a file takes 0.05 s
_LEAST_ENTRY_BYTES = 20  # of a list
_MOST_SHARERS = 1_000  # keys that may be kept together for the sake of one URL
_PLAN = "_plan-"
_PLANNED = pa.schema([*ENTRY, pa.field("row", ROW)])


@dataclass(frozen=True)
class FetchPlan:
    """The files of each task, and the entries in all of them."""

    tasks: Sequence[Sequence[str]]
    rows: int


def write_plan(entries: DataFrame, location: str, input_bytes: int, may_share: bool) -> FetchPlan:
    """Write `entries` (columns of ENTRY, and perhaps `row`, by entries.ROW) into the staging folder of the images table
    at `location`.

    Entries with the same first URL are in one file, one after the other, and so are those that share any other URL,
    unless more than _MOST_SHARERS do, or more than TASK_ROWS hang together; else files are fair samples of the URLs.
    `may_share`: lists give several URLs a key. `input_bytes`: what labels and lists take in storage, from which follows
    how many files there are. Tasks get two
    thirds of a core's share of the entries that are left, so that cores end together, but no more than TASK_ROWS, and
    no fewer than LEAST_TASK_ROWS where they are enough for two tasks a core.
    """
    cores = entries.sparkSession.sparkContext.defaultParallelism
    few, many = 2 * cores, _FILES_A_CORE * cores
    num_files = max(few, min(many, input_bytes // _FILE_BYTES), input_bytes // (_LEAST_ENTRY_BYTES * TASK_ROWS))
    staging = join(location, tables.STAGING)
    _forget_plans(staging)
    files = _write(_placed(entries), num_files, staging)
    together = None
    if may_share and files:
        together = _sharing(entries.sparkSession, [file for file, _ in files], staging)
    if together is not None:
        there = entries.sparkSession.read.parquet(*(for_spark(file) for file, _ in files))
        placed = _placed(there).join(together, on="place", how="left")
        files = _write(placed.withColumn("place", F.coalesce("lowest", "place")), num_files, staging)
    rows = sum(count for _, count in files)
    return FetchPlan(list(_together(files, rows, cores)), rows)


def _placed(entries: DataFrame) -> DataFrame:
    """With the first `url` of each entry and its `place`, a hash."""
    if "row" not in entries.columns:
        entries = entries.withColumn("row", F.lit(None).cast(from_arrow_type(ROW)))
    return entries.withColumn("url", _first_url()).withColumn("place", _place_of(F.col("url")))


def _write(placed: DataFrame, num_files: int, staging: str) -> list[tuple[str, int]]:
    ordered = placed.repartition(num_files, "place").sortWithinPartitions("place", "url", "key").select(*_PLANNED.names)
    return work.write(ordered, join(staging, f"{_PLAN}{uuid4().hex}"), "look for what is missing")


def _sharing(spark: SparkSession, files: Sequence[str], staging: str) -> DataFrame | None:
    """(place, lowest) of first URLs that hang together, as a fall-back of a key is one of another key's URLs, too; None
    where there are none."""
    rows = spark.read.parquet(*map(for_spark, files)).where((F.size("urls") > 1) | F.col("urls").isNull())
    # A key without an entry may be a URL itself.
    given = F.coalesce(F.filter("urls", lambda url: stripped(url) != ""), F.array("key"))
    pairs = _placed(rows).select("place", F.explode(F.transform(given, _place_of)).alias("other"))
    ends = (F.min("place").alias("lowest"), F.max("place").alias("highest"), F.count("*").alias("sharers"))
    shared = pairs.groupBy("other").agg(*ends).where(F.col("lowest") < F.col("highest"))
    shared = shared.where(F.col("sharers") <= _MOST_SHARERS).select("other", "lowest")
    edges = pairs.join(shared, on="other").where(F.col("place") != F.col("lowest")).select("place", "lowest")
    found = work.write(edges, join(staging, f"{_PLAN}{uuid4().hex}"), "look for shared URLs")
    if not found:
        return None
    told = pa.concat_tables([tables.read_part(file) for file, _ in found])
    ids, lowest = components(told["place"].to_numpy(), told["lowest"].to_numpy())
    _, group, sizes = np.unique(lowest, return_inverse=True, return_counts=True)
    is_small = sizes[group] <= TASK_ROWS
    together = join(staging, f"{_PLAN}{uuid4().hex}", "part-0.parquet")
    tables.write_part(together, pa.table({"place": ids[is_small], "lowest": lowest[is_small]}))
    return spark.read.parquet(for_spark(together))


def read_plan(files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The entries of a task, as entries.to_wanted takes them, in their order."""
    for file in files:
        for batch in tables.read_batches(file, _PLANNED.names, rows=1024):
            yield from batch.to_pylist()


def _forget_plans(staging: str) -> None:
    """Those of runs that did not end."""
    filesystem, path = open_location(staging)
    for info in filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)):
        if info.base_name.startswith(_PLAN):
            filesystem.delete_dir(info.path)


def _together(files: Sequence[tuple[str, int]], rows: int, cores: int) -> Iterator[list[str]]:
    """Neighbours for each task (guided self-scheduling, as work.task_sizes)."""
    least = min(LEAST_TASK_ROWS, -(-rows // (2 * cores)))
    group, held, left = list[str](), 0, rows
    for file, here in files:
        if group and held + here > max(least, min(TASK_ROWS, 2 * left // (3 * cores))):
            yield group
            group, held, left = [], 0, left - held
        group.append(file)
        held += here
    if group:
        yield group


def _place_of(url: Column) -> Column:
    return F.xxhash64(spelled_alike(url))


def _first_url() -> Column:
    return F.coalesce(F.get(F.filter("urls", lambda url: stripped(url) != ""), 0), F.col("key"))
