"""Counts of pairs of classes made by many tasks become one sorted table, a range of classes at a time.

Each task leaves one file of partial counts, in any order, its row groups cut at the bounds of the ranges. The task of
a range then reads of every file the row groups that lie in it. No pair goes through the JVM.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml_images import schemas
from ml_images.errors import StorageError
from ml_images.labels.bands import cut_rows
from ml_images.labels.sums import RANGE_CELLS, Int32, Int64, PairSums, row_lengths
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

COUNT_TASK = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("parts", pa.list_(pa.string())),
        pa.field("first", pa.int32()),  # of the band that it counts
        pa.field("end", pa.int32()),
    ]
)
SUM_TASK = pa.schema([pa.field("number", pa.int64())])


def count_tasks(location: str, groups: int, bands: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """By COUNT_TASK: each band over each of at most `groups` shares of the parts of a table."""
    pairs = [(share, band) for share in tables.share_parts(location, groups) for band in bands]
    return [
        {"number": number, "parts": share, "first": first, "end": end}
        for number, (share, (first, end)) in enumerate(pairs)
    ]


def read_tasks(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """The tasks that a worker was given."""
    for batch in batches:
        yield from batch.to_pylist()


@dataclass(frozen=True)
class Partials:
    """The partial counts of all tasks. location: their folder; ranges: (first class_a, end) of each sum."""

    location: str
    num_classes: int
    triangle: bool  # class_b >= class_a, else any
    ranges: tuple[tuple[int, int], ...]

    def write(self, task: int, cells: Iterable[tuple[Int32, Int32, Int32]]) -> None:
        """Write what one task has counted: pieces of (class_a, class_b, counts)."""
        bounds = np.array([end for _, end in self.ranges[:-1]], np.int32)
        with tables.open_part(join(self.location, f"partial-{task:06d}.parquet"), schemas.COOCCURRENCE) as writer:
            for class_a, class_b, counts in cells:
                own = np.searchsorted(bounds, class_a, side="right").astype(np.int16 if len(bounds) < 1 << 15 else int)
                order = np.argsort(own, kind="stable")
                edges = np.searchsorted(own[order], np.arange(len(self.ranges) + 1))
                for start, end in itertools.pairwise(edges):
                    mine = order[start:end]
                    if len(mine):
                        columns = [class_a[mine], class_b[mine], counts[mine].astype(np.int64)]
                        writer.write_table(pa.table(columns, schema=schemas.COOCCURRENCE), row_group_size=len(mine))

    def sum(self, number: int) -> PairSums:
        """The sums of all tasks in the range `number`."""
        first, end = self.ranges[number]
        sums = PairSums(row_lengths(self.num_classes, triangle=self.triangle), first, end)
        for name in tables.parts(self.location):
            for columns in _row_groups(join(self.location, name), first, end):
                sums.add(*columns)
        return sums

    def sum_tasks(self) -> list[dict[str, Any]]:
        """By SUM_TASK: one for each range."""
        return [{"number": number} for number in range(len(self.ranges))]

    def require(self, tasks: int) -> None:
        """Raise StorageError unless the file of each task is there."""
        found = len(tables.parts(self.location))
        if found != tasks:
            told = "it must be a place that all machines share"
            raise StorageError(f"workers wrote {tasks} counts to '{self.location}', {found} are there: {told}")

    def clear(self) -> None:
        """Remove all of them: those of a run that did not finish would be added, too."""
        clear_folder(self.location)


def sum_images(rows: Iterable[dict[str, Any]], num_classes: int) -> Int64:
    """The images of each class, int64 (num_classes,), of what tasks told: `classes`, and the `images` of each."""
    total = np.zeros(num_classes, np.int64)
    for row in rows:
        total[np.array(row["classes"], np.int64)] += np.array(row["images"], np.int64)
    return total


def clear_folder(location: str) -> None:
    """Remove what is in a folder of ours that is no table."""
    filesystem, path = open_location(location)
    with tables.storage_errors(location):
        filesystem.delete_dir_contents(path, missing_dir_ok=True)


def plan_partials(location: str, num_classes: int, *, triangle: bool, tasks: int) -> Partials:
    """Partial counts to be summed in at least `tasks` ranges, each of bounded size."""
    lengths = row_lengths(num_classes, triangle=triangle)
    return Partials(location, num_classes, triangle, tuple(cut_rows(lengths, RANGE_CELLS, tasks)))


def _row_groups(part: str, first: int, end: int) -> Iterator[tuple[Int32, Int32, Int64]]:
    filesystem, path = open_location(part)
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file) as opened:
        for group in range(opened.metadata.num_row_groups):
            least = opened.metadata.row_group(group).column(0).statistics.min
            if first <= least < end:
                table = opened.read_row_group(group, use_threads=False).combine_chunks()
                class_a, class_b, counts = (column.chunk(0).to_numpy() for column in table.columns)
                yield class_a, class_b, counts
