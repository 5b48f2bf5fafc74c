"""Lists of URLs as a frame: Parquet, CSV, TSV or plain text, whose columns the user names."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images.download.entries import ENTRY, ListColumns
from ml_images.errors import InputError
from ml_images.storage.paths import find_files, for_spark

_COMPRESSED = (".gz", ".bz2", ".zst")


def read_entries(spark: SparkSession, labels: str, lists: Sequence[str], columns: ListColumns) -> DataFrame:
    """What is wanted, one row a key by the columns of download.entries.ENTRY: the keys of the labels table, each with
    its entry of the lists (null where it has none); without labels, all entries of the lists."""
    entries = read_lists(spark, lists, columns) if lists else spark.createDataFrame([], from_arrow_schema(ENTRY))
    if not labels:
        return entries
    keys = spark.read.parquet(for_spark(labels)).select("key").distinct()
    return keys.join(entries, on="key", how="left")


def read_lists(spark: SparkSession, files: Sequence[str], columns: ListColumns) -> DataFrame:
    """The entries of all lists, by the columns of download.entries.ENTRY; one a key (of several, that with most in it).

    Raises InputError for a missing file, an ending that tells no format, and a column that is not there.
    """
    by_format: dict[str, list[str]] = {}
    for location, size in find_files(list(files), "URL list"):
        if size:
            by_format.setdefault(_format(location), []).append(location)
    frames = [
        _entries(_read(spark, kind, location), location, columns)
        for kind, found in by_format.items()
        for location in found
    ]
    together = reduce(DataFrame.unionByName, frames)
    rest = [name for name in ENTRY.names if name != "key"]
    missing = sum((F.col(name).isNull().cast("int") for name in rest if name != "urls"), F.lit(0))
    blank = F.size(F.filter("urls", lambda url: url.isNull() | (F.trim(url) == "")))
    least = F.min(F.struct((blank + missing).alias("missing"), *rest)).alias("entry")
    return together.groupBy("key").agg(least).select("key", *(f"entry.{name}" for name in rest))


def _format(location: str) -> str:
    name = location.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    for kind in ("parquet", "csv", "tsv", "txt"):
        if name.endswith(f".{kind}"):
            return kind
    raise InputError(f"URL list '{location}': its ending tells no format, accepted are .parquet, .csv, .tsv and .txt")


def _read(spark: SparkSession, kind: str, location: str) -> DataFrame:
    path = for_spark(location)
    if kind == "parquet":
        return spark.read.parquet(path)
    if kind == "txt":
        lines = spark.read.text(path).select(F.trim("value").alias("url"))
        return lines.where(F.col("url") != "")
    # Quotes inside a quoted field are doubled (RFC 4180), not escaped by a backslash as Spark expects.
    return spark.read.csv(path, header=True, escape='"', sep="\t" if kind == "tsv" else ",", mode="PERMISSIVE")


def _entries(frame: DataFrame, location: str, columns: ListColumns) -> DataFrame:
    for name in columns.named():
        if name not in frame.columns:
            raise InputError(f"URL list '{location}' has no column '{name}'; it has {', '.join(frame.columns)}")

    def text(name: str) -> Column:
        return F.col(f"`{name}`").cast("string") if name else F.lit(None).cast("string")

    urls = [F.lit(None).cast("string") if "{key}" in name else text(name) for name in columns.urls]
    key = text(columns.key) if columns.key else urls[0]
    entries = frame.select(
        key.alias("key"),
        F.array(*urls).alias("urls"),
        *(text(name).alias(what) for what, name in columns.facts().items()),
    )
    return entries.where(F.col("key").isNotNull() & (F.col("key") != ""))
