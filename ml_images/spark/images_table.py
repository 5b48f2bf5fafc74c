"""The table `images` is its own ledger: one row a key in the end, though runs crash, repeat and overlap.

Rows come in parts, `part-<run>-<task>-<attempt>-<number>.parquet`, that wait in the staging folder and count as done
there. Publishing keeps the last row of each key, gives repeated pictures their name (placeholders, found by the
table alone), and makes the staged parts visible; it can be repeated after a crash anywhere.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images import outcomes, schemas
from ml_images.download.repeated import as_placeholders
from ml_images.errors import StorageError
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join, open_location

_ROWS = from_arrow_schema(schemas.IMAGES)
_FILE = pa.schema([pa.field("file", pa.string())])
_REWRITTEN = pa.schema([pa.field("dropped", pa.int64()), pa.field("renamed", pa.int64())])
_NO_ROW = ""  # among the outcomes
_RUN = r"part-(\d+)-"


@dataclass(frozen=True)
class Published:
    """Rows of the wanted keys by outcome, most frequent first, and how many rows were found to be placeholders."""

    outcomes: dict[str, int]
    placeholders: int


def all_parts(location: str) -> list[str]:
    """Visible and staged parts, as paths below `location`."""
    return tables.parts(location) + [join(tables.STAGING, name) for name in tables.staged_parts(location)]


def ledger(spark: SparkSession, location: str, names: Sequence[str]) -> DataFrame:
    """(key, outcome, url, sha256, part, run) of the rows in the parts `names` of `all_parts`, at least one.

    The frame is of no use any more when a part was written anew: Spark remembers how long files were.
    """
    # Paths below folders that begin with an underscore are read when named one by one. With the schema given, Spark
    # needs no job to find it out.
    rows = spark.read.schema(_ROWS).parquet(*(for_spark(join(location, name)) for name in names))
    rows = rows.select("key", "outcome", "url", "sha256", "_metadata.file_path")
    part = F.element_at(F.split(F.col("file_path"), "/"), -1)
    run = F.regexp_extract(part, _RUN, 1).cast("int")
    return rows.select("key", "outcome", "url", "sha256", part.alias("part"), run.alias("run"))


def pending(wanted: DataFrame, rows: DataFrame) -> DataFrame:
    """The rows of `wanted` whose key has no final outcome in the ledger `rows`."""
    final = rows.where(~F.col("outcome").isin(list(outcomes.RETRYABLE))).select("key")
    return wanted.join(final, on="key", how="left_anti")


def next_run(names: Iterable[str]) -> int:
    """The number of a new run, given the names of all parts."""
    return 1 + max(map(run_of, names), default=0)


def run_of(name: str) -> int:
    """The run that made a part; 0 for the part of a table without rows."""
    found = re.search(_RUN, name)
    return int(found[1]) if found else 0


def publish(spark: SparkSession, location: str, wanted: DataFrame, placeholder_keys: int) -> Published:
    """One row a key, all visible, the table done.

    A picture that came, byte for byte the same, from `placeholder_keys` or more different URLs is a placeholder (0:
    there is no such rule). Raises StorageError when a key of `wanted` has no row.
    """
    names = all_parts(location)  # what comes later is of a worker that the driver has given up
    renamed = 0
    if names:
        rows = ledger(spark, location, names)
        changes = _superseded(rows).unionByName(_repeated(rows, placeholder_keys))
        # With a number, else Spark puts what is little into one partition, and one task would rewrite all parts.
        changes = changes.repartition(2 * spark.sparkContext.defaultParallelism, "part")
        files = work.write(changes, join(location, tables.STAGING, f"_changes-{uuid4().hex}"), "publish")
        tables.begin_publishing(location)
        units = work.units(spark, [{"file": file} for file, _ in files], _FILE)
        done = work.run(units, partial(_rewrite, location=location), _REWRITTEN, "publish") if files else []
        renamed = sum(part["renamed"] for part in done)
        names = sorted(set(names).intersection(all_parts(location)))
    found = _count(spark, location, names, wanted)
    lost = found.pop(_NO_ROW, 0)
    if lost:
        told = "it must be a place that all machines share"
        raise StorageError(f"workers wrote {lost} keys whose rows are not in '{location}': {told}")
    tables.begin_publishing(location)
    staged = f"{tables.STAGING}/"
    tables.move_staged(location, [name.removeprefix(staged) for name in names if name.startswith(staged)])
    if not tables.parts(location):
        tables.write_part(join(location, "part-0000-000000.parquet"), schemas.IMAGES.empty_table())
    tables.mark_done(location)
    return Published(found, renamed)


def count_outcomes(spark: SparkSession, location: str, wanted: DataFrame) -> dict[str, int]:
    """Keys of `wanted` by the outcome of their row, most frequent first; keys without a row do not count."""
    found = _count(spark, location, all_parts(location), wanted)
    found.pop(_NO_ROW, 0)
    return found


def _count(spark: SparkSession, location: str, names: Sequence[str], wanted: DataFrame) -> dict[str, int]:
    keys = wanted.select("key")
    if names:
        outcome = ledger(spark, location, names).select("key", "outcome")
        rows = keys.join(outcome, on="key", how="left")
    else:
        rows = keys.withColumn("outcome", F.lit(None).cast("string"))
    counted = rows.groupBy(F.coalesce("outcome", F.lit(_NO_ROW)).alias("outcome")).count()
    found = work.collect(counted, "count outcomes")
    return {row["outcome"]: row["count"] for row in sorted(found, key=lambda row: (-row["count"], row["outcome"]))}


def exists(location: str) -> bool:
    filesystem, path = open_location(location)
    return bool(filesystem.get_file_info(path).is_file)


def _superseded(rows: DataFrame) -> DataFrame:
    """(part, key, renamed) of all rows of a key but the last."""
    place = F.struct("run", "part")  # by part, too: whatever put a key twice into one run, here it ends
    by_key = rows.groupBy("key").agg(F.collect_list(place).alias("places"), F.max(place).alias("latest"))
    places = by_key.where(F.size("places") > 1).select("key", "latest", F.explode("places").alias("place"))
    return places.where("place < latest").select("place.part", "key", F.lit(False).alias("renamed"))


def _repeated(rows: DataFrame, placeholder_keys: int) -> DataFrame:
    """(part, key, renamed) of the pictures that came from too many URLs; empty where there is no such rule."""
    pictures = rows.where(F.col("sha256").isNotNull() & F.col("url").isNotNull())
    pictures = pictures.where(F.col("outcome").isin("ok", "placeholder"))
    chosen = [F.col("part"), F.col("key"), F.lit(True).alias("renamed")]
    if not placeholder_keys:
        return pictures.where(F.lit(False)).select(*chosen)
    found = pictures.groupBy("sha256").agg(F.countDistinct("url").alias("urls"))
    repeated = found.where(F.col("urls") >= placeholder_keys).select("sha256")
    return pictures.where(F.col("outcome") == "ok").join(repeated, on="sha256", how="left_semi").select(*chosen)


def _rewrite(batches: Iterable[pa.RecordBatch], *, location: str) -> Iterable[pa.RecordBatch]:
    """Parts without the rows that a later run has made anew, and with placeholders named as such; no empty ones."""
    for file in (file for batch in batches for file in batch.column("file").to_pylist()):
        changes: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for change in tables.read_part(file).to_pylist():
            changes[change["part"], change["renamed"]].append(change["key"])
        for name in {name for name, _ in changes}:
            dropped, renamed = changes[name, False], changes[name, True]
            done = _rewrite_part(location, name, dropped, renamed)
            yield pa.RecordBatch.from_pylist([{"dropped": done, "renamed": len(renamed)}], schema=_REWRITTEN)


def _rewrite_part(location: str, name: str, dropped: list[str], renamed: list[str]) -> int:
    """Returns how many rows were dropped."""
    staged = join(location, tables.STAGING, name)
    part = staged if exists(staged) else join(location, name)
    if not exists(part):  # an earlier attempt at this task has removed it
        return 0
    keys = tables.read_part(part, ["key"])["key"]
    is_kept = pc.invert(pc.is_in(keys, value_set=pa.array(dropped, pa.string())))
    num_dropped = len(keys) - pc.sum(is_kept).as_py()
    if num_dropped == len(keys):
        filesystem, path = open_location(part)
        filesystem.delete_file(path)
    else:
        rows = tables.read_part(part).filter(is_kept)
        tables.write_part(part, as_placeholders(rows, renamed))
    return int(num_dropped)
