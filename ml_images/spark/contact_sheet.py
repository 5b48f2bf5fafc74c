"""What the contact sheet shows of an images table: the hosts that lost most, and some rows of every outcome."""

import itertools
import select
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images.images.config import PILLOWS_PIXELS, ImageConfig
from ml_images.images.resize import Shrunk
from ml_images.images.shrinker import Shrinker
from ml_images.report.examples import COLUMNS, HostOutcomes, SheetContents
from ml_images.schemas import IMAGES
from ml_images.spark import work
from ml_images.spark.url_spelling import ascii_lower
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join

WORST_HOSTS, FAILURES_OF_A_KIND, PICTURES = 10, 12, 240
_TOLD = [name for name in COLUMNS if name != "data"]
_SHARE = pa.schema([pa.field("parts", pa.list_(pa.string()))])
_EXAMPLE = pa.schema([*(IMAGES.field(name) for name in _TOLD), pa.field("place", pa.int64())])
_SEEN = pa.schema(
    [
        pa.field("examples", pa.list_(pa.struct(list(_EXAMPLE)))),
        pa.field("names", pa.list_(pa.string())),
        pa.field("counts", pa.list_(pa.int64())),
    ]
)
_AT_ONCE = 16  # pictures of a part, before those of others are looked at
_SPREAD = 0.6180339887  # multiples of the golden section, modulo 1, are spread evenly however many there are
_THUMBNAIL = ImageConfig(short_side=112, quality=80, min_side=1, max_pixels=PILLOWS_PIXELS)


def gather(spark: SparkSession, images: str) -> SheetContents:
    """Of the table at `images`: some rows of every outcome that lost a picture, and pictures of parts from all over it,
    as a part of extract is one archive."""
    with ThreadPoolExecutor(1) as beside:  # 0.4 s in a process of its own, as long as a query of a new session
        pictures = beside.submit(_pictures, images)
        hosts = _worst_hosts(spark, images)
        outcomes, failures = _outcomes_and_failures(spark, images)
        return SheetContents(outcomes, hosts, failures + pictures.result())


def _worst_hosts(spark: SparkSession, images: str) -> list[HostOutcomes]:
    """The hosts with most rows that are not ok, by the first URL of each row."""
    names = (for_spark(join(images, name)) for name in tables.parts(images))
    rows = spark.read.schema(from_arrow_schema(IMAGES)).parquet(*names).where(F.col("url").isNotNull())
    host = F.regexp_extract(ascii_lower(F.col("url")), r"^https?://(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:\[\]]+)", 1)
    rows = rows.withColumn("host", host).where("host != ''")  # a bad URL may have none
    counted = rows.groupBy("host", "outcome").agg(F.count("*").alias("rows"))
    lost = F.sum(F.when(F.col("outcome") != "ok", F.col("rows")).otherwise(0)).alias("lost")
    outcomes = F.map_from_entries(F.collect_list(F.struct("outcome", "rows"))).alias("outcomes")
    hosts = counted.groupBy("host").agg(lost, outcomes).where("lost > 0")
    worst = work.collect(hosts.orderBy(F.desc("lost"), "host").limit(WORST_HOSTS), "worst hosts")
    return [HostOutcomes(row["host"], row["outcomes"]) for row in worst]


def _outcomes_and_failures(spark: SparkSession, images: str) -> tuple[Counter[str], list[dict[str, Any]]]:
    shares = tables.share_parts(images, 2 * spark.sparkContext.defaultParallelism)
    units = work.units(spark, [{"parts": parts} for parts in shares], _SHARE)
    outcomes, found = Counter[str](), list[dict[str, Any]]()
    for seen in work.run(units, _look_through, _SEEN, "failures to show"):
        outcomes.update(dict(zip(seen["names"], seen["counts"], strict=True)))
        found += seen["examples"]
    failures = sorted(found, key=lambda row: (row["outcome"], row["place"]))
    kinds = itertools.groupby(failures, key=lambda row: row["outcome"])
    shown = (row for _, rows in kinds for row in itertools.islice(rows, FAILURES_OF_A_KIND))
    return outcomes, [{name: row.get(name) for name in COLUMNS} for row in shown]


def _look_through(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """Of each part its rows by outcome, and of each loss the FAILURES_OF_A_KIND that come first by a hash of their
    keys."""
    for part in (part for batch in batches for parts in batch.column("parts").to_pylist() for part in parts):
        rows = tables.read_part(part, _TOLD)
        counts = Counter(rows["outcome"].to_pylist())
        rows = rows.filter(pc.not_equal(rows["outcome"], "ok"))
        place = pa.array([zlib.crc32(key.encode()) for key in rows["key"].to_pylist()], pa.int64())
        rows = rows.append_column("place", place).sort_by([("outcome", "ascending"), ("place", "ascending")])
        kinds = (rows.filter(pc.equal(rows["outcome"], name)) for name in counts if name != "ok")
        examples = [row for some in kinds for row in some.slice(0, FAILURES_OF_A_KIND).to_pylist()]
        seen = {"examples": examples, "names": list(counts), "counts": list(counts.values())}
        yield pa.RecordBatch.from_pylist([seen], schema=_SEEN)


def _pictures(images: str) -> list[dict[str, Any]]:
    """Up to PICTURES rows that are ok, a few of a part in turn."""
    found: list[dict[str, Any]] = []
    names = [
        name for _, name in sorted((number * _SPREAD % 1, name) for number, name in enumerate(tables.parts(images)))
    ]
    with Shrinker(_THUMBNAIL) as shrinker:  # the bytes may be a stranger's, kept as they came
        turns = deque(_pictures_of(join(images, name), shrinker) for name in names)
        while turns and len(found) < PICTURES:
            some = next(turns[0], None)
            if some is None:
                turns.popleft()
            else:
                found += some
                turns.rotate(-1)
    return found[:PICTURES]


def _pictures_of(part: str, shrinker: Shrinker) -> Iterator[list[dict[str, Any]]]:
    """The rows of a part that are ok, _AT_ONCE or fewer at a time; no large column is read where none is."""
    if any("ok" in batch.column(0).to_pylist() for batch in tables.read_batches(part, ["outcome"])):
        for batch in tables.read_batches(part, COLUMNS, rows=_AT_ONCE):
            rows = [row for row in batch.to_pylist() if row["outcome"] == "ok"]
            yield [{**row, "data": None, "thumbnail": small} for row, small in _thumbnails(rows, shrinker)]


def _thumbnails(rows: list[dict[str, Any]], shrinker: Shrinker) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The rows whose picture can be made small, with that."""
    for number, row in enumerate(rows):
        shrinker.submit(number, row["data"])
    while shrinker.num_pending:
        select.select([shrinker.fileno()], [], [])
        for number, small in shrinker.collect():
            if isinstance(small, Shrunk):
                yield rows[number], small.data
