"""One file of a list of URLs as a frame of entries: Parquet, CSV, TSV or plain text."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    DataType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructType,
)

from ml_images.download.entries import ListColumns
from ml_images.errors import InputError
from ml_images.spark import work
from ml_images.storage.paths import for_spark, open_location

COMPRESSED = (".gz", ".bz2")  # zstd needs Hadoop's native library, which no machine has by itself
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_LONGEST_HEADER = 1 << 17  # as long as a field may be for csv
_SHOWN = 80  # letters of a line that a message shows


def read_files(spark: SparkSession, locations: Sequence[str], columns: ListColumns) -> DataFrame:
    """All rows of the files by the columns of ENTRY, values as text. The files may differ in the types of a column.

    Of Parquet, columns that are not asked for may be of any type. In CSV and TSV a field in quotes may hold separators
    and doubled quotes (RFC 4180), but no line break: files are read a line at a time, by many tasks. In a TSV quotes
    are letters like others if so no field ends with its line, and each line has as many fields as the header.

    Raises InputError for an ending that tells no format that is read, a column that is missing, there twice or of a
    type that is neither text nor number, and quotes that are not closed in their line.
    """
    kinds = {location: _format(location) for location in locations}
    tables = {location: _SEPARATORS[kind] for location, kind in kinds.items() if kind in _SEPARATORS}
    headers = {location: _header(location, separator) for location, separator in tables.items()}
    for location, header in headers.items():
        _require(header, columns, location)
    unquoted = _unquoted(spark, tables, headers)
    frames = []
    for location, kind in kinds.items():
        if kind == "parquet":
            frame = _read_parquet(spark, location, columns)
        elif kind == "txt":
            _require(["url"], columns, location)
            frame = spark.read.text(for_spark(location)).select(F.trim("value").alias("url")).where("url != ''")
        else:
            quote = "" if location in unquoted else '"'
            frame = _read_table(spark, location, headers[location], tables[location], quote, columns)
        frames.append(_entries(frame, columns))
    return reduce(DataFrame.unionByName, frames)


def _format(location: str) -> str:
    name = location.lower()
    if name.endswith(".parquet"):
        return "parquet"
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    for kind in ("csv", "tsv", "txt"):
        if name.endswith(f".{kind}"):
            return kind
    accepted = "accepted are .parquet, .csv, .tsv and .txt, the last three also as .gz and .bz2"
    raise InputError(f"URL list '{location}': its ending tells no format that is read, {accepted}")


def _require(names: Sequence[str], columns: ListColumns, location: str) -> None:
    """Spark tells no url from URL, so that both together are refused for all formats."""
    times = Counter(name.lower() for name in names)
    for name in columns.named():
        if name not in names:
            raise InputError(f"URL list '{location}' has no column '{name}'; it has {', '.join(names) or 'none'}")
        if times[name.lower()] > 1:
            raise InputError(
                f"URL list '{location}' has column '{name}' more than once, in whatever case; it has {', '.join(names)}"
            )


def _read_parquet(spark: SparkSession, location: str, columns: ListColumns) -> DataFrame:
    """The columns that are asked for alone, as pandas writes times in ns, which Spark does not read."""
    filesystem, path = open_location(location)
    try:
        with filesystem.open_input_file(path) as file, pq.ParquetFile(file) as opened:
            schema = opened.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"URL list '{location}' cannot be read: {' '.join(str(error).split())}") from error
    _require(schema.names, columns, location)
    wanted, absent = StructType(), []
    for name in dict.fromkeys(columns.named()):
        found = schema.field(name).type
        kind = _spark_type(found)
        if kind is None or (isinstance(kind, BinaryType) and name != columns.md5):
            accepted = "text, numbers or 16 bytes are" if name == columns.md5 else "text and numbers are"
            raise InputError(f"URL list '{location}': column '{name}' is {found}, {accepted} accepted")
        if pa.types.is_null(found):  # a column of nothing at all, which is one of numbers in the file
            absent.append(F.lit(None).cast("string").alias(name))
        else:
            wanted.add(name, kind)
    return spark.read.schema(wanted).parquet(for_spark(location)).select("*", *absent)


def _spark_type(kind: Any) -> DataType | None:
    """As what Spark reads a column of an Arrow type, None where it is neither text, number nor bytes."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return StringType()
    if pa.types.is_uint64(kind):
        return DecimalType(20, 0)
    if pa.types.is_integer(kind):  # Spark before 4.0 reads nothing narrower as a long
        return LongType() if kind in (pa.int64(), pa.uint32()) else IntegerType()
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return FloatType() if pa.types.is_float32(kind) else DoubleType()
    if pa.types.is_decimal128(kind):
        return DecimalType(kind.precision, kind.scale)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return BinaryType()
    return None


def _header(location: str, separator: str) -> list[str]:
    """The names in the first line that is not blank."""
    filesystem, path = open_location(location)
    try:
        with (
            filesystem.open_input_stream(path) as stream,  # decompressed by its ending
            io.TextIOWrapper(io.BufferedReader(stream), "utf-8-sig", errors="replace") as lines,
        ):
            line = "\n"
            while line and not line.strip():
                line = lines.readline(_LONGEST_HEADER)
    except OSError as error:
        raise InputError(f"URL list '{location}' cannot be read: {' '.join(str(error).split())}") from error
    return next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])


def _read_table(
    spark: SparkSession, location: str, header: Sequence[str], separator: str, quote: str, columns: ListColumns
) -> DataFrame:
    by_place = StructType()
    for place in range(len(header)):
        by_place.add(str(place), StringType())
    # Quotes inside a quoted field are doubled (RFC 4180), not escaped by a backslash as Spark expects.
    frame = spark.read.csv(
        for_spark(location), by_place, header=True, quote=quote, escape='"', sep=separator, mode="PERMISSIVE"
    )
    return frame.select(*(F.col(str(header.index(name))).alias(name) for name in dict.fromkeys(columns.named())))


def _unquoted(spark: SparkSession, tables: dict[str, str], headers: dict[str, list[str]]) -> set[str]:
    """Which of `tables`, a separator by location, are TSV files in which quotes are letters like others.

    csv and pandas put all fields with a quote in quotes and double it; other programs that write TSV know no quotes.
    """
    unquoted = set()
    for location, (num, line) in open_lines(spark, tables).items():
        if tables[location] != "\t" or not _is_even(spark, location, len(headers[location])):
            raise InputError(
                f"URL list '{location}': quotes are not closed in {num} of its lines, '{line[:_SHOWN]}' for one; "
                "fields with line breaks are not read, write the list without them or as Parquet"
            )
        unquoted.add(location)
    return unquoted


def open_lines(spark: SparkSession, tables: dict[str, str]) -> dict[str, tuple[int, str]]:
    """How many lines of the files in `tables` end inside of a field in quotes, and one of them, where there are any."""

    def of_file(location: str, separator: str) -> DataFrame:
        begin = rf'(?<![^{separator}])"'  # possessive, as Java's regular expressions need stack for each step back
        rest = F.regexp_replace("value", rf'{begin}[^"]*+(?:""[^"]*+)*+"', "")
        lines = spark.read.text(for_spark(location)).where(F.col("value").contains('"') & rest.rlike(begin))
        return lines.select("value", F.lit(location).alias("location"))

    if not tables:
        return {}
    lines = reduce(DataFrame.unionByName, [of_file(*table) for table in tables.items()])
    counted = lines.groupBy("location").agg(F.count("*").alias("num"), F.min("value").alias("line"))
    told = work.collect(counted, "look for open quotes")
    return {row["location"]: (row["num"], row["line"]) for row in told}


def _is_even(spark: SparkSession, location: str, num_fields: int) -> bool:
    """Has each line of a TSV, but for blank ones, this many fields where quotes mean nothing?"""
    lines = spark.read.text(for_spark(location)).where(F.col("value").rlike("[^\\x00- ]"))
    uneven = lines.where(F.size(F.split("value", "\t", -1)) != num_fields)
    return not work.collect(uneven.limit(1), "look for fields")


def _entries(frame: DataFrame, columns: ListColumns) -> DataFrame:
    def text(name: str) -> Column:
        """pandas makes whole numbers floats as soon as one is missing; from 10^7 on Spark writes 1.0E7."""
        if not name:
            return F.lit(None).cast("string")
        value = F.col("`{}`".format(name.replace("`", "``")))
        kind = frame.schema[name].dataType
        if isinstance(kind, BinaryType):
            return F.hex(value)
        if isinstance(kind, DecimalType):
            return F.regexp_replace(value.cast("string"), r"\.0+\z", "")
        if not isinstance(kind, (DoubleType, FloatType)):
            return value.cast("string")
        whole = F.when(F.abs(value) < 2**53, value).cast("bigint")  # in ANSI mode infinity has no such cast
        written = F.when(value == whole, whole.cast("string")).otherwise(value.cast("string"))
        return F.when(~F.isnan(value), written)

    urls = [F.lit(None).cast("string") if "{key}" in name else text(name) for name in columns.urls]
    key = text(columns.key) if columns.key else urls[0]
    return frame.select(
        F.coalesce(key, F.lit("")).alias("key"),
        F.array(*urls).alias("urls"),
        *(text(name).alias(what) for what, name in columns.facts().items()),
    )
