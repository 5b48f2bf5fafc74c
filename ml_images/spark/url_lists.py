"""Lists of URLs as a frame: Parquet, CSV, TSV or plain text, whose columns the user names."""

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pyarrow import fs
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images.download.entries import ENTRY, REPLACED, VALUES, ListColumns
from ml_images.download.keys import ENDED_AS, NOT_AS_EXPECTED
from ml_images.schemas import LABELS
from ml_images.spark.url_files import COMPRESSED, read_files
from ml_images.spark.url_spelling import ascii_lower, is_usual, let, spelled_alike, spelled_closely, stripped
from ml_images.storage import tables
from ml_images.storage.paths import find_files, for_spark, is_pattern, open_location

_EXPANSION = 4
_ENTRY = from_arrow_schema(ENTRY)


@dataclass(frozen=True)
class Entries:
    """What is wanted: `frame`, one row a key by the columns of download.entries.ENTRY, read from `num_bytes`.

    `accounted` (key, list_rows) says of the same keys how many rows of the lists each has, null where no list has any,
    and how many have no key: those stand under an empty one.
    """

    frame: DataFrame
    accounted: DataFrame
    num_bytes: int


def read_entries(spark: SparkSession, labels: str, lists: Sequence[str], columns: ListColumns) -> Entries:
    """The keys of the labels table, each with its entry of the lists (null where it has none); without labels, all
    entries of the lists.

    Raises InputError for files that url_files.read_files does not take.
    """
    files = find_files([*map(_of_folder, lists)], "URL list") if lists else []
    num_bytes = sum(size * (_EXPANSION if location.endswith(COMPRESSED) else 1) for location, size in files)
    found = _read_lists(spark, files, columns) if lists else None
    if labels:
        keys = spark.read.schema(from_arrow_schema(LABELS)).parquet(for_spark(labels)).select("key")  # one row a key
        num_bytes += tables.total_bytes(labels)
        if found is None:
            nothing = (F.lit(None).cast(field.dataType).alias(field.name) for field in _ENTRY.fields[1:])
            found = keys.select("key", *nothing, F.lit(None).cast("long").alias("list_rows"))
        else:
            no_key = spark.range(0, 1, 1, 1).select(F.lit("").alias("key"))
            found = keys.unionByName(no_key).join(found, on="key", how="left")
    assert found is not None, "the job asks for labels or lists"
    return Entries(found.where("key != ''").select(*ENTRY.names), found.select("key", "list_rows"), num_bytes)


def _of_folder(pattern: str) -> str:
    """What Spark and others write as one Parquet file is a folder of them."""
    place = pattern.rstrip("/")
    if not place.lower().endswith(".parquet") or is_pattern(place):
        return pattern
    filesystem, path = open_location(place)
    is_folder = filesystem.get_file_info(path).type == fs.FileType.Directory
    return f"{glob.escape(place)}/*.parquet" if is_folder else pattern


def is_usable(columns: ListColumns) -> Column:
    """Does download.entries.to_wanted take the entry, or raise BadEntry?"""

    def is_value(name: str) -> Column:
        return F.coalesce(F.col(name), F.lit("")).rlike(rf"\A\s*(?:{VALUES[name]})?\s*\z")

    place = columns.checked_url()
    is_template = F.lit("{key}" in columns.urls[place])
    has_checked = is_template | (F.trim(F.coalesce(F.get("urls", place), F.lit(""))) != "")
    is_whole = ~F.col("key").contains(REPLACED)
    return is_whole & (
        F.col("urls").isNull() | (is_value("rotation") & (~has_checked | (is_value("size") & is_value("md5"))))
    )


def is_expected_otherwise(detail: Column) -> Column:
    """Does the `detail` of a final row say that a picture was not as expected, and expects the entry something else by
    now? Pictures stay: they say nothing of the kind."""
    size = F.regexp_extract(F.coalesce("size", F.lit("")), r"\A\s*0*([0-9]+?)(?:\.0)?\s*\z", 1)
    given = F.regexp_extract(F.coalesce("md5", F.lit("")), rf"\A\s*({VALUES['md5']})\s*\z", 1)
    is_base64 = F.length(given) == 24  # not 32; what is neither is "" here, as unbase64 would raise
    md5 = ascii_lower(F.when(is_base64, F.hex(F.unbase64(given))).otherwise(given))
    told = [F.when(size != "", F.concat(size, F.lit(" bytes"))), F.when(md5 != "", F.concat(F.lit("MD5 "), md5))]
    now = F.concat(F.lit(NOT_AS_EXPECTED), F.concat_ws(", ", *told))
    return F.coalesce(detail.contains(NOT_AS_EXPECTED) & ~detail.endswith(now), F.lit(False))


def has_moved(columns: ListColumns, base_url: str, outcome: Column, url: Column, detail: Column) -> Column:
    """Is `url`, of which a final row with this `outcome` and `detail` tells, no longer what the entry asks for?

    A failure tells of all URLs that were tried for its key, so it counts, too, if any other is among them (by now, or
    because a picture of an earlier one was found to be a placeholder), or if one stands there corrected, and be it in
    case or punctuation. A picture stays while its URL is one of the key's, also where it is spelled somewhat otherwise,
    and wherever URLs are made by a template or base_url: mirrors that move send the same.
    """
    quoted = F.replace(F.url_encode(F.col("key")), F.lit("%2F"), F.lit("/"))
    own = F.when(F.col("key").contains("://"), F.array("key"))
    below_base = F.concat(F.lit(base_url.rstrip("/") + "/"), F.regexp_replace(quoted, "^/+", ""))  # as url.url_of
    own = own.otherwise(F.array(below_base) if base_url else F.array().cast("array<string>"))
    listed = F.array(
        *(
            F.replace(F.lit(name), F.lit("{key}"), quoted) if "{key}" in name else stripped(F.get("urls", place))
            for place, name in enumerate(columns.urls)
        )
    )
    is_own = F.col("urls").isNull()
    is_made = (is_own & ~F.col("key").contains("://")) | F.lit(any("{key}" in name for name in columns.urls))

    def moved(urls: Column) -> Column:  # spellings are compared only where it takes more than a look
        is_settled = (F.get(urls, F.size(urls) - 1) == url) & ((outcome == "ok") | (F.size(urls) == 1))
        are_usual = is_usual(url) & F.forall(urls, is_usual)

        def is_other_as(spelling: Callable[[Column], Column]) -> Column:
            def is_other(places: Column) -> Column:
                is_gone = ~F.array_contains(places, spelling(url))
                tried = F.transform(F.concat(F.array(url), _told_urls(detail, urls)), spelling)
                has_more = F.size(F.array_except(places, tried)) > 0
                return F.when(outcome == "ok", ~is_made & is_gone).otherwise(is_gone | has_more)

            return let(F.transform(urls, spelling), is_other)

        is_corrected = (outcome != "ok") & ~is_made & is_other_as(spelled_closely)
        is_another = F.when(are_usual, is_other_as(F.trim)).otherwise(is_other_as(spelled_alike) | is_corrected)
        return ~is_settled & (F.size(urls) > 0) & is_another

    urls = F.when(is_own, own).otherwise(F.filter(listed, lambda one: one != ""))
    return url.isNotNull() & let(urls, moved)


def _told_urls(detail: Column, urls: Column) -> Column:
    """The URLs of which a row's `detail` tells (download.keys): by themselves, but for those of `urls` that hold what
    parts one from the next."""
    text = F.coalesce(detail, F.lit(""))
    ends = (ENDED_AS, f" {NOT_AS_EXPECTED}")
    told = F.transform(F.split(text, "; "), lambda one: F.regexp_extract(one, rf"(?s)\A(.+?)(?:{'|'.join(ends)})", 1))

    def is_told(url: Column) -> Column:
        return reduce(or_, (text.contains(F.concat(url, F.lit(end))) for end in ends))

    return F.concat(told, F.filter(urls, lambda url: url.contains("; ") & is_told(url)))


def _read_lists(spark: SparkSession, files: Sequence[tuple[str, int]], columns: ListColumns) -> DataFrame:
    """The entries of all lists, (location, bytes) each, by the columns of ENTRY and list_rows; one a key (of several
    rows, that with most in it)."""
    together = read_files(spark, [location for location, size in files if size], columns)
    rest = ENTRY.names[1:]
    missing = sum((F.col(name).isNull().cast("int") for name in rest if name != "urls"), F.lit(0))
    blank = F.size(F.filter("urls", lambda url: url.isNull() | (F.trim(url) == "")))
    least = F.min(F.struct((blank + missing).alias("missing"), *rest)).alias("entry")
    by_key = together.groupBy("key").agg(least, F.count("*").alias("list_rows"))
    return by_key.select("key", *(f"entry.{name}" for name in rest), "list_rows")
