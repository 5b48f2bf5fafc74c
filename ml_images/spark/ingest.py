"""TFRecords, WebDataset tars and ImageFolders in; the tables `labels`, `images` and, where a file's folder says it,
`splits` out. A file (of an ImageFolder: a listing, or the folder of a class) is a task, which writes its parts itself.

Pictures go the way of those from archives (archives/rows.py): by their first bytes, then through a decoder process.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images.archives.config import ExtractConfig
from ml_images.archives.read import Member
from ml_images.archives.rows import Row, decode_members
from ml_images.errors import InputError, StorageError
from ml_images.images.shrinker import shared_shrinker
from ml_images.interchange.inputs import Input
from ml_images.interchange.read import read_input
from ml_images.interchange.sample import Classes, Confidences, Found, shown
from ml_images.schemas import GIVEN, GIVEN_SPLITS, IMAGES
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.label_parquet.writer import LabelWriter, open_label_part
from ml_images.storage.paths import for_spark, join, open_location

_PART_BYTES = 128 << 20  # of pictures, after which a part is written even if it has few rows
_LABEL_ROWS = 1 << 14  # of a row group
_AT_ONCE = 8  # inputs a task: it starts a decoder, and the folders of classes are many

_INPUT = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("kind", pa.string()),
        pa.field("source", pa.string()),
        pa.field("location", pa.binary()),  # a path need not be UTF-8
        pa.field("split", pa.string()),
        pa.field("folder", pa.string()),
    ]
)
_READ = pa.schema(
    [
        pa.field("parts", pa.list_(pa.string())),  # paths below the output, with the staging folders
        pa.field("split", pa.string()),
        pa.field("label_rows", pa.int64()),
        pa.field("labels", pa.int64()),
        pa.field("outcomes", pa.list_(pa.string())),
        pa.field("counts", pa.list_(pa.int64())),
    ]
)


@dataclass
class Ingested:
    """What was staged; images and outcomes are the same rows."""

    images: int = 0
    label_rows: int = 0
    labels: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)  # images by split; "" where nothing says so


def ingest(
    spark: SparkSession,
    inputs: list[Input],
    output: str,
    classes: Mapping[str, int],
    num_classes: int | None,
    cfg: ExtractConfig,
) -> Ingested:
    """Stage the tables of all inputs in `output`. classes: of the folders' names; num_classes: of the vocabulary.

    Raises InputError for what is damaged and where a key occurs twice.
    """
    made = ["labels", "images", "splits"] if any(one.split for one in inputs) else ["labels", "images"]
    for table in made:
        tables.claim(join(output, table), table)
        tables.clear_staging(join(output, table))
    rows = [
        asdict(one) | {"number": number, "location": one.location.encode("utf-8", "surrogateescape")}
        for number, one in enumerate(inputs)
    ]
    read = partial(_read_inputs, output=output, classes=dict(classes), num_classes=num_classes, cfg=cfg)
    done = Ingested()
    parts: list[str] = []
    for unit in work.run(work.units(spark, rows, _INPUT, at_once=_AT_ONCE), read, _READ, "ingest"):
        parts += unit["parts"]
        outcomes = Counter(dict(zip(unit["outcomes"], unit["counts"], strict=True)))
        done.outcomes += outcomes
        done.images += outcomes.total()
        done.splits[unit["split"]] += outcomes.total()
        done.label_rows += unit["label_rows"]
        done.labels += unit["labels"]
    if not done.images:
        raise InputError(f"the inputs hold no picture and no record: {', '.join(one.source for one in inputs[:3])}")
    _keep_only(output, made, parts)
    if "splits" in made:
        _join_splits(join(output, "splits"))
    images = [join(output, part) for part in parts if part.startswith("images/")]
    _refuse_repeated(spark, images, done.images)
    return done


def _keep_only(output: str, made: list[str], parts: list[str]) -> None:
    """Forget staged parts of attempts that failed. Raises StorageError where one that a worker told of is not there."""
    told = set(parts)
    for table in made:
        location = join(output, table)
        there = {f"{table}/{tables.STAGING}/{name}" for name in tables.staged_parts(location)}
        for part in there - told:
            filesystem, path = open_location(join(output, part))
            filesystem.delete_file(path)
        told -= there
    if told:
        place = "it must be a place that all machines share"
        raise StorageError(f"workers wrote parts of '{output}' that are not there ({min(told)}): {place}")


def _join_splits(location: str) -> None:
    """One file of all staged parts, as jobs/materialize.py takes it (splits.lists)."""
    names = tables.staged_parts(location)
    with tables.open_part(join(location, tables.STAGING, "part-000000.parquet"), GIVEN_SPLITS) as writer:
        for name in names:
            writer.write_table(tables.read_part(join(location, tables.STAGING, name)))
    for name in names:
        filesystem, path = open_location(join(location, tables.STAGING, name))
        filesystem.delete_file(path)


def _refuse_repeated(spark: SparkSession, images: list[str], num_images: int) -> None:
    """Raise InputError where two pictures have one key: which labels were whose?"""
    rows = spark.read.schema(from_arrow_schema(IMAGES)).parquet(*map(for_spark, images)).select("key", "detail")
    keys = rows.groupBy("key").agg(F.count("*").alias("rows"), F.min("detail").alias("a"), F.max("detail").alias("b"))
    told = keys.agg(F.sum("rows"), F.max(F.when(F.col("rows") > 1, F.struct("rows", "key", "a", "b")))).first()
    assert told is not None and told[0] == num_images, "a row was lost"
    if told[1] is not None:
        rows, key, a, b = told[1]
        raise InputError(f"key '{shown(key)}' occurs {rows} times ({shown(a)}; {shown(b)})")


def _read_inputs(
    batches: Iterable[pa.RecordBatch],
    *,
    output: str,
    classes: dict[str, int],
    num_classes: int | None,
    cfg: ExtractConfig,
) -> Iterable[pa.RecordBatch]:
    for row in (row for batch in batches for row in batch.to_pylist()):
        number = row.pop("number")
        one = Input(**row | {"location": row["location"].decode("utf-8", "surrogateescape")})
        found = read_input(one, classes, num_classes, cfg.max_bytes, cfg.max_ratio)
        yield pa.RecordBatch.from_pylist([_write_parts(found, one, number, output, cfg)], schema=_READ)


def _write_parts(found: Iterable[Found], one: Input, number: int, output: str, cfg: ExtractConfig) -> dict[str, Any]:
    """Decode and write what one input holds; a row of _READ."""
    name = f"{tables.STAGING}/part-0001-{number:06d}"
    parts = [f"labels/{name}.parquet"]
    outcomes: Counter[str] = Counter()
    with open_label_part(join(output, parts[0])) as writer:
        labels = _Labels(writer, one.source)
        members = _members(found, labels)
        for rows in _cut(decode_members(members, shared_shrinker(cfg.image), cfg), cfg.part_rows):
            table = pa.Table.from_pylist(rows, schema=IMAGES)
            place = f"{name}-{len(parts):05d}.parquet"
            tables.write_part(join(output, "images", place), table)
            parts.append(f"images/{place}")
            outcomes.update(table["outcome"].to_pylist())
            if one.split:
                split = pa.array([one.split] * len(table), pa.string())
                tables.write_part(
                    join(output, "splits", place),
                    pa.Table.from_arrays([table["key"], split], schema=GIVEN_SPLITS),
                )
        labels.flush()
    if one.split:
        parts += [part.replace("images/", "splits/", 1) for part in parts[1:]]
    return {
        "parts": parts,
        "split": one.split,
        "label_rows": labels.rows,
        "labels": labels.labels,
        "outcomes": list(outcomes),
        "counts": list(outcomes.values()),
    }


def _members(found: Iterable[Found], labels: "_Labels") -> Iterator[Member]:
    for one in found:
        if one.labels is not None:
            labels.add(one.member.key, *one.labels)
        yield one.member


class _Labels:
    """Writes the label rows of one part, a row group at a time."""

    def __init__(self, writer: LabelWriter, source: str) -> None:
        self._writer, self._source = writer, source
        self._keys: list[str] = []
        self._classes: list[Classes] = []
        self._confidences: list[Confidences] = []
        self.rows = self.labels = 0

    def add(self, key: str, classes: Classes, confidences: Confidences) -> None:
        self._keys.append(key)
        self._classes.append(classes)
        self._confidences.append(confidences)
        if len(self._keys) >= _LABEL_ROWS:
            self.flush()

    def flush(self) -> None:
        if not self._keys:
            return
        offsets = np.zeros(len(self._keys) + 1, np.int64)
        np.cumsum([len(classes) for classes in self._classes], out=offsets[1:])
        classes, confidences = np.concatenate(self._classes), np.concatenate(self._confidences)
        origins = np.full(len(classes), GIVEN, np.int8)
        self._writer.write_rows(pa.array(self._keys), self._source, offsets, classes, confidences, origins)
        self.rows, self.labels = self.rows + len(self._keys), self.labels + len(classes)
        self._keys, self._classes, self._confidences = [], [], []


def _cut(rows: Iterable[Row], part_rows: int) -> Iterator[list[Row]]:
    """The rows of one part each."""
    part: list[Row] = []
    held = 0
    for row in rows:
        part.append(row)
        held += len(row["data"] or b"")
        if len(part) >= part_rows or held >= _PART_BYTES:
            yield part
            part, held = [], 0
    if part:
        yield part
