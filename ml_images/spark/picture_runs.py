"""The pictures of a data set, set aside in the order in which it will have them: runs of an external sort.

A data set is in the order of a hash, and image parts are not random samples: those of archives hold a class each. A
worker therefore reads some image parts, once, and writes their pictures one after the other by hash: a run (a file of
bytes), and beside it the rows that say where in it each lies. A file of the data set then takes from each run what it
needs, which is one stretch for each row group (spark/dataset_files.py). This is what a shuffle does, without the JVM:
picture bytes go from file to file and never through Spark, and the memory of a worker is that of one run.

It costs to write and read all pictures once more and, meanwhile, their size on the disk of the output.
"""

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from ml_images.errors import InputError
from ml_images.labels.splits import SplitConfig, assign_splits, sort_hashes
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

RUN_BYTES = 256 << 20  # of image parts; what a worker holds at once
ROWS_FOLDER = "rows"

# A row of the data set to be; its picture has `bytes` bytes from `offset` on in the run.
ROWS = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("split", pa.string()),
        pa.field("place", pa.int64()),  # the order within a split
        pa.field("classes", pa.list_(pa.int32())),
        pa.field("confidences", pa.list_(pa.float32())),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("run", pa.int64()),
        pa.field("offset", pa.int64()),
        pa.field("bytes", pa.int64()),
    ]
)

_WANTED = ["run", "part", "key", "item", "split", "classes", "confidences"]
_RUN = pa.schema([pa.field("run", pa.int64()), pa.field("rows", pa.int64())])
_READ = ["key", "outcome", "data", "width", "height"]
_ROWS_AT_ONCE = 256
_JPEG = b"\xff\xd8\xff"


def write_runs(rows: DataFrame, images: str, scratch: str, num_classes: int, splits: SplitConfig, seed: int) -> int:
    """Write the runs and the parts of rows (ROWS) of `rows` (as dataset_join has them) below `scratch`: how many rows.

    A row without a split gets that of its item by hash.
    """
    runs = _share_out(images)
    numbers = rows.sparkSession.createDataFrame(list(runs.items()), "part string, run long")
    # Spark decides how to join by what it guesses of sizes; this one is small.
    wanted = rows.join(F.broadcast(numbers), on="part", how="inner").select(*_WANTED)
    shares = wanted.repartitionByRange(max(runs.values()) + 1, "run").sortWithinPartitions("run")
    write = partial(_write_runs, images=images, scratch=scratch, num_classes=num_classes, splits=splits, seed=seed)
    return sum(row["rows"] for row in work.run(shares, write, _RUN, "set pictures aside"))


def run_file(scratch: str, run: int) -> str:
    """Where the pictures of a run are."""
    return join(scratch, f"pictures-{run:06d}")


def _share_out(images: str) -> dict[str, int]:
    """The run of each part of the images table: neighbours share one as long as they have RUN_BYTES together."""
    filesystem, path = open_location(images)
    names = tables.parts(images)
    sizes = [info.size for info in filesystem.get_file_info([join(path, name) for name in names])]
    runs, run, held = {}, 0, 0
    for name, size in zip(names, sizes, strict=True):
        if held and held + size > RUN_BYTES:
            run, held = run + 1, 0
        held += size
        runs[name] = run
    return runs


def _write_runs(
    batches: Iterable[pa.RecordBatch], *, images: str, scratch: str, num_classes: int, splits: SplitConfig, seed: int
) -> Iterable[pa.RecordBatch]:
    for run, rows in work.grouped(batches, "run"):
        highest = pc.max(pc.list_flatten(rows["classes"])).as_py()
        if highest is not None and highest >= num_classes:
            raise InputError(
                f"labels hold class {highest}, the vocabulary beside them has {num_classes}: annotate again"
            )
        _write_run(run, rows, _read_pictures(images, rows), scratch, splits, seed)
        yield pa.RecordBatch.from_pylist([{"run": run, "rows": len(rows)}], schema=_RUN)


def _write_run(run: int, rows: pa.Table, pictures: pa.Table, scratch: str, splits: SplitConfig, seed: int) -> None:
    places = sort_hashes(seed, rows["key"]).view(np.int64)  # Spark has no unsigned integers
    order = np.argsort(places, kind="stable")
    rows, places = rows.take(pa.array(order)), places[order]
    found = pc.index_in(rows["key"], value_set=pictures["key"].combine_chunks())
    assert found.null_count == 0, "a picture that Spark has seen is not in its part"
    numbers = found.combine_chunks().to_numpy()
    sizes = np.empty(len(rows), np.int64)
    with tables.whole_file(run_file(scratch, run)) as (filesystem, beside), filesystem.open_output_stream(beside) as to:
        for row, picture in enumerate(_buffers(pictures["data"], numbers)):
            to.write(picture)
            sizes[row] = picture.size
    by_hash = assign_splits(rows["item"], splits)
    columns = {
        "key": rows["key"],
        "split": pc.coalesce(rows["split"], by_hash),
        "place": places,
        "classes": rows["classes"],
        "confidences": rows["confidences"],
        "width": pictures["width"].take(found),
        "height": pictures["height"].take(found),
        "run": np.full(len(rows), run, np.int64),
        "offset": np.cumsum(sizes) - sizes,
        "bytes": sizes,
    }
    part = pa.table([columns[name] for name in ROWS.names], schema=ROWS)
    tables.write_part(join(scratch, ROWS_FOLDER, f"part-{run:06d}.parquet"), part)


def _read_pictures(images: str, rows: pa.Table) -> pa.Table:
    """key, data, width, height of the pictures of `rows`, in no order."""
    found = []
    for part in sorted(pc.unique(rows["part"]).to_pylist()):
        keys = rows["key"].filter(pc.equal(rows["part"], part)).combine_chunks()
        for batch in tables.read_batches(join(images, part), _READ, _ROWS_AT_ONCE):
            is_wanted = pc.and_(pc.equal(batch.column("outcome"), "ok"), pc.is_in(batch.column("key"), value_set=keys))
            wanted = batch.filter(is_wanted)
            others = wanted.filter(pc.invert(pc.fill_null(pc.starts_with(wanted.column("data"), _JPEG), False)))
            if len(others):
                raise InputError(
                    f"the image of key '{others['key'][0]}' is no JPEG, as all of a data set are: it was kept as it "
                    "came; download or extract with a short_side"
                )
            found.append(wanted.select(["key", "data", "width", "height"]))
    return pa.Table.from_batches(found)


def _buffers(data: pa.ChunkedArray, numbers: np.ndarray) -> Iterator[Any]:
    """The bytes of the elements `numbers`, not copied."""
    starts = np.array([0, *itertools.accumulate(map(len, data.chunks))])
    chunks = np.searchsorted(starts, numbers, side="right") - 1
    for chunk, number in zip(chunks.tolist(), numbers.tolist(), strict=True):
        yield data.chunk(chunk)[number - int(starts[chunk])].as_buffer()
