"""The table `images` is its own ledger: one row a key in the end, though runs crash, repeat and overlap.

Rows come in parts, `part-<run>-<task>-<attempt>-<number>.parquet`, that wait in the staging folder and count as done
there. Publishing keeps the last row of each key, gives repeated pictures their name (placeholders, found by the
table alone), and makes the staged parts visible; it can be repeated after a crash anywhere.
"""

from collections.abc import Iterable
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ml_images import outcomes, schemas
from ml_images.download.repeated import as_placeholders
from ml_images.errors import StorageError
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join, open_location

_REWRITTEN = pa.schema(
    [pa.field("part", pa.string()), pa.field("dropped", pa.int64()), pa.field("renamed", pa.int64())]
)
_LEDGER = "key string, outcome string, url string, sha256 binary, part string, run int"


def ledger(spark: SparkSession, location: str) -> DataFrame:
    """(key, outcome, url, sha256, part, run) of all rows so far, visible or staged; the listing is taken now, once."""
    names = tables.parts(location) + [join(tables.STAGING, name) for name in tables.staged_parts(location)]
    if not names:
        return spark.createDataFrame([], _LEDGER)
    # Paths below folders that begin with an underscore are read when named one by one.
    rows = spark.read.parquet(*(for_spark(join(location, name)) for name in names))
    file_name = F.element_at(F.split(F.col("_metadata.file_path"), "/"), -1)
    run = F.regexp_extract(file_name, r"part-(\d+)-", 1).cast("int")
    return rows.select("key", "outcome", "url", "sha256", file_name.alias("part"), run.alias("run"))


def pending(wanted: DataFrame, rows: DataFrame) -> DataFrame:
    """The rows of `wanted` whose key has no final outcome in the ledger `rows`."""
    final = rows.where(~F.col("outcome").isin(list(outcomes.RETRYABLE))).select("key").distinct()
    return wanted.join(final, on="key", how="left_anti")


def next_run(rows: DataFrame) -> int:
    (newest,) = rows.agg(F.max("run").alias("run")).collect()
    return 1 + (newest["run"] or 0)  # null: there is no row yet


def publish(spark: SparkSession, location: str, wanted: DataFrame, placeholder_keys: int) -> int:
    """One row a key, all visible, the table done. Returns how many rows were found to be placeholders.

    A picture that came, byte for byte the same, from `placeholder_keys` or more different URLs is one (0: is none).
    Raises StorageError when a key of `wanted` has no row.
    """
    rows = ledger(spark, location)
    lost = wanted.select("key").join(rows.select("key"), on="key", how="left_anti").count()
    if lost:
        told = "it must be a place that all machines share"
        raise StorageError(f"workers wrote {lost} keys whose rows are not in '{location}': {told}")
    place = F.struct("run", "part")  # by part, too: whatever put a key twice into one run, here it ends
    latest = rows.groupBy("key").agg(F.max(place).alias("latest"))
    superseded = rows.join(latest, on="key", how="inner").where(place < F.col("latest"))
    stale = superseded.groupBy("part").agg(F.collect_list("key").alias("dropped"))
    renamed = _repeated(rows, placeholder_keys).groupBy("part").agg(F.collect_list("key").alias("renamed"))
    changes = stale.join(renamed, on="part", how="full_outer").select("part", _list("dropped"), _list("renamed"))
    tables.begin_publishing(location)
    done = work.run(changes, partial(_rewrite, location=location), _REWRITTEN, "publish")
    tables.move_staged(location)
    if not tables.parts(location):
        tables.write_part(join(location, "part-0000-000000.parquet"), schemas.IMAGES.empty_table())
    tables.mark_done(location)
    return sum(part["renamed"] for part in done)


def count_outcomes(spark: SparkSession, location: str, keys: DataFrame | None = None) -> dict[str, int]:
    """Rows per outcome of a finished images table, most frequent first; with `keys`, of those keys only."""
    images = spark.read.parquet(for_spark(location)).select("key", "outcome")
    if keys is not None:
        images = images.join(keys.select("key").distinct(), on="key", how="left_semi")
    rows = images.groupBy("outcome").count().collect()
    return {row["outcome"]: row["count"] for row in sorted(rows, key=lambda row: (-row["count"], row["outcome"]))}


def exists(location: str) -> bool:
    filesystem, path = open_location(location)
    return bool(filesystem.get_file_info(path).is_file)


def _repeated(rows: DataFrame, placeholder_keys: int) -> DataFrame:
    """(key, part) of the pictures that came from too many URLs; empty where there is no such rule."""
    pictures = rows.where(F.col("sha256").isNotNull() & F.col("url").isNotNull())
    pictures = pictures.where(F.col("outcome").isin("ok", "placeholder"))
    if not placeholder_keys:
        return pictures.where(F.lit(False)).select("key", "part")
    found = pictures.groupBy("sha256").agg(F.countDistinct("url").alias("urls"))
    repeated = found.where(F.col("urls") >= placeholder_keys).select("sha256")
    return pictures.where(F.col("outcome") == "ok").join(repeated, on="sha256", how="left_semi").select("key", "part")


def _list(name: str) -> Column:
    return F.coalesce(F.col(name), F.array().cast("array<string>")).alias(name)


def _rewrite(batches: Iterable[pa.RecordBatch], *, location: str) -> Iterable[pa.RecordBatch]:
    """Each part without the keys that a later run has fetched again, and with placeholders named as such."""
    for change in (change for batch in batches for change in batch.to_pylist()):
        name = change["part"]
        staged = join(location, tables.STAGING, name)
        part = staged if exists(staged) else join(location, name)
        filesystem, path = open_location(part)
        rows = pq.read_table(path, filesystem=filesystem)
        kept = rows.filter(pc.invert(pc.is_in(rows["key"], value_set=pa.array(change["dropped"], pa.string()))))
        tables.write_part(part, as_placeholders(kept, change["renamed"]))
        done = {"part": name, "dropped": len(rows) - len(kept), "renamed": len(change["renamed"])}
        yield pa.RecordBatch.from_pylist([done], schema=_REWRITTEN)
