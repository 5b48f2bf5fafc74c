"""Archives and keys in, rows of the table `images` out: each wanted key once, and nothing that is there already.

The driver finds the archives; workers cut them into pieces (by headers only), then read the pieces in one pass each,
against an index of the keys (spark/asked_keys.py). A worker writes the rows of a piece as staged parts,
`part-<run>-<piece>-<number>.parquet`; another attempt at a piece goes on behind the parts of the one before. Of a key
that several pieces had, one row is kept (spark/staged_rows.py). A key that none had gets a row that says so, unless
there is one that tells more, from other archives or a download: that is written again, as one of this run.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ml_images import outcomes
from ml_images.archives.config import ExtractConfig
from ml_images.archives.find import Archive, fingerprint
from ml_images.archives.pieces import Piece, plan_pieces
from ml_images.archives.read import Member, Tally, read_piece
from ml_images.archives.rows import Row, begin_row, decode_members
from ml_images.download.config import PolitenessConfig
from ml_images.download.governed import GovernedGate
from ml_images.download.progress import Progress
from ml_images.errors import StorageError
from ml_images.images.shrinker import shared_shrinker
from ml_images.schemas import IMAGES
from ml_images.spark import images_table, run_options, work
from ml_images.spark.asked_keys import AskedKeys, write_asked_keys
from ml_images.spark.crawl_progress import CrawlProgress
from ml_images.spark.governing import Contact, governing
from ml_images.spark.run_options import RunOptions
from ml_images.spark.staged_rows import settle
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

PIECES_AT_ONCE = 8  # a task starts a decoder, and small archives are many
ARCHIVES_AT_ONCE = 64
_PART_BYTES = 128 << 20  # of pictures, after which a part is written even if it has few rows
# Archives do not change their mind as hosts do: the same ones are not asked again for what ended so, nor for what is
# final.
_IN_VAIN = ("not_in_archive", "truncated", "unsafe_member", "empty")
_TELL_LITTLE = ("no_url", "not_in_archive")

_ARCHIVE = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("location", pa.binary()),  # a path need not be UTF-8
        pa.field("kind", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("changed_ns", pa.int64()),
        pa.field("place", pa.list_(pa.string())),
    ]
)
_PIECE = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("source", pa.string()),
        pa.field("location", pa.binary()),  # a path need not be UTF-8
        pa.field("kind", pa.string()),
        pa.field("place", pa.list_(pa.string())),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
        pa.field("is_cut", pa.bool_()),
    ]
)
_READ = pa.schema(
    [
        pa.field("parts", pa.list_(pa.string())),
        pa.field("names", pa.list_(pa.string())),
        pa.field("counts", pa.list_(pa.int64())),
        pa.field("problems", pa.list_(pa.string())),
    ]
)
_MISSING = pa.schema([pa.field("part", pa.string()), pa.field("rows", pa.int64())])


@dataclass(frozen=True)
class Extracted:
    """What a run did."""

    keys: dict[str, int]
    members: dict[str, int]  # what was seen in the archives; empty where nothing was left to ask for
    problems: list[str]  # a line for each archive that could not be read to its end
    other_pictures: str  # the options of earlier runs whose pictures were made otherwise, and stay


def extract_missing(keys: DataFrame, archives: list[Archive], location: str, cfg: ExtractConfig) -> Extracted:
    """Bring the images table at `location` up to date with `keys` (one column, of keys that are no URLs).

    Asked for is what has no picture; a key that these very archives were asked for in vain is not asked for again.
    """
    spark = keys.sparkSession
    tables.claim(location, "images")
    asked_of = fingerprint(archives)
    settle(spark, location)  # what a crash has left
    wanted = keys.select("key").distinct()
    before = images_table.all_parts(location)
    run = images_table.next_run(before)
    options = _run_options(cfg, asked_of)
    asked = write_asked_keys(_pending(wanted, location, before, options), location)
    num_wanted = wanted.count()
    counts = {"keys": num_wanted, "already there": num_wanted - asked.rows, "asked for": asked.rows}
    members: Counter[str] = Counter()
    problems: list[str] = []
    if asked.rows:
        runs = set(map(images_table.run_of, before))
        run_options.remember(location, run, replace(options, archives=""), runs)
        pieces = _plan(spark, archives)
        units = work.units(spark, pieces, _PIECE, at_once=PIECES_AT_ONCE)
        # Nobody is asked for permits: it hears how far workers are.
        with governing(spark, PolitenessConfig()) as (governor, contact):
            read = partial(_read_pieces, location=location, run=run, asked=asked, cfg=cfg, governor=contact)
            with CrawlProgress("extract", governor.progress, asked.rows, under_way=()):
                all_done = work.run(units, read, _READ)
        for done in all_done:
            _require_parts(location, done["parts"])
            members.update(dict(zip(done["names"], done["counts"], strict=True)))
            problems.extend(done["problems"])
        members["members found again"] += settle(spark, location)
        missing = _with_rows_before(_without_rows_of(run, asked.read(spark), location), location, before)
        detail = f"in none of {len(archives)} archives"
        write = partial(_write_missing, location=location, run=run, first=len(pieces), detail=detail)
        listed = work.run(missing, write, _MISSING, "list what is missing")
        _require_parts(location, [row["part"] for row in listed])
        counts["in no archive"] = sum(row["rows"] for row in listed)
        run_options.remember(location, run, options, runs)  # a run that was cut short has asked nobody in vain
    if asked.rows or not tables.is_done(location) or tables.staged_parts(location):
        images_table.publish(spark, location, wanted)
    else:
        tables.clear_staging(location)
    return Extracted(counts, dict(sorted(members.items())), problems, run_options.other_pictures(location, options))


def _run_options(cfg: ExtractConfig, asked_of: str) -> RunOptions:
    decisive, picture = run_options.of_image(cfg.image)
    decisive |= {"too_large": [cfg.max_bytes]} | {name: [cfg.max_ratio] for name in _IN_VAIN}
    return RunOptions("extract", decisive, picture, asked_of)


def _without_rows_of(run: int, keys: DataFrame, location: str) -> DataFrame:
    names = [name for name in images_table.all_parts(location) if images_table.run_of(name) == run]
    if not names:
        return keys
    found = images_table.ledger(keys.sparkSession, location, names).select("key")
    return keys.join(found, on="key", how="left_anti")


def _with_rows_before(keys: DataFrame, location: str, names: list[str]) -> DataFrame:
    """`keys`, each with what the last of its rows in the parts `names` tells (columns of IMAGES), null where that is no
    more than that it was looked for in vain."""
    if not names:
        return keys.select("key", F.lit(None).cast("string").alias("outcome"))
    rows = images_table.whole_rows(keys.sparkSession, location, names).drop("data")
    rows = rows.where(~F.col("outcome").isin("ok", *_TELL_LITTLE))
    rest = [name for name in rows.columns if name not in ("key", "run", "part")]
    latest = F.max_by(F.struct(*rest), F.struct("run", "part"))
    before = rows.groupBy("key").agg(latest.alias("before")).select("key", "before.*")
    return keys.join(before, on="key", how="left")


def _pending(wanted: DataFrame, location: str, names: list[str], options: RunOptions) -> DataFrame:
    """The keys without a row in the parts `names` that would also come out of another look with these options."""
    if not names:
        return wanted
    rows = images_table.ledger(wanted.sparkSession, location, names)
    outcome, run = F.col("outcome"), F.col("run")
    is_of_these = run.isin(run_options.runs_of(location, "extract", options.archives))
    # What a download failed at is a row of this run again where the archives did not have it either.
    is_settled = ~outcome.isin(list(outcomes.RETRYABLE)) | outcome.isin(*_IN_VAIN) | F.col("url").isNotNull()
    is_in_vain = is_of_these & is_settled
    is_anew = run_options.is_decided_anew(location, options, outcome, F.col("detail"), run)
    is_there = (outcome == "ok") | (is_in_vain & ~is_anew)
    return wanted.join(rows.where(is_there).select("key"), on="key", how="left_anti")


def _plan(spark: SparkSession, archives: list[Archive]) -> list[dict[str, Any]]:
    """The pieces of all archives as rows of _PIECE, numbered in the order of the archives."""
    rows = [_told(archive) for archive in archives]
    units = work.units(spark, rows, _ARCHIVE, at_once=ARCHIVES_AT_ONCE)
    pieces = work.run(units, _plan_archives, _PIECE, "plan")
    return [piece | {"number": number} for number, piece in enumerate(pieces)]


def _plan_archives(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    for row in (row for batch in batches for row in batch.to_pylist()):
        pieces = plan_pieces(Archive(**_understood(row)))
        yield pa.RecordBatch.from_pylist([_told(piece) | {"number": 0} for piece in pieces], schema=_PIECE)


def _told(what: Archive | Piece) -> dict[str, Any]:
    """A row of _ARCHIVE or _PIECE."""
    return asdict(what) | {"location": what.location.encode("utf-8", "surrogateescape")}


def _understood(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"place": tuple(row["place"]), "location": row["location"].decode("utf-8", "surrogateescape")}


def _read_pieces(
    batches: Iterable[pa.RecordBatch],
    *,
    location: str,
    run: int,
    asked: AskedKeys,
    cfg: ExtractConfig,
    governor: Contact,
) -> Iterable[pa.RecordBatch]:
    index, shrinker, progress = asked.load(), shared_shrinker(cfg.image), Progress()
    with GovernedGate(governor.address, governor.secret, progress) as gate:
        for row in (row for batch in batches for row in batch.to_pylist()):
            number = row.pop("number")
            piece, tally = Piece(**_understood(row)), Tally()
            parts, done = _parts_of_earlier_attempt(location, run, number)
            found = decode_members(read_piece(piece, index, done, cfg, tally), shrinker, cfg)
            for rows in _cut(_counted(found, progress, gate), cfg.part_rows):
                parts.append(_part(run, number, len(parts)))
                table = pa.Table.from_pylist(rows, schema=IMAGES)
                tables.write_part(join(location, tables.STAGING, parts[-1]), table)
            counts, problems = tally.counts, tally.problems
            told = {"parts": parts, "names": list(counts), "counts": list(counts.values()), "problems": problems}
            yield pa.RecordBatch.from_pylist([told], schema=_READ)


def _counted(rows: Iterable[Row], progress: Progress, gate: GovernedGate) -> Iterator[Row]:
    for row in rows:
        progress.count_key(row["outcome"])
        gate.tend(time.monotonic())
        yield row


def _parts_of_earlier_attempt(location: str, run: int, piece: int) -> tuple[list[str], dict[str, bytes | None]]:
    """Names of the parts that an attempt at this piece has left, and key -> digest of their rows."""
    parts: list[str] = []
    done: dict[str, bytes | None] = {}
    while True:
        name = _part(run, piece, len(parts))
        filesystem, path = open_location(join(location, tables.STAGING, name))
        if not filesystem.get_file_info(path).is_file:
            return parts, done
        rows = pq.read_table(path, columns=["key", "sha256"], filesystem=filesystem)
        done.update(zip(rows["key"].to_pylist(), rows["sha256"].to_pylist(), strict=True))
        parts.append(name)


def _cut(rows: Iterable[Row], part_rows: int) -> Iterator[list[Row]]:
    """The rows of one part each. A second row of a key takes the place of the first."""
    part, held = dict[str, Row](), 0
    for row in rows:
        part[row["key"]] = row
        held += len(row["data"] or b"")
        if len(part) >= part_rows or held >= _PART_BYTES:
            yield list(part.values())
            part, held = {}, 0
    if part:
        yield list(part.values())


def _write_missing(
    batches: Iterable[pa.RecordBatch], *, location: str, run: int, first: int, detail: str
) -> Iterable[pa.RecordBatch]:
    context = TaskContext.get()
    assert context is not None, "runs in a task of Spark"
    name, rows = _part(run, first + context.partitionId(), 0), 0
    with tables.open_part(join(location, tables.STAGING, name), IMAGES) as writer:
        for batch in batches:
            missing = [
                begin_row(Member(row["key"], detail, None, "not_in_archive")) if row["outcome"] is None else row
                for row in batch.to_pylist()
            ]
            writer.write_batch(pa.RecordBatch.from_pylist(missing, schema=IMAGES))
            rows += batch.num_rows
    yield pa.RecordBatch.from_pylist([{"part": name, "rows": rows}], schema=_MISSING)


def _require_parts(location: str, parts: list[str]) -> None:
    """Raise StorageError unless the staged parts that a worker tells of are there for the driver, too."""
    filesystem, path = open_location(join(location, tables.STAGING))
    infos = filesystem.get_file_info([f"{path}/{part}" for part in parts]) if parts else []
    gone = [info.base_name for info in infos if not info.is_file]
    if gone:
        told = "it must be a place that all machines share"
        raise StorageError(f"workers wrote parts of '{location}' that are not there ({gone[0]}): {told}")


def _part(run: int, piece: int, number: int) -> str:
    return f"part-{run:04d}-{piece:06d}-{number:05d}.parquet"
