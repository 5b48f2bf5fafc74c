"""What the contact sheet shows of an images table: the hosts that lost most, and some rows of every outcome."""

import select
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

from ml_images.images.config import PILLOWS_PIXELS, ImageConfig
from ml_images.images.resize import Shrunk
from ml_images.images.shrinker import Shrinker
from ml_images.report.contact_sheet import COLUMNS, HostOutcomes
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join

WORST_HOSTS, FAILURES_OF_A_KIND, PICTURES = 10, 12, 240
_THUMBNAIL = ImageConfig(short_side=112, quality=80, min_side=1, max_pixels=PILLOWS_PIXELS)


def worst_hosts(spark: SparkSession, images: str) -> list[HostOutcomes]:
    """The hosts with most rows that are not ok, by the first URL of each row."""
    rows = spark.read.parquet(for_spark(images)).where(F.col("url").isNotNull())
    host = F.regexp_extract(F.lower("url"), r"^https?://(?:[^/?#@]*@)?([^/?#:]+|\[[^\]]*\])", 1)
    counted = rows.select(host.alias("host"), "outcome").groupBy("host", "outcome").count()
    lost = F.sum(F.when(F.col("outcome") != "ok", F.col("count")).otherwise(0))
    worst = counted.groupBy("host").agg(lost.alias("lost")).where("lost > 0")
    worst = worst.orderBy(F.desc("lost"), "host").limit(WORST_HOSTS)
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in counted.join(worst.select("host"), on="host", how="left_semi").collect():
        found[row["host"]][row["outcome"]] = row["count"]
    made = [HostOutcomes(name, counts) for name, counts in found.items()]
    return sorted(made, key=lambda one: (-one.lost, one.host))


def find_examples(spark: SparkSession, images: str) -> list[dict[str, Any]]:
    """Rows with COLUMNS: some of every outcome that lost a picture, and pictures of the first parts, which are fair
    samples of the keys, with a `thumbnail`."""
    losses = spark.read.parquet(for_spark(images)).where("outcome != 'ok'").drop("data").withColumn("data", F.lit(None))
    place = F.row_number().over(Window.partitionBy("outcome").orderBy(F.xxhash64("key")))
    chosen = losses.select(*COLUMNS, place.alias("place")).where(F.col("place") <= FAILURES_OF_A_KIND)
    return [row.asDict() for row in chosen.orderBy("outcome", "place").collect()] + _pictures(images)


def _pictures(images: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with Shrinker(_THUMBNAIL) as shrinker:  # the bytes may be a stranger's, kept as they came
        for part in (join(images, name) for name in tables.parts(images)):
            if not any("ok" in batch.column(0).to_pylist() for batch in tables.read_batches(part, ["outcome"])):
                continue
            for batch in tables.read_batches(part, COLUMNS, rows=16):
                rows = [row for row in batch.to_pylist() if row["outcome"] == "ok"]
                found += [{**row, "data": None, "thumbnail": small} for row, small in _thumbnails(rows, shrinker)]
                if len(found) >= PICTURES:
                    return found[:PICTURES]
    return found


def _thumbnails(rows: list[dict[str, Any]], shrinker: Shrinker) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The rows whose picture can be made small, with that."""
    for number, row in enumerate(rows):
        shrinker.submit(number, row["data"])
    while shrinker.num_pending:
        select.select([shrinker.fileno()], [], [])
        for number, small in shrinker.collect():
            if isinstance(small, Shrunk):
                yield rows[number], small.data
