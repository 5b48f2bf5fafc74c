"""Rows out of flat label arrays."""

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64] | npt.NDArray[np.int32]  # indices, any order, also several times


def take_rows(offsets: Int64, rows: Rows) -> tuple[Int64, Int64]:
    """(offsets, places of the labels) of `rows` of the lists that `offsets` (lists + 1) delimits."""
    counts = offsets[1:][rows] - offsets[rows]
    taken = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(counts, out=taken[1:])
    return taken, np.arange(taken[-1]) + np.repeat(offsets[rows] - taken[:-1], counts)


def count_labels(offsets: Int64, rows: Rows) -> int:
    """How many labels `rows` of the lists that `offsets` delimits have together."""
    return int(np.diff(offsets)[rows].sum())
