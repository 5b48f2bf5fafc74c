"""Rows out of flat label arrays."""

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


def take_rows(offsets: Int64, rows: Int64) -> tuple[Int64, Int64]:
    """(offsets, places of the labels) of `rows` (indices, any order) of lists that `offsets` (rows + 1) delimits."""
    counts = offsets[rows + 1] - offsets[rows]
    taken = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(counts, out=taken[1:])
    return taken, np.arange(taken[-1]) + np.repeat(offsets[rows] - taken[:-1], counts)
