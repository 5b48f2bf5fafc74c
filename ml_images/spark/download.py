"""Keys in, the `images` table out: one row for every distinct key, and no URL fetched twice by any plan or rerun.

The table is its own ledger. A run fetches the keys that have no final row yet, in chunks; a worker fetches a chunk and
writes it as one part, `part-<run>-<chunk>.parquet`, into the staging folder. Staged parts survive a crash and count as
fetched. Publishing drops rows that a later run has superseded, then makes the staged parts visible.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ml_images import outcomes, schemas
from ml_images.download.config import DownloadConfig
from ml_images.download.rows import fetch_batches
from ml_images.errors import StorageError
from ml_images.options import option
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join, open_location

_CHUNK = pa.schema([pa.field("chunk", pa.int64()), pa.field("rows", pa.int64())])
_REWRITTEN = pa.schema([pa.field("part", pa.string()), pa.field("dropped", pa.int64())])
_LEDGER = "key string, outcome string, part string, run int"


@dataclass(frozen=True)
class ChunkConfig:
    rows: int = option(1000, "keys that a worker fetches and writes as one part; what a crash can cost at most")

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"chunk.rows must be at least 1, got {self.rows}")


def fetch_missing(keys: DataFrame, location: str, cfg: DownloadConfig, chunk: ChunkConfig) -> dict[str, int]:
    """Bring the images table at `location` up to date with `keys` (one column, any duplicates).

    Returns the numbers of distinct keys, of keys that needed no fetch, and of keys fetched now.
    """
    spark = keys.sparkSession
    tables.claim(location, "images")
    ledger = _ledger(spark, location)
    final = ledger.where(~F.col("outcome").isin(list(outcomes.RETRYABLE))).select("key").distinct()
    wanted = keys.select("key").distinct()
    pending = wanted.join(final, on="key", how="left_anti")
    num_wanted, num_pending = wanted.count(), pending.count()
    if num_pending:
        (newest,) = ledger.agg(F.max("run").alias("run")).collect()
        run = 1 + (newest["run"] or 0)  # null: nothing was fetched yet
        _fetch(pending, num_pending, location, run, cfg, chunk)
    if num_pending or not tables.is_done(location) or tables.staged_parts(location):
        lost = wanted.join(_ledger(spark, location).select("key"), on="key", how="left_anti").count()
        if lost:
            told = "it must be a place that all machines share"
            raise StorageError(f"workers fetched {lost} keys whose rows are not in '{location}': {told}")
        _publish(spark, location)
    return {"keys": num_wanted, "already_there": num_wanted - num_pending, "fetched": num_pending}


def count_outcomes(spark: SparkSession, location: str, keys: DataFrame | None = None) -> dict[str, int]:
    """Rows per outcome of a finished images table, most frequent first; with `keys`, of those keys only."""
    images = spark.read.parquet(for_spark(location)).select("key", "outcome")
    if keys is not None:
        images = images.join(keys.select("key").distinct(), on="key", how="left_semi")
    rows = images.groupBy("outcome").count().collect()
    return {row["outcome"]: row["count"] for row in sorted(rows, key=lambda row: (-row["count"], row["outcome"]))}


def _ledger(spark: SparkSession, location: str) -> DataFrame:
    """(key, outcome, part, run) of every row fetched so far, visible or staged; the listing is taken now, once."""
    names = tables.parts(location) + [join(tables.STAGING, name) for name in tables.staged_parts(location)]
    if not names:
        return spark.createDataFrame([], _LEDGER)
    # Paths below folders that begin with an underscore are read when named one by one.
    rows = spark.read.parquet(*(for_spark(join(location, name)) for name in names))
    file_name = F.element_at(F.split(F.col("_metadata.file_path"), "/"), -1)
    return rows.select(
        "key",
        "outcome",
        file_name.alias("part"),
        F.regexp_extract(file_name, r"part-(\d+)-", 1).cast("int").alias("run"),
    )


def _fetch(
    pending: DataFrame, num_pending: int, location: str, run: int, cfg: DownloadConfig, chunk: ChunkConfig
) -> None:
    parallelism = pending.sparkSession.sparkContext.defaultParallelism
    # At least four chunks a core, so that a small job is parallel too and its progress line moves.
    num_chunks = max(-(-num_pending // chunk.rows), min(num_pending, 4 * parallelism))
    chunks = (
        pending.withColumn("chunk", F.expr(f"pmod(xxhash64(key), {num_chunks}L)"))  # a fair sample of the keys each
        .repartitionByRange(num_chunks, "chunk")
        .sortWithinPartitions("chunk", "key")
    )
    work.run(chunks, partial(_fetch_chunks, location=location, run=run, cfg=cfg), _CHUNK, "download")


def _fetch_chunks(
    batches: Iterable[pa.RecordBatch], *, location: str, run: int, cfg: DownloadConfig
) -> Iterable[pa.RecordBatch]:
    under_way: deque[tuple[int, str]] = deque()

    def missing() -> Iterator[list[str]]:
        for chunk, rows in work.grouped(batches, "chunk"):
            part = join(location, tables.STAGING, f"part-{run:04d}-{chunk:06d}.parquet")
            if not _exists(part):  # a task that runs again fetches only what its first attempt had not finished
                under_way.append((chunk, part))
                yield rows.column("key").to_pylist()

    for images in fetch_batches(missing(), cfg):
        chunk, part = under_way.popleft()
        tables.write_part(part, pa.Table.from_batches([images]))
        yield pa.RecordBatch.from_pylist([{"chunk": chunk, "rows": images.num_rows}], schema=_CHUNK)


def _publish(spark: SparkSession, location: str) -> None:
    """Drop superseded rows, make staged parts visible, mark the table done. Safe to repeat after a crash anywhere."""
    ledger = _ledger(spark, location)
    place = F.struct("run", "part")  # by part, too: whatever put a key twice into one run, here it ends
    latest = ledger.groupBy("key").agg(F.max(place).alias("latest"))
    superseded = ledger.join(latest, on="key", how="inner").where(place < F.col("latest"))
    stale = superseded.groupBy("part").agg(F.collect_list("key").alias("keys"))
    tables.begin_publishing(location)
    work.run(stale, partial(_drop_rows, location=location), _REWRITTEN, "drop superseded rows")
    tables.move_staged(location)
    if not tables.parts(location):
        tables.write_part(join(location, "part-0000-000000.parquet"), schemas.IMAGES.empty_table())
    tables.mark_done(location)


def _drop_rows(batches: Iterable[pa.RecordBatch], *, location: str) -> Iterable[pa.RecordBatch]:
    """Rewrite each part without the keys that a later run has fetched again."""
    for batch in batches:
        for name, keys in zip(batch.column("part").to_pylist(), batch.column("keys"), strict=True):
            staged = join(location, tables.STAGING, name)
            part = staged if _exists(staged) else join(location, name)
            filesystem, path = open_location(part)
            rows = pq.read_table(path, filesystem=filesystem)
            kept = rows.filter(pc.invert(pc.is_in(rows["key"], value_set=keys.values)))
            tables.write_part(part, kept)
            yield pa.RecordBatch.from_pylist([{"part": name, "dropped": len(rows) - len(kept)}], schema=_REWRITTEN)


def _exists(location: str) -> bool:
    filesystem, path = open_location(location)
    return bool(filesystem.get_file_info(path).is_file)
