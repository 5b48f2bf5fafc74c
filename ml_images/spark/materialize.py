"""labels x images -> the files of a data set, staged: which rows, in which split, in what order, how often shown.

Rows lie in the order of a hash of (seed, key), whatever the image parts are: so every row group is a fair sample of its
split, also where the parts are not (those of archives hold a class each). What becomes of each key is in
spark/dataset_join.py, how pictures are brought into order without passing through Spark in spark/picture_runs.py, how
row groups are laid out in spark/dataset_layout.py, and how the files become a data set in spark/dataset_publish.py.

Weighed were, by CPU ms a picture of 43 KB beyond what 100 of them take (two cores, the better of two runs):
  0.48  runs: what is done here, with hashes, digests, counts and layout; a worker holds 450 MiB, the JVM 640
  0.65  Spark shuffles the pictures: the same writes and reads, through the JVM, which held 1,390 MiB
  2.7   pictures are looked up in image parts, which are one row group each: every row group of the data set reads each
        part that has one of its pictures. That is with 8 parts of 1,000 pictures, and grows with the number of parts
Numbering rows by part first, as earlier versions did, is only fair where each part is a random sample of the keys.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from ml_images.errors import InputError
from ml_images.labels.replication import Replicated, ReplicationConfig, class_factors
from ml_images.labels.split_lists import read_lists
from ml_images.labels.splits import SplitConfig
from ml_images.schemas import SPLITS
from ml_images.spark.dataset_counts import count_labels, weigh_labels
from ml_images.spark.dataset_files import FilePlan, plan_files, write_files
from ml_images.spark.dataset_folds import make_folds, splits_of_folds
from ml_images.spark.dataset_join import (
    TAKEN,
    Inputs,
    count_fates,
    count_keys,
    give_splits,
    join_rows,
    read_existing,
    require_as_listed,
    taken,
)
from ml_images.spark.dataset_layout import LayoutConfig
from ml_images.spark.picture_runs import ROWS_FOLDER, write_runs
from ml_images.storage import tables
from ml_images.storage.manifest import FilePromise
from ml_images.storage.paths import for_spark, join

Int64 = npt.NDArray[np.int64]

# Below the staging folder; readers of tables pass over it, and publishing removes it.
_SCRATCH = "_scratch"


@dataclass(frozen=True, eq=False)
class Options:
    """How a data set is made of its inputs."""

    splits: SplitConfig
    layout: LayoutConfig
    replication: ReplicationConfig


@dataclass(frozen=True, eq=False)
class Written:
    """What was staged, and what the whole data set will hold once it is published.

    counts: what became of the rows of both tables, and keys of the lists that are in neither. plan: of the new files.
    files: the new ones, by name. labels: images of each class, by split. folds and fold_labels: where there are folds.
    """

    counts: dict[str, int]
    plan: FilePlan
    files: dict[str, FilePromise]
    labels: dict[str, Int64]
    replicated: Replicated | None = None
    folds: pa.Table | None = None
    fold_labels: dict[str, Int64] | None = None


@dataclass(frozen=True, eq=False)
class _Assigned:
    """rows: of dataset_join, with the splits that are given. counts: of what was given. The folds, if there are any."""

    rows: DataFrame
    counts: dict[str, int]
    folds: pa.Table | None = None
    fold_labels: dict[str, Int64] | None = None


def write_dataset(
    spark: SparkSession,
    inputs: Inputs,
    location: str,
    num_classes: int,
    options: Options,
    existing: dict[str, FilePromise],
) -> Written:
    """Join the tables and stage the files of the data set under `location`, for dataset_publish to make them one.

    existing: the files of the data set that is appended to; with them only keys that it lacks are written.
    """
    tables.clear_staging(location)
    scratch = join(location, tables.STAGING, _SCRATCH)
    num_keys = count_keys(spark, inputs.labels)
    joined = join_rows(spark, inputs).persist()
    try:
        assigned = _assign(joined, inputs, scratch, num_classes, options.splits)
        fates = count_fates(assigned.rows, "join labels and images")
        ok = spark.read.parquet(for_spark(inputs.images)).where("outcome = 'ok'").count()
        counts = _counts(num_keys, ok, fates) | assigned.counts
        if not fates.get(TAKEN) and not existing:
            raise InputError(
                f"no key of '{inputs.labels}' has an ok image in '{inputs.images}'"
                f"{' and a split in splits.lists' if options.splits.lists else ''}: there is nothing to train on"
            )
        parts = [(join(location, name), _split_of(name)) for name in existing]
        plan = FilePlan({}, {}, {})
        if fates.get(TAKEN):
            write_runs(taken(assigned.rows), inputs.images, scratch, num_classes, options.splits, options.layout.seed)
            folder = join(scratch, ROWS_FOLDER)
            parts += [(join(folder, name), "") for name in tables.parts(folder)]
            plan = plan_files(scratch, options.layout, _next_file(existing), _row_groups(existing))
    finally:
        joined.unpersist()
    images = count_labels(spark, parts, num_classes)
    rows = _rows(plan, existing)
    if not rows["train"]:
        raise InputError(
            f"no row fell to split train ({ {split: count for split, count in rows.items() if count} }): lower "
            "splits.val and splits.test, name keys of train in splits.lists, or give more images"
        )
    in_train = images[SPLITS.index("train")]
    factors = class_factors(in_train, rows["train"], options.replication)
    replicated = None
    if options.replication.kind != "none":
        replicated = Replicated(rows["train"], in_train, factors, *weigh_labels(spark, parts, factors))
    files = write_files(spark, scratch, location, plan, factors) if plan.files else {}
    tables.require_staged(location, len(files))
    labels = {split: images[number] for number, split in enumerate(SPLITS) if rows[split]}
    return Written(counts, plan, files, labels, replicated, assigned.folds, assigned.fold_labels)


def _assign(joined: DataFrame, inputs: Inputs, scratch: str, num_classes: int, cfg: SplitConfig) -> _Assigned:
    """The splits that lists or folds give; by hash they are found later, by the workers."""
    spark = joined.sparkSession
    given = join(scratch, "given")
    if cfg.lists:
        lists = read_lists(cfg.lists)
        tables.write_part(join(given, "part-000000.parquet"), lists)
        frame = spark.read.parquet(for_spark(given))
        if inputs.existing:
            require_as_listed(joined, read_existing(spark, inputs.existing), frame)
        names_train = "train" in lists["split"].unique().to_pylist()
        rows = give_splits(joined, frame, unlisted="" if names_train else "train")
        found = joined.join(frame, on="key", how="left_semi").count()
        return _Assigned(rows, {"listed keys that are no labelled ok image": len(lists) - found})
    if cfg.folds and taken(joined).limit(1).count():
        folds, labels = make_folds(taken(joined), scratch, num_classes, cfg.folds, cfg.seed)
        tables.write_part(join(given, "part-000000.parquet"), folds)
        splits = splits_of_folds(spark.read.parquet(for_spark(given)), cfg.fold)
        return _Assigned(give_splits(joined, splits, unlisted="train"), {}, folds, labels)
    return _Assigned(joined, {})


def _counts(num_keys: int, ok: int, fates: dict[str, int]) -> dict[str, int]:
    """Rows of the inputs that are in the data set and rows that are not, with the reason."""
    joined = sum(fates.values())
    assert joined <= num_keys, "a key is in the images table twice"
    return {
        "label rows": num_keys,
        "keys without an ok image": num_keys - joined,
        "ok images without labels": ok - joined,
        TAKEN: 0,
        **fates,
    }


def _rows(plan: FilePlan, existing: dict[str, FilePromise]) -> dict[str, int]:
    """Rows of each split, those that are there and those that come."""
    rows = {split: plan.layouts[split].rows if split in plan.layouts else 0 for split in SPLITS}
    for name, promise in existing.items():
        rows[_split_of(name)] += promise.rows
    return rows


def _row_groups(existing: dict[str, FilePromise]) -> dict[str, int]:
    """Those that each split has."""
    return {
        split: sum(promise.row_groups for name, promise in existing.items() if _split_of(name) == split)
        for split in SPLITS
    }


def _split_of(name: str) -> str:
    """The split of a file of a data set."""
    return name.partition("/")[0].removeprefix("split=")


def _next_file(existing: dict[str, FilePromise]) -> int:
    """The number after that of the last file."""
    numbers = (int(name.rpartition("part-")[2].removesuffix(".parquet")) for name in existing)
    return max(numbers, default=-1) + 1
