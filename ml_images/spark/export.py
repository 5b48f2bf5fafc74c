"""A data set in another program's format: every shard is a task, which reads its rows and writes its file itself.

What is read is what the manifest names, as it says; a worker holds one row group and the sample under work.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pyspark.broadcast import Broadcast
from pyspark.sql import SparkSession

from ml_images.errors import InputError, StorageError
from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.vocabulary import parents_of
from ml_images.interchange.inputs import VOCABULARY_FILE, Format
from ml_images.interchange.layouts import Layout
from ml_images.interchange.sample import Sample
from ml_images.interchange.shards import Piece, Shard, plan_shards
from ml_images.interchange.write import Done, Target, write_shard
from ml_images.options import option
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.manifest import FilePromise, read_promises
from ml_images.storage.paths import join, open_location

VOCABULARY = "_vocabulary"  # of a data set: the Parquet file beside its manifest

_COLUMNS = ["key", "image", "width", "height", "classes", "confidences"]
_JSON_BYTES = 1536  # of a sample in a tar: two headers, the JSON with its padding
_PIECE = pa.struct([("file", pa.string()), ("start", pa.int64()), ("end", pa.int64())])
_SHARD = pa.schema([("split", pa.string()), ("number", pa.int64()), ("pieces", pa.list_(_PIECE))])
_DONE = pa.schema(
    [
        pa.field("file", pa.string()),
        *(pa.field(name, pa.int64()) for name in ("rows", "labels", "labels_lost", "without_class", "bytes")),
        pa.field("sha256", pa.string()),
    ]
)


@dataclass(frozen=True)
class ShardConfig:
    layout: Layout = option("sparse", help="of the labels in a TFRecord: classes and confidences, or one float a class")
    bytes: int = option(256 << 20, help="length of a TFRecord or tar, about; of an ImageFolder: pictures of a task")

    def __post_init__(self) -> None:
        if self.bytes < 1 << 16:
            raise ValueError(f"shards.bytes must be at least {1 << 16}, got {self.bytes}")


@dataclass(frozen=True)
class Exported:
    """What was staged: rows of each split, shards by file, and what became of the labels."""

    rows: dict[str, int]
    shards: list[Done]

    @property
    def counts(self) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for done in self.shards:
            totals.update({name: value for name, value in done._asdict().items() if isinstance(value, int)})
        return dict(totals)


def export(spark: SparkSession, dataset: str, output: str, format: Format, cfg: ShardConfig) -> Exported:
    """Stage the data set in the folder `output`, which is claimed; `publish` makes it visible.

    Raises InputError where the data set's files are not those of its manifest.
    """
    promises = read_promises(dataset)
    _check_sizes(dataset, promises)
    vocabulary = tables.read_part(join(dataset, VOCABULARY))
    tables.clear_staging(output)
    target = Target(format, cfg.layout, find_ancestors(parents_of(vocabulary)))
    shards = plan_shards(promises, cfg.bytes, _more_bytes(target))
    if not shards:
        raise InputError(f"data set '{dataset}' has no rows")
    expected = {name: promise.rows for name, promise in promises.items()}
    broadcast = spark.sparkContext.broadcast((target, expected))
    write = partial(_write_shards, dataset=dataset, output=output, broadcast=broadcast)
    units = work.units(spark, [asdict(shard) for shard in shards], _SHARD)
    done = [Done(**row) for row in work.run(units, write, _DONE, "export")]
    done.sort(key=lambda shard: shard.file)
    rows: Counter[str] = Counter()
    for shard in shards:
        rows[shard.split] += shard.rows
    assert sum(shard.rows for shard in done) == rows.total() == sum(expected.values()), "a row was lost"
    _require_staged(output, done)
    tables.write_part(join(output, tables.STAGING, VOCABULARY_FILE), vocabulary)
    return Exported(dict(rows), done)


def publish(output: str) -> None:
    """Put what is staged in the place of what is visible; `_SUCCESS` comes last."""
    filesystem, path = open_location(output)
    tables.begin_publishing(output)
    tables.clear(output)
    staging = join(path, tables.STAGING)
    with tables.storage_errors(output):
        # An object store has no folders that could be renamed.
        recursive = not isinstance(filesystem, (fs.LocalFileSystem, fs.HadoopFileSystem))
        for info in filesystem.get_file_info(fs.FileSelector(staging, recursive=recursive)):
            if recursive and info.type != fs.FileType.File:
                continue
            filesystem.move(info.path, join(path, info.path[len(staging) + 1 :]))
        filesystem.delete_dir_contents(staging, missing_dir_ok=True)
    tables.mark_done(output)


def _more_bytes(target: Target) -> int:
    """What a row takes beyond its bytes in Parquet, about."""
    if target.format == "webdataset":
        return _JSON_BYTES
    return 4 * target.num_classes if (target.format, target.layout) == ("tfrecord", "dense") else 0


def _check_sizes(dataset: str, promises: dict[str, FilePromise]) -> None:
    """Raise InputError for a file that is missing or has another length than promised; verify.py reads all of them."""
    filesystem, path = open_location(dataset)
    infos = filesystem.get_file_info([join(path, name) for name in promises]) if promises else []
    for info, (name, promise) in zip(infos, promises.items(), strict=True):
        if info.type != fs.FileType.File or info.size != promise.bytes:
            raise InputError(
                f"'{join(dataset, name)}' is not as its manifest says; jobs/verify.py dataset={dataset} tells which are"
            )


def _require_staged(output: str, done: list[Done]) -> None:
    """Raise StorageError unless the files that workers tell of are there for the driver, too."""
    filesystem, path = open_location(join(output, tables.STAGING))
    infos = filesystem.get_file_info([join(path, shard.file) for shard in done])
    gone = [info.base_name for info in infos if info.type != fs.FileType.File]
    if gone:
        told = "it must be a place that all machines share"
        raise StorageError(f"workers wrote files of '{output}' that are not there ({gone[0]}): {told}")


def _write_shards(
    batches: Iterable[pa.RecordBatch],
    *,
    dataset: str,
    output: str,
    broadcast: "Broadcast[tuple[Target, dict[str, int]]]",
) -> Iterable[pa.RecordBatch]:
    target, expected = broadcast.value
    for row in (row for batch in batches for row in batch.to_pylist()):
        shard = Shard(row["split"], row["number"], tuple(Piece(**piece) for piece in row["pieces"]))
        groups = _read_samples(dataset, shard, expected)
        done = write_shard(groups, join(output, tables.STAGING), shard.split, shard.number, target)
        assert done.rows == shard.rows, "a row was lost"
        yield pa.RecordBatch.from_pylist([done._asdict()], schema=_DONE)


def _read_samples(dataset: str, shard: Shard, expected: dict[str, int]) -> Iterator[list[Sample]]:
    """The samples of each row group in turn."""
    for piece in shard.pieces:
        location = join(dataset, piece.file)
        filesystem, path = open_location(location)
        with filesystem.open_input_file(path) as file, pq.ParquetFile(file) as opened:
            if opened.metadata.num_rows != expected[piece.file]:
                raise InputError(f"'{location}' has {opened.metadata.num_rows} rows, not those of its manifest")
            start = 0
            for group in range(opened.metadata.num_row_groups):
                end = start + opened.metadata.row_group(group).num_rows
                first, last = max(start, piece.start), min(end, piece.end)
                if first < last:
                    rows = opened.read_row_group(group, _COLUMNS, use_threads=False)
                    yield _samples(rows.slice(first - start, last - first))
                start = end


def _samples(rows: pa.Table) -> list[Sample]:
    rows = rows.combine_chunks()
    columns: dict[str, Any] = {name: rows[name].to_pylist() for name in ("key", "image", "width", "height")}
    for name, kind in (("classes", np.int32), ("confidences", np.float32)):
        lists = pa.concat_arrays(rows[name].chunks)
        ends = lists.offsets.to_numpy()
        flat = lists.values.to_numpy().astype(kind, copy=False)
        columns[name] = [flat[start:end] for start, end in itertools.pairwise(ends)]
    return [Sample(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
