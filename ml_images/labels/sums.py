"""Adds up counts of pairs of classes that come in pieces and in no order, and hands them out by class.

One dense array for a range of classes: adding needs no sorting, and reading it from one end to the other is the sorted
table. A range is as large as memory allows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled
from ml_images.labels.bands import cut_rows

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

RANGE_CELLS = 1 << 25  # int64: 256 MiB of a worker's memory
_CELLS_AT_ONCE = 1 << 21  # looked at for the next piece: at most 48 MiB of pairs come of them


class Sums(NamedTuple):
    """Counts of pairs, sorted by both classes, each pair once."""

    class_a: Int32
    class_b: Int32
    counts: Int64


def row_lengths(num_classes: int, *, triangle: bool) -> Int64:
    """int64 (num_classes,): how many classes can be class_b of each class_a; in the triangle those from it on."""
    if triangle:
        return np.arange(num_classes, 0, -1, dtype=np.int64)
    return np.full(num_classes, num_classes, np.int64)


class PairSums:
    """The pairs whose class_a is in [first, end), by the `row_lengths` of all classes."""

    def __init__(self, lengths: Int64, first: int, end: int):
        self._first = first
        self._columns = len(lengths) - lengths[first:end]  # of each row: the class_b of its first cell
        self._starts = np.zeros(end - first + 1, np.int64)
        np.cumsum(lengths[first:end], out=self._starts[1:])
        self._cells = np.empty(self._starts[-1], np.int64)  # empty, for huge pages: labels/cooccurrence.py
        self._cells.fill(0)

    def add(self, class_a: Int32, class_b: Int32, counts: Int64) -> None:
        """Add counts of pairs of this range."""
        _add(class_a, class_b, counts, self._first, self._starts[:-1] - self._columns, self._cells)

    def pieces(self) -> Iterator[Sums]:
        """The pairs with a count, in order, in pieces of bounded size."""
        for first, end in cut_rows(np.diff(self._starts), _CELLS_AT_ONCE):
            start = self._starts[first]
            found = np.flatnonzero(self._cells[start : self._starts[end]]) + start
            row = np.searchsorted(self._starts, found, side="right") - 1
            class_b = found - self._starts[row] + self._columns[row]
            yield Sums((row + self._first).astype(np.int32), class_b.astype(np.int32), self._cells[found])


@compiled
def _add(class_a: Int32, class_b: Int32, counts: Int64, first: int, starts: Int64, cells: Int64) -> None:
    for i in range(len(counts)):
        cells[starts[class_a[i] - first] + class_b[i]] += counts[i]
