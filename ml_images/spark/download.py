"""Keys in, the `images` table out: one row for every distinct key; no plan or rerun fetches again what is final.

A run fetches the keys that have no final row yet (spark/fetch_plan.py). A worker streams its entries through the crawl
and stages parts as rows get finished (spark/image_parts.py), so a crash costs what was under way;
spark/images_table.py publishes.
"""

import functools
import secrets
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
from ml_images.download.entries import BadEntry, ListColumns, to_wanted
from ml_images.download.governed import GovernedGate
from ml_images.download.governor import Governor
from ml_images.download.progress import Progress, milliseconds_by_stage
from ml_images.download.robots import Robots
from ml_images.download.wanted import Wanted
from ml_images.images.shrinker import shared_shrinker
from ml_images.spark import images_table, run_options, work
from ml_images.spark.crawl_progress import CrawlProgress
from ml_images.spark.fetch_plan import read_plan, write_plan
from ml_images.spark.image_parts import ImageParts, PartConfig
from ml_images.spark.run_options import RunOptions
from ml_images.spark.url_lists import Entries, has_moved, is_expected_otherwise, is_usable
from ml_images.storage import tables

_TASK = pa.schema([pa.field("task", pa.int64()), pa.field("files", pa.list_(pa.string()))])
_DONE = pa.schema([pa.field("rows", pa.int64())])


@dataclass(frozen=True)
class Downloaded:
    """What a run did: numbers of keys, rows of the lists that are nobody's entry, the outcomes of all that are wanted,
    most frequent first, and the CPU time by stage of all workers and their decoders, empty where nothing was fetched.
    `other_pictures`: the options of earlier runs whose pictures were made otherwise, and stay.
    """

    counts: dict[str, int]
    lists: dict[str, int]
    outcomes: dict[str, int]
    milliseconds: dict[str, int]
    other_pictures: str


@dataclass(frozen=True)
class _Orders:
    """What every worker of a run is told."""

    location: str
    run: str
    cfg: DownloadConfig
    columns: ListColumns
    part: PartConfig
    governor: tuple[str, int]
    secret: str


def fetch_missing(
    entries: Entries,
    location: str,
    cfg: DownloadConfig,
    columns: ListColumns,
    part: PartConfig,
    placeholder_keys: int,
) -> Downloaded:
    """Bring the images table at `location` up to date with `entries`."""
    spark = entries.frame.sparkSession
    tables.claim(location, "images")
    names = images_table.all_parts(location)
    missing, options = entries.frame, _run_options(cfg)
    if names:
        rows = images_table.ledger(spark, location, names)
        outcome, url, run_of_row = (F.col(f"final_{name}") for name in ("outcome", "url", "run"))
        is_outdated = (outcome == "bad_entry") & is_usable(columns)
        is_outdated |= has_moved(columns, cfg.base_url, outcome, url)
        is_outdated |= is_expected_otherwise(F.col("final_detail"))
        is_outdated |= url.isNotNull() & run_options.is_decided_anew(location, options, outcome, run_of_row)
        missing = images_table.pending(missing, rows, is_outdated)
        if not any("{key}" in url for url in columns.urls):
            missing = _without_hopeless(missing, rows, cfg.base_url)
    may_share = sum("{key}" not in url for url in columns.urls) > 1
    plan = write_plan(missing, location, entries.num_bytes, may_share)
    milliseconds: dict[str, int] = {}
    if plan.rows:
        # A run that was given up may have workers that still write; its number may come again, its name does not.
        number = images_table.next_run(names)
        run_options.remember(location, number, options, map(images_table.run_of, names))
        run = f"{number:04d}-{secrets.token_hex(4)}"
        with Governor(cfg.politeness, _bind_address(spark)) as governor:
            address = (_driver_host(spark), governor.address[1])
            orders = _Orders(location, run, cfg, columns, part, address, governor.secret)
            tasks = [{"task": task, "files": files} for task, files in enumerate(plan.tasks)]
            with CrawlProgress(governor.progress, plan.rows):
                work.run(work.units(spark, tasks, _TASK), partial(_fetch, orders=orders), _DONE)
            milliseconds = milliseconds_by_stage(governor.progress())
    is_published = not plan.rows and tables.is_done(location) and not tables.staged_parts(location)
    if not is_published or images_table.may_have_placeholders(location, placeholder_keys):
        published = images_table.publish(spark, location, entries.accounted, placeholder_keys)
    else:
        tables.clear_staging(location)  # of the empty plan
        counted = images_table.count(spark, location, entries.accounted, images_table.all_parts(location))
        published = images_table.Published(counted, 0)
    counted = published.counted
    num_wanted = sum(counted.outcomes.values())
    counts = {
        "keys": num_wanted,
        "already_there": num_wanted - plan.rows,
        "fetched": plan.rows,
        "found to be placeholders": published.placeholders,
    }
    lists = {
        "list rows without a key": counted.list_rows_without_key,
        "list rows whose key came before": counted.list_rows_of_known_keys,
    }
    return Downloaded(counts, lists, counted.outcomes, milliseconds, run_options.other_pictures(location, options))


def _run_options(cfg: DownloadConfig) -> RunOptions:
    decisive, picture = run_options.of_image(cfg.image)
    decisive |= {
        "too_large": [cfg.fetch.max_bytes],
        "redirect_error": [cfg.fetch.max_redirects],
        "tls_error": [cfg.fetch.ca_file],
        "forbidden": [cfg.fetch.user_agent],
        "opted_out": [cfg.politeness.opt_out, cfg.fetch.user_agent],
    }
    return RunOptions("download", decisive, picture)


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


def _fetch(batches: Iterable[pa.RecordBatch], *, orders: _Orders) -> Iterable[pa.RecordBatch]:
    for task in (task for batch in batches for task in batch.to_pylist()):
        rows = _fetch_task(task["task"], task["files"], orders)
        yield pa.RecordBatch.from_pylist([{"rows": rows}], schema=_DONE)


def _fetch_task(task: int, files: list[str], orders: _Orders) -> int:
    parts = ImageParts(orders.location, orders.run, task, orders.part)
    finished = parts.finished()

    def wanted() -> Iterator[Wanted]:
        for entry in read_plan(files):
            if entry["key"] in finished:
                continue
            try:
                yield to_wanted(**entry, columns=orders.columns, base_url=orders.cfg.base_url)
            except BadEntry as error:
                parts.add(_refused(entry["key"], error))

    progress, shrinker = Progress(), shared_shrinker(orders.cfg.image)
    with (
        GovernedGate(orders.governor, orders.secret, progress) as gate,
        closing(_transport(orders.cfg)) as transport,
    ):
        try:
            for fetched in crawl(
                wanted(),
                transport=transport,
                gate=gate,
                shrinker=shrinker,
                cfg=orders.cfg,
                progress=progress,
                robots=_robots(orders.secret, orders.cfg.fetch.user_agent),
                each_round=parts.write_if_late,
            ):
                progress.cpu.mark("fetch")
                parts.add(fetched)
                progress.cpu.mark("write")
        finally:
            progress.cpu.mark("fetch")
            parts.write()  # what is done stays done, whatever happened
            progress.cpu.mark("write")
            progress.cpu.add(shrinker.take_cpu_time())
    return parts.rows


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
