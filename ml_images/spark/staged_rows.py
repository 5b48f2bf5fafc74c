"""One row for each key among the staged rows of a run, also where several workers have found the key."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ml_images.archives.names import is_bare
from ml_images.archives.read import AMBIGUOUS
from ml_images.schemas import IMAGES
from ml_images.spark import images_table, run_options, work
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

_CHANGED = pa.schema([pa.field("part", pa.string()), pa.field("rows", pa.int64())])
_KEPT = ("key", "attempts", "elapsed_ms", "fetched_at")  # of a row that turns out to be ambiguous


def settle(spark: SparkSession, location: str) -> int:
    """Leave one row for each key of a run of extract among the staged ones; returns how many others there were.

    The first that is ok, in the order of archives and members, or else the first. A bare file name that stands for
    different files is nobody's: that is written before rows go, so that a crash in between forgets nothing.
    """
    names = _staged(location)
    if not names:
        return 0
    several = _several(spark, location, names)
    differing = several.where((F.col("contents") > 1) & (F.col("place") == F.col("best")))
    _rewrite(differing, partial(_call_ambiguous, location=location))
    several = _several(spark, location, names)  # Spark remembers how long the files were
    dropped = _rewrite(several.where(F.col("place") > F.col("best")), partial(_drop, location=location))
    return sum(row["rows"] for row in dropped)


def _staged(location: str) -> list[str]:
    """The staged parts of extract; a download leaves one row of a key."""
    runs = set(run_options.runs_of(location, "extract"))
    return [join(tables.STAGING, name) for name in tables.staged_parts(location) if images_table.run_of(name) in runs]


def _several(spark: SparkSession, location: str, staged: list[str]) -> DataFrame:
    """The staged rows of keys with several rows in a run: `place` in the order of preference, `best` of the key's."""
    preference = F.when(F.col("outcome") == "not_in_archive", 0).when(F.col("outcome") == "ok", 1).otherwise(2)
    rows = images_table.ledger(spark, location, staged).withColumn(
        "place", F.struct(preference.alias("preference"), "part")
    )
    by_key = rows.groupBy("key", "run").agg(
        F.min("place").alias("best"), F.count("*").alias("rows"), F.count_distinct("sha256").alias("contents")
    )
    return rows.join(by_key.where(F.col("rows") > 1), on=["key", "run"], how="inner")


def _rewrite(rows: DataFrame, change: work.BatchFunction) -> list[dict[str, Any]]:
    stale = rows.groupBy("part").agg(F.collect_list("key").alias("keys"))
    return work.run(stale, change, _CHANGED, "settle")


def _call_ambiguous(batches: Iterable[pa.RecordBatch], *, location: str) -> Iterable[pa.RecordBatch]:
    for name, part, keys in _each(batches, location):
        bare = {key for key in keys if is_bare(key)}
        if bare:
            rows = [_ambiguous(row) if row["key"] in bare else row for row in _read_part(part).to_pylist()]
            tables.write_part(part, pa.Table.from_pylist(rows, schema=IMAGES))
        yield pa.RecordBatch.from_pylist([{"part": name, "rows": len(bare)}], schema=_CHANGED)


def _ambiguous(row: dict[str, Any]) -> dict[str, Any]:
    if row["outcome"] == "not_in_archive":  # known already
        return row
    detail = f"{row['detail']}: {AMBIGUOUS}"
    kept = {name: row[name] for name in _KEPT}
    return {**dict.fromkeys(IMAGES.names), **kept, "outcome": "not_in_archive", "detail": detail}


def _drop(batches: Iterable[pa.RecordBatch], *, location: str) -> Iterable[pa.RecordBatch]:
    for name, part, keys in _each(batches, location):
        rows = _read_part(part)
        kept = rows.filter(pc.invert(pc.is_in(rows["key"], value_set=pa.array(keys))))
        tables.write_part(part, kept)
        yield pa.RecordBatch.from_pylist([{"part": name, "rows": len(rows) - len(kept)}], schema=_CHANGED)


def _each(batches: Iterable[pa.RecordBatch], location: str) -> Iterator[tuple[str, str, list[str]]]:
    """(name, location, keys) of each staged part that is to be changed."""
    for row in (row for batch in batches for row in batch.to_pylist()):
        yield row["part"], join(location, tables.STAGING, row["part"]), row["keys"]


def _read_part(part: str) -> pa.Table:
    filesystem, path = open_location(part)
    return pq.read_table(path, filesystem=filesystem)
