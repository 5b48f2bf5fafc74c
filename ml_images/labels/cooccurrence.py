"""How often two classes are present on the same image: exact counts in memory that does not grow with the images.

Counts of all pairs lie in one dense triangle, 250 MB for 11,166 classes, and each row of labels adds 1 to its pairs.
What such a loop costs is the cache that it misses. So classes are renumbered by how often they occur in the first rows
(their rank), which puts the cells that are hit all the time beside each other: 2.8 ns a pair instead of 5.3. Where the
triangle is too large, it is counted in bands of ranks, each in a pass of its own.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled
from ml_images.errors import InputError
from ml_images.labels.bands import cut_rows
from ml_images.labels.present import Float32, Int32, LabelLists

Int64 = npt.NDArray[np.int64]

BAND_CELLS = 1 << 26  # int32: 256 MiB of a worker's memory; 11,166 classes are 62.3 million cells, one band
_MAX_ROWS = (1 << 31) - 1  # what a cell of int32 can hold, if a pair is on every row
_CELLS_AT_ONCE = 1 << 22  # handed out at a time, 48 MiB


class Cells(NamedTuple):
    """How many images have both classes of a pair; class_a <= class_b, each pair at most once, in no order."""

    class_a: Int32
    class_b: Int32
    counts: Int32


def plan_bands(num_classes: int) -> list[tuple[int, int]]:
    """(first rank, end) of the bands in which pairs are counted; the row of a rank has the ranks up to its own."""
    return cut_rows(np.arange(1, num_classes + 1, dtype=np.int64), BAND_CELLS)


def rank_classes(lists: LabelLists, num_classes: int) -> Int32:
    """The rank of each class: 0 for the one that is most often in these rows, ties by class. int32 (num_classes,)."""
    held = lists.classes[lists.offsets[0] : lists.offsets[-1]]
    often = np.bincount(held[(held >= 0) & (held < num_classes)], minlength=num_classes)
    ranks = np.empty(num_classes, np.int32)
    ranks[np.argsort(-often, kind="stable")] = np.arange(num_classes, dtype=np.int32)
    return ranks


class PairCounts:
    """Counts of the pairs whose rarer class (by rank) has a rank in [first, end)."""

    def __init__(self, ranks: Int32, first: int, end: int):
        self._ranks, self._first, self._end = ranks, first, end
        # np.empty asks the kernel for huge pages, np.zeros does not: a third of the time goes into missed ones.
        self._cells = np.empty(_cells_before(end) - _cells_before(first), np.int32)
        self._cells.fill(0)
        self._kept = np.empty(len(ranks), np.int64)
        self.rows = 0

    def add(self, lists: LabelLists, above: float) -> None:
        """Count the rows of `lists`: all labels, or where it has confidences those strictly above `above`.

        Raises InputError for a class outside the vocabulary and one that a row has twice.
        """
        self.rows += lists.rows
        if self.rows > _MAX_ROWS:
            raise InputError(f"more than {_MAX_ROWS:,} label rows fell to one task: raise spark.default.parallelism")
        wrong = _count(*_arrays(lists), np.float32(above), self._ranks, self._first, self._end, self._cells, self._kept)
        if wrong >= 0:
            c, num_classes = int(lists.classes[wrong]), len(self._ranks)
            if 0 <= c < num_classes:
                raise InputError(f"labels table: a row has class {c} twice; rows are expected without duplicates")
            raise InputError(f"labels table: class {c} is unknown, expected 0 to {num_classes - 1}")

    def images(self) -> tuple[Int32, Int32]:
        """(classes, how many images each is present on) for the classes of these ranks."""
        ranks = np.arange(self._first, self._end, dtype=np.int64)
        last_of_row = (ranks + 1) * (ranks + 2) // 2 - 1 - _cells_before(self._first)
        return np.argsort(self._ranks)[ranks].astype(np.int32), self._cells[last_of_row]

    def cells(self) -> Iterator[Cells]:
        """The pairs that occurred, in pieces of bounded size."""
        by_rank = np.argsort(self._ranks).astype(np.int32)
        row = self._first
        while row < self._end:
            size = max(_CELLS_AT_ONCE, len(by_rank))
            piece = Cells(np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int32))
            row, filled = _take(self._cells, self._first, self._end, row, by_rank, *piece)
            yield Cells(*(column[:filled] for column in piece))


def _cells_before(rank: int) -> int:
    """Cells of the rows of all smaller ranks."""
    return rank * (rank + 1) // 2


def _arrays(lists: LabelLists) -> tuple[Int32, Int32, Float32]:
    return lists.offsets, lists.classes, lists.confidences


@compiled
def _count(
    offsets: Int32,
    classes: Int32,
    confidences: Float32,
    above: np.float32,
    ranks: Int32,
    first: int,
    end: int,
    cells: Int32,
    kept: Int64,
) -> int:
    """Add 1 to each pair of each row. The position of the first label that must not be there, or -1."""
    checked = len(confidences) > 0
    before = first * (first + 1) // 2
    for row in range(len(offsets) - 1):
        num = 0
        for at in range(offsets[row], offsets[row + 1]):
            if checked and not confidences[at] > above:
                continue
            if classes[at] < 0 or classes[at] >= len(ranks):
                return at
            rank = np.int64(ranks[classes[at]])
            place = num  # insertion: a row has some ten labels, and its pairs are as many steps anyway
            while place > 0 and kept[place - 1] > rank:
                kept[place] = kept[place - 1]
                place -= 1
            kept[place] = rank
            if place > 0 and kept[place - 1] == rank:
                return at
            num += 1
        for i in range(num):
            if first <= kept[i] < end:
                start = kept[i] * (kept[i] + 1) // 2 - before
                for j in range(i + 1):
                    cells[start + kept[j]] += 1
    return -1


@compiled
def _take(
    cells: Int32, first: int, end: int, row: int, by_rank: Int32, class_a: Int32, class_b: Int32, counts: Int32
) -> tuple[int, int]:
    """Fill the columns with cells from rank `row` on. (the first rank that did not fit, how many cells)."""
    filled = 0
    before = first * (first + 1) // 2
    while row < end and filled + row + 1 <= len(counts):
        start = row * (row + 1) // 2 - before
        for other in range(row + 1):
            count = cells[start + other]
            if count > 0:
                class_a[filled] = min(by_rank[row], by_rank[other])
                class_b[filled] = max(by_rank[row], by_rank[other])
                counts[filled] = count
                filled += 1
        row += 1
    return row, filled
