"""labels x images -> the dataset: row groups of equal size, their number a multiple of the ranks, no bytes shuffled.

Only keys, labels and places travel through Spark. The rows of a split are numbered in the order of the image parts
(each a random sample of the keys, by hash) and, within a part, of a seeded hash; row group g takes the rows from g*N/G
to (g+1)*N/G. A worker that writes a file thus reads few image parts, each about once.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.labels.splits import SplitConfig, assign_splits, sort_hashes
from ml_images.options import option
from ml_images.provenance import provenance
from ml_images.report.data_card import CARD, data_card
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.manifest import FILES, MANIFEST, FilePromise
from ml_images.storage.paths import for_spark, join, open_location
from ml_images.storage.petastorm import write_row_group_counts


@dataclass(frozen=True)
class LayoutConfig:
    ranks: int = option(
        8, "row groups of each split are a multiple of this; take the largest world size you train with"
    )
    row_group_rows: int = option(256, "rows of a row group, at most; fewer where the multiple asks for it")
    file_rows: int = option(4096, "rows of a file, about")
    seed: int = option(0, "of the order within the data set")

    def __post_init__(self) -> None:
        for name in ("ranks", "row_group_rows", "file_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"layout.{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class SplitLayout:
    """How the rows of one split lie in row groups and files."""

    rows: int
    row_groups: int
    groups_per_file: int

    def bounds(self) -> np.ndarray:
        """First row of each row group, and the number of rows: int64 (row_groups + 1)."""
        return np.arange(self.row_groups + 1, dtype=np.int64) * self.rows // max(1, self.row_groups)


def lay_out(rows: int, cfg: LayoutConfig) -> SplitLayout:
    """The smallest multiple of `ranks` whose row groups hold at most row_group_rows; never an empty row group."""
    if rows == 0:
        return SplitLayout(0, 0, 1)
    per_rank = -(-rows // (cfg.ranks * cfg.row_group_rows))
    row_groups = min(rows, cfg.ranks * per_rank)
    return SplitLayout(rows, row_groups, max(1, cfg.file_rows * row_groups // rows))


_JPEG = b"\xff\xd8\xff"

_PLACED = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("classes", pa.list_(pa.int32())),
        pa.field("confidences", pa.list_(pa.float32())),
        pa.field("part", pa.string()),
        pa.field("split", pa.string()),
        pa.field("place", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Written:
    """layouts: of each split that has rows. counts: what became of the rows of both tables. files: by name."""

    layouts: dict[str, SplitLayout]
    counts: dict[str, int]
    files: dict[str, FilePromise]


def write_dataset(
    spark: SparkSession,
    labels: str,
    images: str,
    location: str,
    num_classes: int,
    splits: SplitConfig,
    layout: LayoutConfig,
) -> Written:
    """Join the tables and stage the files of the dataset under `location`; `finish_dataset` makes them a data set."""
    tables.claim(location, "dataset")
    tables.clear_staging(location)
    num_keys = _count_keys(spark, labels)
    placed = place(spark, labels, images, num_classes, splits, layout.seed).persist()
    try:
        sizes = work.collect(placed.groupBy("split", "part").count(), "join labels and images")
        if not sizes:
            raise InputError(f"no key of '{labels}' has an ok image in '{images}': there is nothing to train on")
        offsets, layouts = _offsets(sizes, layout)
        if "train" not in layouts:
            rows = {split: made.rows for split, made in layouts.items()}
            raise InputError(
                f"no row fell to split train ({rows}): lower splits.val and splits.test, or give more images"
            )
        files = _number(placed, offsets, layouts)
        written = work.run(
            files, partial(_write_files, images=images, location=location, layouts=layouts), FILES, "write dataset"
        )
    finally:
        placed.unpersist()
    tables.require_staged(location, len(written))
    assert sum(row["rows"] for row in written) == sum(split.rows for split in layouts.values())
    promises = {row.pop("file"): FilePromise(**row) for row in sorted(written, key=lambda row: row["file"])}
    return Written(layouts, _counts(spark, num_keys, images, sum(split.rows for split in layouts.values())), promises)


def _count_keys(spark: SparkSession, labels: str) -> int:
    """The rows of a labels table. Raises InputError where a key has two, as tables of earlier versions may."""
    counts = spark.read.parquet(for_spark(labels)).agg(F.count("key"), F.count_distinct("key")).first()
    assert counts is not None, "an aggregate has one row"
    if counts[0] != counts[1]:
        raise InputError(f"labels table '{labels}' has {counts[0]} rows of {counts[1]} keys: annotate again")
    return int(counts[0])


def _counts(spark: SparkSession, num_keys: int, images: str, joined: int) -> dict[str, int]:
    """Rows of the inputs that are in the data set and rows that are not, with the reason."""
    ok = spark.read.parquet(for_spark(images)).where(F.col("outcome") == "ok").count()
    assert joined <= num_keys, "a key is in the images table twice"
    return {
        "label rows": num_keys,
        "keys without an ok image": num_keys - joined,
        "ok images without labels": ok - joined,
        "in the data set": joined,
    }


def finish_dataset(location: str, vocabulary: pa.Table, written: Written, config: dict[str, Any]) -> None:
    """Publish the staged files with the metadata that readers want; `_SUCCESS` comes last."""
    layouts = written.layouts
    tables.begin_publishing(location)
    tables.clear(location)  # also what belongs to a split that an earlier run had and this one has not
    tables.move_staged(location, tables.staged_parts(location))
    write_row_group_counts(location, layouts, schemas.DATASET)
    tables.write_part(join(location, "_vocabulary"), vocabulary)
    manifest = {
        "num_classes": len(vocabulary),
        "splits": {split: {"rows": layout.rows, "row_groups": layout.row_groups} for split, layout in layouts.items()},
        "files": {name: promise._asdict() for name, promise in written.files.items()},
        "config": config,
        **provenance(),
    }
    tables.write_json(join(location, MANIFEST), manifest)
    tables.write_text(join(location, CARD), data_card(manifest))
    tables.mark_done(location)


def place(spark: SparkSession, labels: str, images: str, num_classes: int, splits: SplitConfig, seed: int) -> DataFrame:
    """One row for each key that has labels and an ok image: its labels, image part, split and place in the order."""
    rows = spark.read.parquet(for_spark(labels)).select("key", "classes", "confidences")
    ok = spark.read.parquet(for_spark(images)).where(F.col("outcome") == "ok")
    part = F.element_at(F.split(F.col("_metadata.file_path"), "/"), -1)
    joined = rows.join(ok.select("key", part.alias("part")), on="key", how="inner")
    return joined.mapInArrow(
        partial(_place_batches, num_classes=num_classes, splits=splits, seed=seed), from_arrow_schema(_PLACED)
    )


def _place_batches(
    batches: Iterable[pa.RecordBatch], *, num_classes: int, splits: SplitConfig, seed: int
) -> Iterable[pa.RecordBatch]:
    for batch in batches:
        highest = pc.max(batch.column("classes").flatten()).as_py()
        if highest is not None and highest >= num_classes:
            raise InputError(
                f"labels hold class {highest}, the vocabulary beside them has {num_classes}: annotate again"
            )
        keys = batch.column("key")
        columns = [
            keys,
            batch.column("classes"),
            batch.column("confidences"),
            batch.column("part"),
            assign_splits(keys, splits),
            pa.array(sort_hashes(seed, keys).view(np.int64)),  # Spark has no unsigned integers
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=_PLACED)


def _offsets(sizes: list[dict[str, Any]], cfg: LayoutConfig) -> tuple[list[dict[str, Any]], dict[str, SplitLayout]]:
    """First row number of every (split, part), and the layout of each split."""
    offsets, layouts = [], {}
    for split in schemas.SPLITS:
        mine = sorted((row["part"], row["count"]) for row in sizes if row["split"] == split)
        start = 0
        for part, count in mine:
            offsets.append({"split": split, "part": part, "start": start})
            start += count
        if start:
            layouts[split] = lay_out(start, cfg)
    return offsets, layouts


def _number(placed: DataFrame, offsets: list[dict[str, Any]], layouts: dict[str, SplitLayout]) -> DataFrame:
    """Rows with their number in the split and their file, one file to a partition, in order."""
    spark = placed.sparkSession
    starts = spark.createDataFrame([tuple(row.values()) for row in offsets], "split string, part string, start long")
    window = Window.partitionBy("split", "part").orderBy("place", "key")
    row = F.col("start") + F.row_number().over(window) - F.lit(1)
    numbered = placed.join(F.broadcast(starts), on=["split", "part"], how="inner").withColumn("row", row)
    file, first_file = F.lit(0).cast("long"), 0
    for split, layout in layouts.items():
        # Row group of row r is the g with g*N/G <= r: floor(((r + 1)*G - 1) / N), as bounds() rounds down.
        group = F.expr(f"((row + 1) * {layout.row_groups}L - 1) div {layout.rows}L")
        own = F.expr(f"{first_file}L") + F.floor(group / F.lit(layout.groups_per_file)).cast("long")
        file = F.when(F.col("split") == split, own).otherwise(file)
        first_file += -(-layout.row_groups // layout.groups_per_file)
    columns = ["file", "split", "row", "key", "part", "classes", "confidences"]
    return (
        numbered.withColumn("file", file)
        .select(*columns)
        .repartitionByRange(max(1, first_file), "file")
        .sortWithinPartitions("file", "row")
    )


def _write_files(
    batches: Iterable[pa.RecordBatch], *, images: str, location: str, layouts: dict[str, SplitLayout]
) -> Iterable[pa.RecordBatch]:
    reader = _ImageParts(images)
    for number, rows in work.grouped(batches, "file"):
        split = rows.column("split")[0].as_py()
        name = f"split={split}/part-{number:05d}.parquet"
        numbers = rows.column("row").to_numpy()
        bounds = layouts[split].bounds()
        cuts = bounds[(bounds >= numbers[0]) & (bounds <= numbers[-1] + 1)] - numbers[0]
        assert numbers[-1] - numbers[0] + 1 == len(numbers) and cuts[0] == 0 and cuts[-1] == len(numbers)
        with tables.open_digested_part(join(location, tables.STAGING, name), schemas.DATASET) as (writer, file):
            for start, end in itertools.pairwise(cuts):
                group = reader.complete(rows.slice(start, end - start))
                writer.write_table(group, row_group_size=len(group))
        promise = FilePromise(len(rows), len(cuts) - 1, file.bytes, file.sha256)
        yield pa.RecordBatch.from_pylist([{"file": name, **promise._asdict()}], schema=FILES)


class _ImageParts:
    """Looks up images by part and key; holds the part read last, since rows come in the order of parts."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._part, self._images = "", schemas.IMAGES.empty_table()

    def complete(self, rows: pa.Table) -> pa.Table:
        """Rows of the dataset (schemas.DATASET) for rows of the plan."""
        pieces = []
        for name in pc.unique(rows.column("part")).to_pylist():
            mine = rows.filter(pc.equal(rows.column("part"), name))
            images = self._read(name)
            found = images.take(pc.index_in(mine.column("key"), value_set=images.column("key")))
            others = mine.filter(pc.invert(pc.starts_with(found.column("data"), _JPEG)))
            if len(others):
                raise InputError(
                    f"the image of key '{others['key'][0]}' is no JPEG, as all of a data set are: it was kept as it "
                    "came; download or extract with a short_side"
                )
            pieces.append(
                pa.Table.from_arrays(
                    [
                        mine.column("key"),
                        found.column("data"),
                        found.column("width"),
                        found.column("height"),
                        mine.column("classes"),
                        mine.column("confidences"),
                        pa.array(np.ones(len(mine), np.float32)),
                    ],
                    schema=schemas.DATASET,
                )
            )
        return pa.concat_tables(pieces)

    def _read(self, name: str) -> pa.Table:
        if name != self._part:
            filesystem, path = open_location(join(self._location, name))
            columns = ["key", "data", "width", "height"]
            found = pq.read_table(path, filesystem=filesystem, columns=columns, filters=[("outcome", "=", "ok")])
            self._part, self._images = name, found.combine_chunks()
        return self._images
