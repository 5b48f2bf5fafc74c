"""Labels x images, one row a key: what becomes of each key, what it shares its split with, the split it is given.

A group of near duplicates is known by its smallest key (its item): the split by hash is that of this key, given splits
must agree within a group, and folds deal whole groups. So a group never straddles splits. Where rows are appended to a
data set, what is new of a group goes where the data set has the rest, whatever the rule says.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from ml_images.errors import InputError
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.paths import for_spark, join, open_location

_FOOTERS_AT_ONCE = 16  # read by threads, which wait for a store

# What becomes of a row of labels that has an ok image.
TAKEN, THERE, UNLISTED, TORN = (
    "in the data set",
    "in the data set before",
    "in no list of splits",
    "near duplicates of images in two splits",
)


@dataclass(frozen=True)
class Inputs:
    """Where the tables are. groups and existing (the files of a data set that is appended to) may be empty."""

    labels: str
    images: str
    groups: str = ""
    existing: tuple[str, ...] = ()


def count_keys(spark: SparkSession, labels: str) -> int:
    """The rows of a labels table. Raises InputError where a key has two, as tables of earlier versions may."""
    counts = spark.read.parquet(for_spark(labels)).agg(F.count("key"), F.count_distinct("key")).first()
    assert counts is not None, "an aggregate has one row"
    if counts[0] != counts[1]:
        raise InputError(f"labels table '{labels}' has {counts[0]} rows of {counts[1]} keys: annotate again")
    return int(counts[0])


def join_rows(spark: SparkSession, inputs: Inputs) -> DataFrame:
    """key, classes, confidences, part (of the images table), item, fate, split (null: not known yet) of each key that
    has labels and an ok image."""
    rows = spark.read.parquet(for_spark(inputs.labels)).select("key", "classes", "confidences")
    ok = spark.read.parquet(for_spark(inputs.images)).where(F.col("outcome") == "ok")
    part = F.element_at(F.split(F.col("_metadata.file_path"), "/"), -1)
    joined = rows.join(ok.select("key", part.alias("part")), on="key", how="inner")
    members = read_members(spark, inputs.groups) if inputs.groups else None
    joined = _with_items(joined, members)
    if not inputs.existing:
        return joined.withColumns({"fate": F.lit(TAKEN), "split": F.lit(None).cast("string")})
    there = read_existing(spark, inputs.existing)
    places = (
        _with_items(there, members).groupBy("item").agg(F.min("split").alias("first"), F.max("split").alias("last"))
    )
    known = there.select("key", F.lit(True).alias("there"))
    joined = joined.join(known, on="key", how="left").join(places, on="item", how="left")
    torn = F.col("first") != F.col("last")
    fate = F.when(F.col("there"), THERE).when(torn, TORN).otherwise(TAKEN)
    return joined.withColumns({"fate": fate, "split": F.col("first")}).drop("there", "first", "last")


def read_existing(spark: SparkSession, files: Sequence[str]) -> DataFrame:
    """(key, split) of the rows of a data set, by its files: others may lie beside those that its manifest lists."""
    split = F.regexp_extract(F.col("_metadata.file_path"), "/split=([^/]*)/[^/]*$", 1)
    return spark.read.parquet(*map(for_spark, files)).select("key", split.alias("split"))


def read_members(spark: SparkSession, groups: str) -> DataFrame:
    """(key, item) of a table of groups, a file or a folder of Parquet with the columns key (text) and group, for each
    key that is in a group. Raises InputError for another table, and where a key is in two groups."""
    check_groups(groups)
    table = spark.read.parquet(for_spark(groups))
    members = table.select("key", "group").where("key is not null and `group` is not null").distinct()
    if dict(members.dtypes)["group"] in ("float", "double"):  # as pandas makes whole numbers of which some are missing
        members = members.where("not isnan(`group`)")
    twice = members.groupBy("key").count().where("count > 1").agg(F.count("key"), F.min("key")).first()
    assert twice is not None, "an aggregate has one row"
    if twice[0]:
        raise InputError(f"groups table '{groups}' has {twice[0]} keys in two groups, such as '{twice[1]}'")
    items = members.groupBy("group").agg(F.min("key").alias("item"))
    return members.join(items, on="group", how="inner").select("key", "item")


def check_groups(groups: str) -> None:
    """InputError for what is no Parquet with the columns key and group: by the footers of all files, as Spark looks at
    one of them until its tasks run."""
    filesystem, path = open_location(groups)
    kind = filesystem.get_file_info(path).type
    files = [path] if kind == fs.FileType.File else []
    if kind == fs.FileType.Directory:
        files = [join(path, name) for name in tables.visible_files(groups)]
    if not files:
        raise InputError(f"groups table '{groups}' cannot be read: it is no Parquet file, and no folder with any in it")
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        first = None
        for file, schema in zip(files, pool.map(partial(_read_schema, filesystem), files), strict=True):
            if not {"key", "group"} <= set(schema.names):
                raise InputError(
                    f"groups table '{file}' has the columns {', '.join(schema.names)}; key, group are needed"
                )
            key, group = (_plain(schema.field(name).type) for name in ("key", "group"))
            if not _is_text(key) or not (_is_text(group) or _is_number(group)):
                raise InputError(
                    f"groups table '{file}' has the column key as {key} and group as {group}: a key is text, as in the "
                    "table labels, and a group is text or a number"
                )
            first = first or (file, group)
            if group != first[1] and not (_is_text(group) and _is_text(first[1])):  # Spark reads all files as one type
                raise InputError(
                    f"groups table '{file}' has the column group as {group}, '{first[0]}' as {first[1]}: write all "
                    "files as one type"
                )


def _read_schema(filesystem: fs.FileSystem, file: str) -> pa.Schema:
    try:
        return pq.read_schema(file, filesystem=filesystem)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"groups table '{file}' cannot be read as Parquet: {' '.join(str(error).split())}") from error


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _plain(kind: pa.DataType) -> pa.DataType:
    """What a column of this type holds: pandas writes categories as numbers and a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def give_splits(rows: DataFrame, given: DataFrame, *, unlisted: str) -> DataFrame:
    """`rows` with the splits that `given` (key, split) has for them, where no earlier split is known.

    A key that is not in it goes with its group and otherwise to the split `unlisted`; where that is empty, it is left
    out. Raises InputError where the members of a group are given two splits.
    """
    given = given.withColumnRenamed("split", "given")
    found = rows.join(given, on="key", how="inner").groupBy("item")
    by_item = found.agg(F.min("given").alias("of_group"), F.max("given").alias("other"))
    differ = by_item.where("of_group != other")
    told = _first_of(differ, "item", "of_group", "other")
    if told[0]:
        raise InputError(
            f"splits.lists tear {told[0]} groups of near duplicates apart, such as that of '{told[1]}', which is in "
            f"{told[2]} and {told[3]}: give all keys of a group the same split"
        )
    if not unlisted:
        listed = rows.join(given, on="key", how="left")
        fate = F.when(_is_taken() & F.col("given").isNull(), UNLISTED).otherwise(F.col("fate"))
        return listed.withColumns({"fate": fate, "split": F.coalesce("split", "given")}).drop("given")
    listed = rows.join(by_item.drop("other"), on="item", how="left")
    return listed.withColumn("split", F.coalesce("split", "of_group", F.lit(unlisted))).drop("of_group")


def require_as_listed(rows: DataFrame, there: DataFrame, given: DataFrame) -> None:
    """InputError where `given` (key, split) says another split of a key than the data set has for it or, of `rows` that
    are to be appended, for its near duplicates. there: read_existing."""
    listed = given.withColumnRenamed("split", "given")
    added = rows.where(_is_taken() & F.col("split").isNotNull()).select("key", "split")
    for known, whose in ((there, ""), (added, "near duplicates of ")):
        moved = known.join(listed, on="key", how="inner").where("split != given")
        told = _first_of(moved, "key", "split", "given")
        if told[0]:
            raise InputError(
                f"splits.lists move {told[0]} keys: the data set has {whose}'{told[1]}' in {told[2]}, which is listed "
                f"for {told[3]}: list them where they are, or write the data set anew, without append=true"
            )


def _first_of(rows: DataFrame, name: str, *others: str) -> Row:
    """How many rows there are, the least `name` of all, and what the `others` are in its row; of no rows nulls."""
    told = rows.agg(F.count(name), F.min(name), *(F.min_by(other, name) for other in others)).first()
    assert told is not None, "an aggregate has one row"
    return told


def taken(rows: DataFrame) -> DataFrame:
    """Those rows that are to be written."""
    return rows.where(_is_taken())


def count_fates(rows: DataFrame, title: str) -> dict[str, int]:
    """How many keys have each fate; those that none has are not in it."""
    counts = {row["fate"]: row["count"] for row in work.collect(rows.groupBy("fate").count(), title)}
    return {fate: counts[fate] for fate in (TAKEN, THERE, UNLISTED, TORN) if fate in counts}


def _is_taken() -> Column:
    return F.col("fate") == TAKEN


def _with_items(rows: DataFrame, members: DataFrame | None) -> DataFrame:
    if members is None:
        return rows.withColumn("item", F.col("key"))
    joined = rows.join(members, on="key", how="left")
    return joined.withColumn("item", F.coalesce("item", "key"))
