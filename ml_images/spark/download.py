"""Keys in, the `images` table out: one row for every distinct key; no plan or rerun fetches again what is final.

A run fetches the keys that have no final row yet (spark/fetch_plan.py). A worker streams its entries through the crawl
and stages parts as rows get finished (spark/image_parts.py), so a crash costs what was under way;
spark/images_table.py publishes.
"""

import functools
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from ml_images.download.config import DownloadConfig
from ml_images.download.crawl import Fetched, crawl
from ml_images.download.curl import CurlTransport
from ml_images.download.entries import BadEntry, ListColumns, to_wanted
from ml_images.download.governed import GovernedGate
from ml_images.download.keys import ENDED_AS
from ml_images.download.progress import Progress, milliseconds_by_stage
from ml_images.download.repeated import FOUND_WITH, Repeated
from ml_images.download.robots import Robots
from ml_images.download.wanted import Wanted
from ml_images.images.shrinker import shared_shrinker
from ml_images.outcomes import RETRYABLE
from ml_images.spark import images_table, run_options, work
from ml_images.spark.crawl_progress import CrawlProgress
from ml_images.spark.fetch_plan import read_plan, write_plan
from ml_images.spark.governing import Contact, governing
from ml_images.spark.image_parts import ImageParts, PartConfig
from ml_images.spark.run_options import RunOptions
from ml_images.spark.staged_rows import settle
from ml_images.spark.url_lists import Entries, has_moved, is_expected_otherwise, is_usable
from ml_images.spark.url_spelling import stripped
from ml_images.storage import tables

_TASK = pa.schema([pa.field("task", pa.int64()), pa.field("files", pa.list_(pa.string()))])
_DONE = pa.schema([pa.field("rows", pa.int64())])


@dataclass(frozen=True)
class Asked:
    """What a run is asked for: the images table at `location`, made in this way. `placeholder_keys` as in
    images_table.publish."""

    location: str
    cfg: DownloadConfig
    columns: ListColumns
    part: PartConfig
    placeholder_keys: int


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
class _Round:
    rows: int  # that were fetched
    published: images_table.Published
    milliseconds: dict[str, int]

    @property
    def found_placeholders(self) -> bool:
        return self.published.placeholders > 0


@dataclass(frozen=True)
class _Orders:
    """What every worker of a run is told."""

    asked: Asked
    run: str
    repeated: Repeated
    governor: Contact


def fetch_missing(entries: Entries, asked: Asked) -> Downloaded:
    """Bring the images table up to date with `entries`.

    Where pictures turn out to be placeholders when all are there, their keys get another round, at their next URLs.
    """
    tables.claim(asked.location, "images")
    settle(entries.frame.sparkSession, asked.location)  # what a crash of extract has left
    options = _run_options(asked.cfg)
    rounds: list[_Round] = []
    while not rounds or (rounds[-1].found_placeholders and len(rounds) < len(asked.columns.urls)):
        rounds.append(_fetch_round(entries, asked, options, is_first=not rounds))
    counted = rounds[-1].published.counted
    num_wanted = sum(counted.outcomes.values())
    fetched, again = rounds[0].rows, sum(later.rows for later in rounds[1:])
    counts = {
        "keys": num_wanted,
        "already_there": num_wanted - fetched,
        "fetched": fetched,
        "found to be placeholders": sum(one.published.placeholders for one in rounds),
    }
    if again:
        counts["fetched instead of placeholders"] = again
    lists = {
        "list rows without a key": counted.list_rows_without_key,
        "list rows whose key came before": counted.list_rows_of_known_keys,
    }
    milliseconds: Counter[str] = Counter()
    for one in rounds:
        milliseconds.update(one.milliseconds)
    other_pictures = run_options.other_pictures(asked.location, options)
    return Downloaded(counts, lists, counted.outcomes, dict(milliseconds), other_pictures)


def _fetch_round(entries: Entries, asked: Asked, options: RunOptions, is_first: bool) -> _Round:
    """Fetch what has no final row, and publish it; in a later round only what was found to be a placeholder."""
    spark, location, placeholder_keys = entries.frame.sparkSession, asked.location, asked.placeholder_keys
    urls, base_url = asked.columns.urls, asked.cfg.base_url
    names = images_table.all_parts(location)
    before = images_table.repeated_so_far(location)
    missing = entries.frame
    if names:
        rows = images_table.ledger(spark, location, names)
        outcome, url, detail, run_of_row = (F.col(f"final_{name}") for name in ("outcome", "url", "detail", "run"))
        is_outdated = (outcome == "bad_entry") & is_usable(asked.columns)
        is_outdated |= ~outcome.isin("ok", "bad_entry") & url.isNull()  # of an archive: no URL was tried
        is_outdated |= has_moved(asked.columns, base_url, outcome, url, detail)
        is_outdated |= (outcome != "ok") & is_expected_otherwise(detail)
        is_outdated |= (outcome != "ok") & _is_no_longer_repeated(detail, placeholder_keys)
        is_outdated |= (outcome == "placeholder") & _tells_of_another_try(detail)
        is_anew = run_options.is_decided_anew(location, options, outcome, detail, run_of_row)
        is_outdated |= url.isNotNull() & is_anew
        missing = images_table.pending(missing, rows, is_outdated)
        if before.digests:
            found = _placeholders(images_table.whole_rows(spark, location, names), placeholder_keys, is_first)
            missing = missing.join(found, on="key", how="left" if is_first else "inner")
        if not any("{key}" in template for template in urls):
            missing = _without_hopeless(missing, rows, base_url)
    may_share = sum("{key}" not in template for template in urls) > 1
    plan = write_plan(missing, location, entries.num_bytes, may_share)
    milliseconds: dict[str, int] = {}
    if plan.rows:
        # A run that was given up may have workers that still write; its number may come again, its name does not.
        number = images_table.next_run(names)
        run_options.remember(location, number, options, map(images_table.run_of, names))
        run = f"{number:04d}-{secrets.token_hex(4)}"
        repeated = before.that_hold(placeholder_keys)
        with governing(spark, asked.cfg.politeness) as (governor, contact):
            orders = _Orders(asked, run, repeated, contact)
            tasks = [{"task": task, "files": files} for task, files in enumerate(plan.tasks)]
            with CrawlProgress("download", governor.progress, plan.rows):
                work.run(work.units(spark, tasks, _TASK), partial(_fetch, orders=orders), _DONE)
            milliseconds = milliseconds_by_stage(governor.progress())
    is_published = not plan.rows and tables.is_done(location) and not tables.staged_parts(location)
    if not is_published or before.may_have_more(placeholder_keys):
        published = images_table.publish(spark, location, entries.accounted, placeholder_keys)
    else:
        tables.clear_staging(location)  # of the empty plan
        counted = images_table.count(spark, location, entries.accounted, images_table.all_parts(location))
        published = images_table.Published(counted, 0)
    return _Round(plan.rows, published, milliseconds)


def _run_options(cfg: DownloadConfig) -> RunOptions:
    decisive, picture = run_options.of_image(cfg.image)
    decisive |= {
        "too_large": [cfg.fetch.max_bytes],
        "redirect_error": [cfg.fetch.max_redirects],
        "forbidden": [cfg.fetch.user_agent],
        "opted_out": [cfg.politeness.opt_out, cfg.fetch.user_agent],
    }
    return RunOptions("download", decisive, picture)


def _is_no_longer_repeated(detail: Column, placeholder_keys: int) -> Column:
    """Does a row say that many URLs gave its bytes (or those of an earlier URL of its key), with a number that asked
    for fewer of them than `placeholder_keys`?"""
    found = F.regexp_extract(F.coalesce(detail, F.lit("")), FOUND_WITH, 1)
    asked_for = F.when(found != "", found).cast("int")
    return asked_for.isNotNull() & (F.lit(placeholder_keys == 0) | (asked_for < placeholder_keys))


def _tells_of_another_try(detail: Column) -> Column:
    """Did a URL of the key fail in a way that deserves one?"""
    return F.coalesce(detail.rlike(f"{ENDED_AS}(?:{'|'.join(sorted(RETRYABLE))})\\b"), F.lit(False))


def _placeholders(rows: DataFrame, placeholder_keys: int, is_first: bool) -> DataFrame:
    """(key, row) of those that many URLs gave, as entries.to_wanted takes it. In the first round of a run other URLs of
    the key are not told of: options and lists may be others by now."""
    detail = F.col("detail")
    is_found = (F.col("outcome") == "placeholder") & detail.rlike(FOUND_WITH)
    rows = rows.where(is_found & ~_is_no_longer_repeated(detail, placeholder_keys)).dropDuplicates(["key"])
    told = F.split_part(detail, F.lit("; "), F.lit(1)) if is_first else detail
    elapsed_s = F.col("elapsed_ms") / 1000
    row = F.struct("url", told.alias("detail"), "attempts", elapsed_s.alias("elapsed_s"))
    return rows.select("key", row.alias("row"))


def _without_hopeless(missing: DataFrame, rows: DataFrame, base_url: str) -> DataFrame:
    """Without the keys that have no URL, but a row already, from an archive perhaps."""
    has_url = F.exists("urls", lambda url: stripped(url) != "")
    is_url = F.col("urls").isNull() & (F.col("key").contains("://") | F.lit(bool(base_url)))
    hopeless = ~(F.coalesce(has_url, F.lit(False)) | is_url)
    known = missing.where(hopeless).select("key").join(rows.select("key"), on="key", how="left_semi")
    return missing.join(known, on="key", how="left_anti")


def _fetch(batches: Iterable[pa.RecordBatch], *, orders: _Orders) -> Iterable[pa.RecordBatch]:
    for task in (task for batch in batches for task in batch.to_pylist()):
        rows = _fetch_task(task["task"], task["files"], orders)
        yield pa.RecordBatch.from_pylist([{"rows": rows}], schema=_DONE)


def _fetch_task(task: int, files: list[str], orders: _Orders) -> int:
    asked, cfg = orders.asked, orders.asked.cfg
    parts = ImageParts(asked.location, orders.run, task, asked.part)
    finished = parts.finished()

    def wanted() -> Iterator[Wanted]:
        for entry in read_plan(files):
            if entry["key"] in finished:
                continue
            try:
                yield to_wanted(**entry, columns=asked.columns, base_url=cfg.base_url)
            except BadEntry as error:
                parts.add(_refused(entry["key"], error))

    progress, shrinker = Progress(), shared_shrinker(cfg.image)
    with (
        GovernedGate(orders.governor.address, orders.governor.secret, progress) as gate,
        closing(_transport(cfg)) as transport,
    ):
        try:
            for fetched in crawl(
                wanted(),
                transport=transport,
                gate=gate,
                shrinker=shrinker,
                cfg=cfg,
                progress=progress,
                robots=_robots(orders.governor.secret, cfg.fetch.user_agent),
                repeated=orders.repeated,
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
