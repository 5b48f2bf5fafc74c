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
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images import outcomes, schemas
from ml_images.download.repeated import Repeated, as_placeholders
from ml_images.errors import StorageError
from ml_images.spark import work
from ml_images.spark.url_spelling import spelled_alike
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join, open_location

_ROWS = from_arrow_schema(schemas.IMAGES)
_FILE = pa.schema([pa.field("file", pa.string())])
_REWRITTEN = pa.schema(
    [pa.field("dropped", pa.int64()), pa.field("renamed", pa.int64()), pa.field("digests", pa.list_(pa.binary()))]
)
_NO_ROW, _NO_KEY = "", "no key"  # among the outcomes
_LOOKED_THROUGH = "_looked_through.json"
_MOST_DIGESTS = 10_000  # of placeholders that are remembered, 32 bytes each
_RUN = r"part-(\d+)-"


@dataclass(frozen=True)
class Counted:
    """Wanted keys by the outcome of their row, most frequent first; rows of lists without a key, and with one that
    another row has, too."""

    outcomes: dict[str, int]
    list_rows_without_key: int
    list_rows_of_known_keys: int


@dataclass(frozen=True)
class Published:
    """What is wanted by outcome, and how many rows were found to be placeholders."""

    counted: Counted
    placeholders: int


def all_parts(location: str) -> list[str]:
    """Visible and staged parts, as paths below `location`."""
    return tables.parts(location) + [join(tables.STAGING, name) for name in tables.staged_parts(location)]


def ledger(spark: SparkSession, location: str, names: Sequence[str]) -> DataFrame:
    """(key, outcome, url, detail, sha256, part, run) of the rows in the parts `names` of `all_parts`, at least one.

    The frame is of no use any more when a part was written anew: Spark remembers how long files were.
    """
    rows = whole_rows(spark, location, names)
    return rows.select("key", "outcome", "url", "detail", "sha256", "part", "run")


def whole_rows(spark: SparkSession, location: str, names: Sequence[str]) -> DataFrame:
    """As `ledger`, with all columns of schemas.IMAGES."""
    # Paths below folders that begin with an underscore are read when named one by one. With the schema given, Spark
    # needs no job to find it out.
    rows = spark.read.schema(_ROWS).parquet(*(for_spark(join(location, name)) for name in names))
    rows = rows.select(*_ROWS.names, "_metadata.file_path")
    part = F.element_at(F.split(F.col("file_path"), "/"), -1)
    run = F.regexp_extract(part, _RUN, 1).cast("int")
    return rows.select(*_ROWS.names, part.alias("part"), run.alias("run"))


def pending(wanted: DataFrame, rows: DataFrame, is_outdated: Column) -> DataFrame:
    """The rows of `wanted` whose key has no final outcome in the ledger `rows`, or one that `is_outdated`: a condition
    of the columns of `wanted`, and of `final_outcome`, `final_url`, `final_detail` and `final_run`."""
    final = rows.where(~F.col("outcome").isin(list(outcomes.RETRYABLE)))
    final = final.select(*(F.col(name).alias(f"final_{name}") for name in ("key", "outcome", "url", "detail", "run")))
    is_final = (F.col("key") == F.col("final_key")) & ~F.coalesce(is_outdated, F.lit(False))
    return wanted.join(final, on=is_final, how="left_anti")


def repeated_so_far(location: str) -> Repeated:
    """What was found when the table was looked through last."""
    known = tables.read_json(join(location, _LOOKED_THROUGH)) or {"placeholder_keys": 0, "digests": []}
    return Repeated(known["placeholder_keys"], frozenset(map(bytes.fromhex, known["digests"])))


def next_run(names: Iterable[str]) -> int:
    """The number of a new run, given the names of all parts."""
    return 1 + max(map(run_of, names), default=0)


def run_of(name: str) -> int:
    """The run that made a part; 0 for the part of a table without rows."""
    found = re.search(_RUN, name)
    return int(found[1]) if found else 0


def publish(spark: SparkSession, location: str, wanted: DataFrame, placeholder_keys: int | None = None) -> Published:
    """One row a key, all visible, the table done.

    A picture that came, byte for byte the same, from `placeholder_keys` or more different URLs is a placeholder (0:
    there is no such rule; None: the table is not looked through). `wanted`: key, and list_rows where it comes from
    lists (url_lists.Entries.accounted). Raises StorageError when a key of `wanted` has no row.
    """
    names = all_parts(location)  # what comes later is of a worker that the driver has given up
    renamed, found = 0, set[bytes]()
    if names:
        rows = ledger(spark, location, names)
        changes = _superseded(rows).unionByName(_repeated(rows, placeholder_keys or 0))
        # With a number, else Spark puts what is little into one partition, and one task would rewrite all parts.
        changes = changes.repartition(2 * spark.sparkContext.defaultParallelism, "part")
        files = work.write(changes, join(location, tables.STAGING, f"_changes-{uuid4().hex}"), "publish")
        tables.begin_publishing(location)
        units = work.units(spark, [{"file": file} for file, _ in files], _FILE)
        rewrite = partial(_rewrite, location=location, placeholder_keys=placeholder_keys or 0)
        done = work.run(units, rewrite, _REWRITTEN, "publish") if files else []
        renamed = sum(part["renamed"] for part in done)
        found.update(digest for part in done for digest in part["digests"])
        names = sorted(set(names).intersection(all_parts(location)))
    counted = count(spark, location, wanted, names)
    lost = counted.outcomes.get(_NO_ROW, 0)
    if lost:
        told = "it must be a place that all machines share"
        raise StorageError(f"workers wrote {lost} keys whose rows are not in '{location}': {told}")
    tables.begin_publishing(location)
    staged = f"{tables.STAGING}/"
    tables.move_staged(location, [name.removeprefix(staged) for name in names if name.startswith(staged)])
    if not tables.parts(location):
        tables.write_part(join(location, "part-0000-000000.parquet"), schemas.IMAGES.empty_table())
    if placeholder_keys is not None:
        digests = sorted(repeated_so_far(location).that_hold(placeholder_keys).digests | found)[:_MOST_DIGESTS]
        known = {"placeholder_keys": placeholder_keys, "digests": [digest.hex() for digest in digests]}
        tables.write_json(join(location, _LOOKED_THROUGH), known)
    tables.mark_done(location)
    return Published(counted, renamed)


def count_outcomes(spark: SparkSession, location: str, wanted: DataFrame) -> dict[str, int]:
    """Keys of `wanted` by the outcome of their row, most frequent first; keys without a row do not count."""
    found = count(spark, location, wanted.select("key"), all_parts(location)).outcomes
    found.pop(_NO_ROW, 0)
    return found


def count(spark: SparkSession, location: str, wanted: DataFrame, names: Sequence[str]) -> Counted:
    """What is `wanted` (as `publish`), by the rows of the parts `names`, in one query; an outcome "" where there is no
    row."""
    keys = wanted
    if "list_rows" not in wanted.columns:
        keys = wanted.select("key", F.lit(None).cast("long").alias("list_rows"))
    if names:
        outcome = ledger(spark, location, names).select("key", "outcome")
        rows = keys.join(outcome, on="key", how="left")
    else:
        rows = keys.withColumn("outcome", F.lit(None).cast("string"))
    kind = F.when(F.col("key") == "", F.lit(_NO_KEY)).otherwise(F.coalesce("outcome", F.lit(_NO_ROW)))
    numbers = [F.count("*").alias("keys"), F.sum("list_rows").alias("rows"), F.count("list_rows").alias("listed")]
    found = work.collect(rows.groupBy(kind.alias("outcome")).agg(*numbers), "count outcomes")
    found.sort(key=lambda row: (-row["keys"], row["outcome"]))
    return Counted(
        {row["outcome"]: row["keys"] for row in found if row["outcome"] != _NO_KEY},
        sum(row["rows"] or 0 for row in found if row["outcome"] == _NO_KEY),
        sum((row["rows"] or 0) - row["listed"] for row in found if row["outcome"] != _NO_KEY),
    )


def _superseded(rows: DataFrame) -> DataFrame:
    """(part, key, renamed, sha256) of all rows of a key but the last."""
    place = F.struct("run", "part")  # by part, too: whatever put a key twice into one run, here it ends
    by_key = rows.groupBy("key").agg(F.collect_list(place).alias("places"), F.max(place).alias("latest"))
    places = by_key.where(F.size("places") > 1).select("key", "latest", F.explode("places").alias("place"))
    nothing = F.lit(None).cast("binary").alias("sha256")
    return places.where("place < latest").select("place.part", "key", F.lit(False).alias("renamed"), nothing)


def _repeated(rows: DataFrame, placeholder_keys: int) -> DataFrame:
    """(part, key, renamed, sha256) of the pictures that came from too many URLs; empty where there is no such rule.

    Spellings of a URL are one URL: the keys that have it share one request.
    """
    pictures = rows.where(F.col("sha256").isNotNull() & F.col("url").isNotNull())
    pictures = pictures.where(F.col("outcome").isin("ok", "placeholder"))
    chosen = [F.col("part"), F.col("key"), F.lit(True).alias("renamed"), F.col("sha256")]
    if not placeholder_keys:
        return pictures.where(F.lit(False)).select(*chosen)
    found = pictures.groupBy("sha256").agg(F.countDistinct(spelled_alike(F.col("url"))).alias("urls"))
    repeated = found.where(F.col("urls") >= placeholder_keys).select("sha256")
    return pictures.where(F.col("outcome") == "ok").join(repeated, on="sha256", how="left_semi").select(*chosen)


def _rewrite(batches: Iterable[pa.RecordBatch], *, location: str, placeholder_keys: int) -> Iterable[pa.RecordBatch]:
    """Parts without the rows that a later run has made anew, and with placeholders named as such; no empty ones."""
    for file in (file for batch in batches for file in batch.column("file").to_pylist()):
        changes: dict[tuple[str, bool], list[str]] = defaultdict(list)
        digests: dict[str, set[bytes]] = defaultdict(set)
        for change in tables.read_part(file).to_pylist():
            changes[change["part"], change["renamed"]].append(change["key"])
            if change["renamed"]:
                digests[change["part"]].add(change["sha256"])
        for name in {name for name, _ in changes}:
            dropped, renamed = changes[name, False], changes[name, True]
            done = _rewrite_part(location, name, dropped, renamed, placeholder_keys)
            told = {"dropped": done, "renamed": len(renamed), "digests": list(digests[name])}
            yield pa.RecordBatch.from_pylist([told], schema=_REWRITTEN)


def _rewrite_part(location: str, name: str, dropped: list[str], renamed: list[str], placeholder_keys: int) -> int:
    """Returns how many rows were dropped."""
    staged = join(location, tables.STAGING, name)
    part = staged if tables.exists(staged) else join(location, name)
    if not tables.exists(part):  # an earlier attempt at this task has removed it
        return 0
    keys = tables.read_part(part, ["key"])["key"]
    is_kept = pc.invert(pc.is_in(keys, value_set=pa.array(dropped, pa.string())))
    num_dropped = len(keys) - pc.sum(is_kept).as_py()
    if num_dropped == len(keys):
        filesystem, path = open_location(part)
        filesystem.delete_file(path)
    else:
        rows = tables.read_part(part).filter(is_kept)
        tables.write_part(part, as_placeholders(rows, renamed, placeholder_keys))
    return int(num_dropped)
