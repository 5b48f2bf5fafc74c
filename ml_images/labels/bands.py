"""How a matrix of pairs of classes that is too large for one array is cut into bands of whole rows.

A dense array is the fastest way to count pairs, and its size must not follow the vocabulary: 11,166 classes make a
triangle of 62 million cells, 100,000 classes one of 5 billion.
"""

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


def cut_rows(lengths: Int64, at_most: int, at_least: int = 1) -> list[tuple[int, int]]:
    """(first row, end) of bands that cover all rows in order, with about equally many cells each; none is empty.

    lengths: int64 (rows), the cells of each row. There are at least `at_least` bands, if there are as many rows, and
    none has more than `at_most` cells, give or take one row.
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    number = max(1, at_least, -(-total // at_most))
    wanted = np.arange(1, number, dtype=np.float64) * total / number
    cuts = np.unique(np.concatenate(([0], np.searchsorted(ends, wanted, side="right"), [len(ends)])))
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
