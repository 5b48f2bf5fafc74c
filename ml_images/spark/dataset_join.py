"""Labels x images, one row a key: what becomes of each key, what it shares its split with, the split it is given.

A group of near duplicates is known by its smallest key (its item): the split by hash is that of this key, given splits
must agree within a group, and folds deal whole groups. So a group never straddles splits. Where rows are appended to a
data set, what is new of a group goes where the data set has the rest, whatever the rule says.
"""

from dataclasses import dataclass

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ml_images.errors import InputError
from ml_images.spark import work
from ml_images.storage.paths import for_spark

# What becomes of a row of labels that has an ok image.
TAKEN, THERE, UNLISTED, TORN = (
    "in the data set",
    "in the data set before",
    "in no list of splits",
    "near duplicates of images in two splits",
)


@dataclass(frozen=True)
class Inputs:
    """Where the tables are. groups and existing (a data set that is appended to) may be empty."""

    labels: str
    images: str
    groups: str = ""
    existing: str = ""


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
    there = spark.read.parquet(for_spark(inputs.existing)).select("key", "split")
    places = (
        _with_items(there, members).groupBy("item").agg(F.min("split").alias("first"), F.max("split").alias("last"))
    )
    known = there.select("key", F.lit(True).alias("there"))
    joined = joined.join(known, on="key", how="left").join(places, on="item", how="left")
    torn = F.col("first") != F.col("last")
    fate = F.when(F.col("there"), THERE).when(torn, TORN).otherwise(TAKEN)
    return joined.withColumns({"fate": fate, "split": F.col("first")}).drop("there", "first", "last")


def read_members(spark: SparkSession, groups: str) -> DataFrame:
    """(key, item) of a table of groups, Parquet with the columns key and group, for each key that is in a group."""
    try:
        table = spark.read.parquet(for_spark(groups))
    except AnalysisException as error:
        raise InputError(f"groups table '{groups}' cannot be read: Parquet with the columns key, group") from error
    if not {"key", "group"} <= set(table.columns):
        raise InputError(f"groups table '{groups}' has the columns {', '.join(table.columns)}; key, group are needed")
    members = table.select("key", "group").where("key is not null and `group` is not null").distinct()
    twice = members.groupBy("key").count().where("count > 1").agg(F.count("key"), F.min("key")).first()
    assert twice is not None, "an aggregate has one row"
    if twice[0]:
        raise InputError(f"groups table '{groups}' has {twice[0]} keys in two groups, such as '{twice[1]}'")
    items = members.groupBy("group").agg(F.min("key").alias("item"))
    return members.join(items, on="group", how="inner").select("key", "item")


def give_splits(rows: DataFrame, given: DataFrame, *, unlisted: str) -> DataFrame:
    """`rows` with the splits that `given` (key, split) has for them, where no earlier split is known.

    A key that is not in it goes with its group and otherwise to the split `unlisted`; where that is empty, it is left
    out. Raises InputError where the members of a group are given two splits.
    """
    given = given.withColumnRenamed("split", "given")
    found = rows.join(given, on="key", how="inner").groupBy("item")
    by_item = found.agg(F.min("given").alias("of_group"), F.max("given").alias("other"))
    differ = by_item.where("of_group != other")
    told = differ.agg(F.count("item"), F.min("item"), F.min_by("of_group", "item"), F.min_by("other", "item")).first()
    assert told is not None, "an aggregate has one row"
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
