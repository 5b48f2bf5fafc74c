"""Which groups of URLs hang together by what they share: connected components, over arrays."""

import numpy as np
from numpy.typing import NDArray

_Ids = NDArray[np.int64]


def components(a: _Ids, b: _Ids) -> tuple[_Ids, _Ids]:
    """(ids, lowest): every id of the edges a[i] - b[i], ascending, and the lowest id that it is connected to.

    The lowest neighbour is taken over by all, then by those that hang on them, until nothing changes: pointer jumping
    (Shiloach and Vishkin 1982).
    """
    ids, places = np.unique(np.concatenate([a, b]), return_inverse=True)
    left, right = np.split(places, 2)
    lowest = np.arange(len(ids))
    while True:
        before = lowest.copy()
        np.minimum.at(lowest, before[left], before[right])
        np.minimum.at(lowest, before[right], before[left])
        lowest = lowest[lowest]
        if np.array_equal(lowest, before):
            return ids, ids[lowest]
