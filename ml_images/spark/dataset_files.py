"""The files of a data set, out of the runs of its pictures and the rows that say where in them each lies.

The driver gathers the place, the bytes and the split of every row, lays them out (17.6 million: 6 s and 0.9 GiB at the
peak) and tells workers where each file begins. Rows travel to the worker of their file through Spark, pictures do
not: it reads those of a row group from the runs, in stretches, and writes the group.
"""

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.labels.replication import image_factors
from ml_images.schemas import SPLITS
from ml_images.spark import work
from ml_images.spark.dataset_counts import label_arrays, split_numbers
from ml_images.spark.dataset_layout import LayoutConfig, SplitLayout, lay_out
from ml_images.spark.picture_runs import ROWS, ROWS_FOLDER, run_file
from ml_images.storage import tables
from ml_images.storage.manifest import FILES, FilePromise
from ml_images.storage.paths import for_spark, join, open_location

Int64 = npt.NDArray[np.int64]

_OPEN_RUNS = 64  # files that a worker keeps open
_PLACED = pa.schema([pa.field("file", pa.int64()), pa.field("replication", pa.float32()), *(field for field in ROWS)])


@dataclass(frozen=True, eq=False)
class FilePlan:
    """The layout of each split that has rows, the number of its first file and the place of each file's first row."""

    layouts: dict[str, SplitLayout]
    first_files: dict[str, int]
    starts: dict[str, Int64]

    @property
    def rows(self) -> int:
        return sum(layout.rows for layout in self.layouts.values())

    @property
    def files(self) -> int:
        return sum(layout.files for layout in self.layouts.values())

    def split_of(self, file: int) -> str:
        return max((first, split) for split, first in self.first_files.items() if first <= file)[1]


def plan_files(scratch: str, layout: LayoutConfig, first_file: int, existing: Mapping[str, int]) -> FilePlan:
    """Lay out the rows below `scratch`, files numbered from `first_file` on, behind the row groups that each split has.
    InputError where a key is twice in it."""
    places, sizes, splits = _read_places(scratch)
    layouts, first_files, starts = dict[str, SplitLayout](), dict[str, int](), dict[str, Int64]()
    for number, split in enumerate(SPLITS):
        mine = np.flatnonzero(splits == number)
        if not len(mine):
            continue
        mine = mine[np.argsort(places[mine], kind="stable")]
        in_order = places[mine]
        same = int((in_order[1:] == in_order[:-1]).sum())
        if same:
            raise InputError(
                f"the images table has {same} keys of split {split} twice: write it again (or, once in 100,000 data "
                "sets of 17 million rows, two keys have one hash: give another layout.seed)"
            )
        layouts[split] = lay_out(sizes[mine], layout, existing[split])
        first_files[split] = first_file
        starts[split] = in_order[layouts[split].first_rows()]
        first_file += layouts[split].files
    return FilePlan(layouts, first_files, starts)


def write_files(
    spark: SparkSession, scratch: str, location: str, plan: FilePlan, factors: npt.NDArray[np.float64]
) -> dict[str, FilePromise]:
    """Stage the files of the plan below `location`; what each holds, by its name. factors: r(h) of train rows."""
    rows = spark.read.schema(from_arrow_schema(ROWS)).parquet(for_spark(join(scratch, ROWS_FOLDER)))
    find = partial(_find_files, plan=plan, factors=factors)
    placed = rows.mapInArrow(find, from_arrow_schema(_PLACED))
    shares = placed.repartitionByRange(plan.files, "file").sortWithinPartitions("file", "place")
    write = partial(_write_files, scratch=scratch, location=location, plan=plan)
    written = work.run(shares, write, FILES, "write dataset")
    assert sum(row["rows"] for row in written) == plan.rows, "a row was lost"
    return {row.pop("file"): FilePromise(**row) for row in sorted(written, key=lambda row: row["file"])}


def _read_places(scratch: str) -> tuple[Int64, npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    found: list[tuple[Any, ...]] = []
    folder = join(scratch, ROWS_FOLDER)
    for name in tables.parts(folder):
        for batch in tables.read_batches(join(folder, name), ["place", "bytes", "split"], 1 << 17):
            sizes = batch.column("bytes").to_numpy().astype(np.int32)
            found.append(
                (batch.column("place").to_numpy(), sizes, split_numbers(batch.column("split")).astype(np.int8))
            )
    places, sizes, splits = (np.concatenate(column) for column in zip(*found, strict=True))
    return places, sizes, splits


def _find_files(
    batches: Iterable[pa.RecordBatch], *, plan: FilePlan, factors: npt.NDArray[np.float64]
) -> Iterable[pa.RecordBatch]:
    for batch in batches:
        splits, places = split_numbers(batch.column("split")), batch.column("place").to_numpy()
        files = np.empty(len(batch), np.int64)
        for split, starts in plan.starts.items():
            mine = splits == SPLITS.index(split)
            files[mine] = plan.first_files[split] + np.searchsorted(starts, places[mine], side="right") - 1
        shown = np.where(splits == SPLITS.index("train"), image_factors(*label_arrays(batch), factors), np.float32(1))
        yield pa.RecordBatch.from_arrays([pa.array(files), pa.array(shown), *batch.columns], schema=_PLACED)


def _write_files(
    batches: Iterable[pa.RecordBatch], *, scratch: str, location: str, plan: FilePlan
) -> Iterable[pa.RecordBatch]:
    with RunReader(scratch) as runs:
        for number, rows in work.grouped(batches, "file"):
            split = plan.split_of(number)
            bounds = plan.layouts[split].groups_of(number - plan.first_files[split])
            assert bounds[-1] == len(rows), "a file does not have the rows that were planned"
            name = f"split={split}/part-{number:05d}.parquet"
            with tables.open_digested_part(join(location, tables.STAGING, name), schemas.DATASET) as (writer, file):
                for start, end in itertools.pairwise(bounds.tolist()):
                    writer.write_table(_complete(rows.slice(start, end - start), runs), row_group_size=end - start)
            promise = FilePromise(len(rows), len(bounds) - 1, file.bytes, file.sha256)
            yield pa.RecordBatch.from_pylist([{"file": name, **promise._asdict()}], schema=FILES)


def _complete(rows: pa.Table, runs: "RunReader") -> pa.Table:
    """Rows of the data set (schemas.DATASET) for planned rows."""
    where = (rows[name].to_numpy() for name in ("run", "offset", "bytes"))
    columns = {"image": runs.read(*where)} | {name: rows[name] for name in rows.column_names}
    return pa.table([columns[name] for name in schemas.DATASET.names], schema=schemas.DATASET)


class RunReader:
    """Reads pictures out of runs; keeps the files that it read last open."""

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._open: OrderedDict[int, pa.NativeFile] = OrderedDict()

    def __enter__(self) -> "RunReader":
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def read(self, runs: Int64, offsets: Int64, sizes: Int64) -> pa.Array:
        """The pictures at these places, as binary; neighbours in a run are read at once."""
        ends = np.cumsum(sizes)
        data = np.empty(int(ends[-1]), np.uint8)
        order = np.lexsort((offsets, runs))
        follows = (runs[order][1:] == runs[order][:-1]) & (offsets[order][1:] == (offsets + sizes)[order][:-1])
        cuts = [0, *(np.flatnonzero(~follows) + 1).tolist(), len(order)]
        for start, end in itertools.pairwise(cuts):
            mine = order[start:end]
            stretch = self._read(int(runs[mine[0]]), int(offsets[mine[0]]), int(sizes[mine].sum()))
            taken = 0
            for row in mine.tolist():
                size = int(sizes[row])
                data[ends[row] - size : ends[row]] = stretch[taken : taken + size]
                taken += size
        places = np.concatenate([[0], ends]).astype(np.int32)
        return pa.Array.from_buffers(pa.binary(), len(sizes), [None, pa.py_buffer(places), pa.py_buffer(data)])

    def _read(self, run: int, offset: int, size: int) -> npt.NDArray[np.uint8]:
        if run not in self._open:
            filesystem, path = open_location(run_file(self._scratch, run))
            self._open[run] = filesystem.open_input_file(path)
            if len(self._open) > _OPEN_RUNS:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(run)
        content = np.frombuffer(self._open[run].read_at(size, offset), np.uint8)
        assert len(content) == size, "a run is shorter than its rows say"
        return content
