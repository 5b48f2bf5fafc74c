"""Lists of URLs as a frame: Parquet, CSV, TSV or plain text, whose columns the user names."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images.download.entries import ENTRY, ListColumns
from ml_images.errors import InputError
from ml_images.schemas import LABELS
from ml_images.storage import tables
from ml_images.storage.paths import find_files, for_spark

_COMPRESSED = (".gz", ".bz2", ".zst")
_EXPANSION = 4
_ENTRY = from_arrow_schema(ENTRY)


def read_entries(spark: SparkSession, labels: str, lists: Sequence[str], columns: ListColumns) -> tuple[DataFrame, int]:
    """(entries, bytes that they are read from): what is wanted, one row a key by the columns of download.entries.ENTRY.

    The keys of the labels table, each with its entry of the lists (null where it has none); without labels, all entries
    of the lists.
    """
    files = find_files(list(lists), "URL list") if lists else []
    num_bytes = sum(size * (_EXPANSION if location.endswith(_COMPRESSED) else 1) for location, size in files)
    entries = read_lists(spark, files, columns) if lists else None
    if not labels:
        assert entries is not None, "the job asks for labels or lists"
        return entries, num_bytes
    keys = spark.read.schema(from_arrow_schema(LABELS)).parquet(for_spark(labels)).select("key")  # one row a key
    if entries is None:
        nothing = (F.lit(None).cast(field.dataType).alias(field.name) for field in _ENTRY.fields if field.name != "key")
        return keys.select("key", *nothing), tables.total_bytes(labels)
    return keys.join(entries, on="key", how="left"), num_bytes + tables.total_bytes(labels)


def read_lists(spark: SparkSession, files: Sequence[tuple[str, int]], columns: ListColumns) -> DataFrame:
    """The entries of all lists, (location, bytes) each, by the columns of download.entries.ENTRY; one a key (of
    several, that with most in it).

    Raises InputError for an ending that tells no format, and a column that is not there.
    """
    frames = [
        _entries(_read(spark, _format(location), location), location, columns) for location, size in files if size
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
