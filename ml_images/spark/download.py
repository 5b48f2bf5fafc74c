"""Keys in, the `images` table out: one row for every distinct key; no plan or rerun fetches again what is final.

A run fetches the keys that have no final row yet. Entries with the same first URL go to the same task, one after the
other; else tasks are fair samples of the URLs. A worker streams its entries through the crawl and stages parts as rows
get finished (spark/image_parts.py), so a crash costs what was under way; spark/images_table.py publishes.
"""

import functools
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ml_images.download.config import DownloadConfig
from ml_images.download.crawl import Fetched, crawl
from ml_images.download.curl import CurlTransport
from ml_images.download.entries import ENTRY, BadEntry, ListColumns, to_wanted
from ml_images.download.governed import GovernedGate
from ml_images.download.governor import Governor
from ml_images.download.progress import Progress
from ml_images.download.robots import Robots
from ml_images.download.wanted import Wanted
from ml_images.images.shrinker import shared_shrinker
from ml_images.spark import images_table, work
from ml_images.spark.crawl_progress import CrawlProgress
from ml_images.spark.image_parts import ImageParts, PartConfig
from ml_images.storage import tables

TASK_ROWS = 20_000  # a minute of work; the slowest URLs of a task may take another one (deadline_s)
_DONE = pa.schema([pa.field("rows", pa.int64())])


@dataclass(frozen=True)
class Plan:
    """What every worker of a run is told."""

    location: str
    run: int
    cfg: DownloadConfig
    columns: ListColumns
    part: PartConfig
    governor: tuple[str, int]
    secret: str


def fetch_missing(
    entries: DataFrame,
    location: str,
    cfg: DownloadConfig,
    columns: ListColumns,
    part: PartConfig,
    placeholder_keys: int,
) -> dict[str, int]:
    """Bring the images table at `location` up to date with `entries` (columns of ENTRY, one row a key).

    Returns the numbers of keys, of keys that needed no fetch, of keys fetched now, and of placeholders found.
    """
    spark = entries.sparkSession
    tables.claim(location, "images")
    rows = images_table.ledger(spark, location)
    missing = images_table.pending(entries, rows)
    if not any("{key}" in url for url in columns.urls):
        missing = _without_hopeless(missing, rows, cfg.base_url)
    num_wanted, num_missing = entries.count(), missing.count()
    placeholders = 0
    if num_missing:
        run = images_table.next_run(rows)
        with Governor(cfg.politeness, _bind_address(spark)) as governor:
            address = (_driver_host(spark), governor.address[1])
            plan = Plan(location, run, cfg, columns, part, address, governor.secret)
            with CrawlProgress(governor.progress, num_missing):
                work.run(_share_out(spark, missing, num_missing), partial(_fetch, plan=plan), _DONE, "download")
    if num_missing or not tables.is_done(location) or tables.staged_parts(location):
        placeholders = images_table.publish(spark, location, entries, placeholder_keys)
    return {
        "keys": num_wanted,
        "already_there": num_wanted - num_missing,
        "fetched": num_missing,
        "found to be placeholders": placeholders,
    }


def _without_hopeless(missing: DataFrame, rows: DataFrame, base_url: str) -> DataFrame:
    """Without the keys that have no URL, but a row already, from an archive perhaps."""
    has_url = F.exists("urls", lambda url: F.trim(url) != "")
    is_url = F.col("urls").isNull() & (F.col("key").contains("://") | F.lit(bool(base_url)))
    hopeless = ~(F.coalesce(has_url, F.lit(False)) | is_url)
    known = missing.where(hopeless).select("key").join(rows.select("key"), on="key", how="left_semi")
    return missing.join(known, on="key", how="left_anti")


def _bind_address(spark: SparkSession) -> str:
    """Where the driver listens to its executors: loopback in a local session."""
    return spark.sparkContext.getConf().get("spark.driver.bindAddress") or _driver_host(spark)


def _driver_host(spark: SparkSession) -> str:
    """The driver's address as executors know it."""
    return str(spark.sparkContext.getConf().get("spark.driver.host"))


def _share_out(spark: SparkSession, missing: DataFrame, num_missing: int) -> DataFrame:
    """Two tasks a core at least, so that a small job is parallel; a task's entries by hash of their first URL."""
    num_tasks = max(-(-num_missing // TASK_ROWS), min(num_missing, 2 * spark.sparkContext.defaultParallelism))
    first_url = F.get(F.filter("urls", lambda url: F.trim(url) != ""), 0)
    hashed = missing.withColumn("place", F.xxhash64(F.coalesce(F.trim(first_url), F.col("key"))))
    return hashed.repartition(num_tasks, "place").sortWithinPartitions("place", "key").select(*ENTRY.names)


def _fetch(batches: Iterable[pa.RecordBatch], *, plan: Plan) -> Iterable[pa.RecordBatch]:
    parts = ImageParts(plan.location, plan.run, plan.part)
    finished = parts.finished()

    def wanted() -> Iterator[Wanted]:
        for entry in (entry for batch in batches for entry in batch.to_pylist()):
            if entry["key"] in finished:
                continue
            try:
                yield to_wanted(**entry, columns=plan.columns, base_url=plan.cfg.base_url)
            except BadEntry as error:
                parts.add(_refused(entry["key"], error))

    progress = Progress()
    with (
        GovernedGate(plan.governor, plan.secret, progress) as gate,
        closing(_transport(plan.cfg)) as transport,
    ):
        for fetched in crawl(
            wanted(),
            transport=transport,
            gate=gate,
            shrinker=shared_shrinker(plan.cfg.image),
            cfg=plan.cfg,
            progress=progress,
            robots=_robots(plan.secret, plan.cfg.fetch.user_agent),
        ):
            parts.add(fetched)
        parts.write()
    yield pa.RecordBatch.from_pylist([{"rows": parts.rows}], schema=_DONE)


def _transport(cfg: DownloadConfig) -> CurlTransport:
    return CurlTransport(cfg.fetch, ca_file=cfg.fetch.ca_file or None, connections=cfg.in_flight)


@functools.lru_cache(maxsize=1)
def _robots(run: str, user_agent: str) -> Robots:
    """What robots.txt files said, for all tasks of a run in this process."""
    return Robots(user_agent)


def _refused(key: str, error: BadEntry) -> Fetched:
    known = dict.fromkeys(("url", "final_url", "status", "content_type", "sha256", "original_bytes", "picture"))
    now = datetime.now(timezone.utc)
    return Fetched(key=key, outcome="bad_entry", detail=str(error), attempts=0, elapsed_ms=0, fetched_at=now, **known)
