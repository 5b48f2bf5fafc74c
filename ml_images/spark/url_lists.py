"""Lists of URLs as a frame: Parquet, CSV, TSV or plain text, whose columns the user names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images.download.entries import ENTRY, VALUES, ListColumns
from ml_images.download.keys import NOT_AS_EXPECTED
from ml_images.schemas import LABELS
from ml_images.spark.url_files import COMPRESSED, read_files
from ml_images.spark.url_spelling import ascii_lower, is_usual, let, spelled_alike, spelled_closely, stripped
from ml_images.storage import tables
from ml_images.storage.paths import find_files, for_spark

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
    files = find_files(list(lists), "URL list") if lists else []
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


def is_usable(columns: ListColumns) -> Column:
    """Does download.entries.to_wanted take the entry, or raise BadEntry?"""

    def is_value(name: str) -> Column:
        return F.coalesce(F.col(name), F.lit("")).rlike(rf"\A\s*(?:{VALUES[name]})?\s*\z")

    place = columns.checked_url()
    is_template = F.lit("{key}" in columns.urls[place])
    has_checked = is_template | (F.trim(F.coalesce(F.get("urls", place), F.lit(""))) != "")
    return F.col("urls").isNull() | (is_value("rotation") & (~has_checked | (is_value("size") & is_value("md5"))))


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


def has_moved(columns: ListColumns, base_url: str, outcome: Column, url: Column) -> Column:
    """Is `url`, of which a final row with this `outcome` tells, no longer what the entry asks for?

    A failure tells of the last URL of its key, so it counts, too, if another one follows (by now, or because a picture
    of an earlier one was found to be a placeholder), or if its URL stands there corrected, and be it in case or
    punctuation. A picture stays while its URL is one of the key's, also where it is spelled somewhat otherwise, and
    wherever URLs are made by a template or base_url: mirrors that move send the same.
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

    def has_new_end(places: Column, place: Column) -> Column:
        """Comes a place after the last `place` that did not come before?"""
        num, from_end = F.size(places), F.array_position(F.reverse(places), place)
        tried, later = F.slice(places, 1, num - from_end + 1), F.slice(places, num - from_end + 2, num)
        return (from_end == 0) | (F.size(F.array_except(later, tried)) > 0)

    def is_other(places: Column, place: Column) -> Column:
        gone = ~is_made & ~F.array_contains(places, place)
        of_failure = let(place, lambda place: has_new_end(places, place))
        return F.when(outcome == "ok", gone).otherwise(of_failure)

    def moved(urls: Column) -> Column:  # spellings are compared only where it takes more than a look
        is_last = F.get(urls, F.size(urls) - 1) == url
        are_usual = is_usual(url) & F.forall(urls, is_usual)

        def is_other_as(spelling: Callable[[Column], Column]) -> Column:
            return let(F.transform(urls, spelling), lambda places: is_other(places, spelling(url)))

        exactly, alike = is_other_as(F.trim), is_other_as(spelled_alike)
        close = F.transform(urls, spelled_closely)
        is_corrected = (outcome != "ok") & ~is_made & ~F.array_contains(close, spelled_closely(url))
        return ~is_last & (F.size(urls) > 0) & F.when(are_usual, exactly).otherwise(alike | is_corrected)

    urls = F.when(is_own, own).otherwise(F.filter(listed, lambda one: one != ""))
    return url.isNotNull() & let(urls, moved)


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
