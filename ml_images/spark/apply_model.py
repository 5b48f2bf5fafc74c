"""A table with pictures in, a table of what a model says about them out: every key with its outcome, as in `images`.

The model's file goes to each executor once, by Spark's own file server. What to do with pictures is a function that the
job hands in, as Spark's side knows no network: it gets the path of that file and where it may compute. A task is one
part of the input and writes one part of each table.
"""

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import SparkFiles, TaskContext
from pyspark.sql import SparkSession

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.options import option
from ml_images.spark import work
from ml_images.spark.same_run import identity, keep_or_clear
from ml_images.storage import tables
from ml_images.storage.manifest import read_promises
from ml_images.storage.paths import join, open_location

BATCH_BYTES = 32 << 20  # of pictures in memory at once, beside one batch of pixels

_WITHOUT_EFFECT = ("output", "max_loss", "spark")  # on what is in the tables

_TASK = pa.schema([pa.field("number", pa.int64()), pa.field("part", pa.string())])
_DONE = pa.schema(
    [
        pa.field("outcomes", pa.list_(pa.string())),
        pa.field("counts", pa.list_(pa.int64())),
        pa.field("pictures", pa.int64()),
    ]
)


class Applied(Protocol):
    """outcomes: one a picture; columns: of those that are ok, in their order."""

    @property
    def outcomes(self) -> list[str]: ...
    @property
    def columns(self) -> list[pa.Array]: ...


@dataclass(frozen=True, kw_only=True)
class ApplyConfig:
    """The options of every job that applies a model."""

    pictures: str = option(help="images table of jobs/download.py, or a data set of jobs/materialize.py")
    checkpoint: str = option(help="a file that train.py wrote, e.g. RUN/checkpoints/best.safetensors")
    split: Literal["", "train", "val", "test"] = option("", "of a data set: the rows of this split only")
    batch_size: int = option(32, "pictures that the network gets at once, fewer where they are large")
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


@dataclass(frozen=True)
class Done:
    """outcomes: how many keys have which; pictures: how many keys had one that was given to the model."""

    outcomes: Counter[str]
    pictures: int

    @property
    def lost(self) -> int:
        """Pictures that the model could not read."""
        return self.pictures - self.outcomes["ok"]


Apply = Callable[[list[bytes]], Applied]
Open = Callable[[str, int, int], Apply]  # path of the model's file, threads, number of the GPU (-1: not told)


@dataclass(frozen=True)
class Pictures:
    """Parts of a table that hold pictures: `column` has the bytes; is_images: of the table images, with outcomes."""

    parts: tuple[str, ...]
    column: str
    is_images: bool

    @property
    def columns(self) -> list[str]:
        return ["key", self.column, *(["outcome"] if self.is_images else [])]


def find_pictures(location: str, split: str) -> Pictures:
    """The parts of a finished table `images`, or of a data set: of all of it, or of a split.

    Raises InputError for any other place, and a split of a table that has none.
    """
    mark = tables.read_json(join(location, tables.MARK))
    kind = mark["holds"] if mark else "images"
    if kind not in ("images", "dataset"):
        raise InputError(f"pictures: '{location}' holds '{kind}', a table images or a data set is expected")
    tables.require(location, kind)
    if kind == "images":
        if split:
            raise InputError(f"split={split} was given, '{location}' is a table images, which has no splits")
        return Pictures(tuple(join(location, name) for name in tables.parts(location)), "data", True)
    promised = sorted(name for name in read_promises(location) if name.startswith(f"split={split}"))
    if not promised:
        raise InputError(f"split={split} of '{location}' has no rows")
    return Pictures(tuple(join(location, name) for name in promised), "image", False)


def apply_model(
    spark: SparkSession,
    pictures: Pictures,
    model: Path,
    open_model: Open,
    schema: pa.Schema,
    tables_at: tuple[str, str],
    batch_size: int,
    asked: dict[str, Any],
) -> Done:
    """Stage two tables at `tables_at`: what `open_model` says of each picture, by `schema`, whose first column is the
    key, and the outcome of every key. What an earlier run has staged that was `asked` for the same stays."""
    settings = {name: value for name, value in asked.items() if name not in _WITHOUT_EFFECT}
    kept = keep_or_clear(tables_at, identity(settings, model, pictures.parts))
    if kept:
        print(f"goes on: {kept:,} of {len(pictures.parts):,} parts are done", file=sys.stderr)
    rows = [{"number": number, "part": part} for number, part in enumerate(pictures.parts)]
    with shipped(spark, model) as name:
        apply = partial(
            _apply_parts,
            name=name,
            open_model=open_model,
            pictures=Pictures((), pictures.column, pictures.is_images),
            schema=schema,
            tables_at=tables_at,
            batch_size=batch_size,
        )
        done = work.run(work.units(spark, rows, _TASK), apply, _DONE, "apply the model")
    for location in tables_at:
        tables.require_staged(location, len(rows))
    counted: Counter[str] = Counter()
    for part in done:
        counted.update(dict(zip(part["outcomes"], part["counts"], strict=True)))
    return Done(counted, sum(part["pictures"] for part in done))


@contextmanager
def shipped(spark: SparkSession, path: Path) -> Iterator[str]:
    """Within: every task finds the file by SparkFiles.get(name). Executors fetch it once, with their first task."""
    with tempfile.TemporaryDirectory() as folder:  # Spark takes a name once in a session
        named = Path(folder, f"{uuid4().hex}{path.suffix}")
        shutil.copyfile(path, named)  # of a link it would take the name of the file behind it
        spark.sparkContext.addFile(str(named))
        yield named.name


def _apply_parts(
    batches: Iterable[pa.RecordBatch],
    *,
    name: str,
    open_model: Open,
    pictures: Pictures,
    schema: pa.Schema,
    tables_at: tuple[str, str],
    batch_size: int,
) -> Iterable[pa.RecordBatch]:
    context = TaskContext.get()
    assert context is not None, "runs in a task of Spark"
    gpus = context.resources().get("gpu")
    gpu = int(gpus.addresses[0]) if gpus else -1
    opened = cache(partial(open_model, SparkFiles.get(name), max(1, context.cpus()), gpu))
    for row in (row for batch in batches for row in batch.to_pylist()):
        files = [join(location, tables.STAGING, f"part-{row['number']:06d}.parquet") for location in tables_at]
        if all(map(tables.exists, files)):
            done = _count(row["part"], pictures, files[1])
        else:
            done = _apply_part(row["part"], opened(), pictures, schema, files, batch_size)
        counts = {"outcomes": list(done.outcomes), "counts": list(done.outcomes.values()), "pictures": done.pictures}
        yield pa.RecordBatch.from_pylist([counts], schema=_DONE)


def _count(part: str, pictures: Pictures, outcomes: str) -> Done:
    """Of a part that is done."""
    before = tables.read_part(part, ["outcome"])["outcome"].to_pylist() if pictures.is_images else None
    ends = tables.read_part(outcomes, ["outcome"])["outcome"].to_pylist()
    return Done(Counter(ends), len(ends) if before is None else before.count("ok"))


def _apply_part(
    part: str, apply: Apply, pictures: Pictures, schema: pa.Schema, files: list[str], batch_size: int
) -> Done:
    counted: Counter[str] = Counter()
    there = 0
    with tables.open_part(files[0], schema) as told, tables.open_part(files[1], schemas.OUTCOMES) as outcomes:
        for batch in tables.read_batches(part, pictures.columns, _rows_at_once(part, pictures.column, batch_size)):
            ends = batch.column("outcome").to_pylist() if pictures.is_images else ["ok"] * len(batch)
            there += ends.count("ok")
            keys, ends, found = _apply_batch(batch, ends, apply, pictures.column)
            outcomes.write_table(pa.table([batch.column("key"), ends], schema=schemas.OUTCOMES))
            if len(keys):
                told.write_table(pa.table([keys, *found], schema=schema))
            counted.update(ends)
    return Done(counted, there)


def _apply_batch(
    batch: pa.RecordBatch, before: list[str], apply: Apply, column: str
) -> tuple[pa.Array, list[str], list[pa.Array]]:
    """(keys of the pictures that are ok, the outcome of every row, what the model says about the ok ones); `before` has
    the outcomes until now."""
    there = [place for place, outcome in enumerate(before) if outcome == "ok"]
    if not there:
        return pa.array([], pa.string()), before, []
    data: list[Any] = batch.column(column).take(pa.array(there)).to_pylist()
    applied, ends = apply(data), list(before)
    for place, outcome in zip(there, applied.outcomes, strict=True):
        ends[place] = outcome
    scored = [place for place in there if ends[place] == "ok"]
    return batch.column("key").take(pa.array(scored, pa.int64())), ends, list(applied.columns)


def _rows_at_once(part: str, column: str, most: int) -> int:
    """Rows of a part, `most` or as many as BATCH_BYTES hold of its pictures, whose mean size its footer tells."""
    filesystem, path = open_location(part)
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file) as opened:
        footer, number = opened.metadata, opened.schema.names.index(column)
        size = sum(
            footer.row_group(group).column(number).total_uncompressed_size for group in range(footer.num_row_groups)
        )
        return max(1, min(most, BATCH_BYTES * footer.num_rows // max(1, size)))
