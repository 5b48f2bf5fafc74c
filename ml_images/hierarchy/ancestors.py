"""Proper ancestors of every class as flat arrays: five numpy arrays, so that a broadcast to executors is cheap.

For the published vocabulary (11,166 classes, 83,422 ancestors) that is 0.6 MB.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_images.hierarchy.order import depths


@dataclass(frozen=True, eq=False)
class Ancestors:
    """`indices[indptr[c]:indptr[c + 1]]` are the proper ancestors of class c, ascending; likewise its direct parents.

    indptr, parents_indptr: int64 (classes + 1); indices, parents_indices: int32; depths: int32 (classes), the edges
    of the longest way up to a root.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    parents_indptr: npt.NDArray[np.int64]
    parents_indices: npt.NDArray[np.int32]
    depths: npt.NDArray[np.int32]

    @property
    def num_classes(self) -> int:
        return len(self.depths)


def find_ancestors(parents: Sequence[Sequence[int]]) -> Ancestors:
    """The ancestors in a hierarchy given as direct parents of each class (`Vocabulary.parents`), free of cycles."""
    depth = depths(parents)
    above: list[list[int]] = [[] for _ in parents]
    for c in sorted(range(len(parents)), key=depth.__getitem__):
        direct = parents[c]
        if len(direct) == 1:  # as nearly all: half of the time
            above[c] = sorted([*above[direct[0]], direct[0]])
        else:
            above[c] = sorted(set(direct).union(*(above[parent] for parent in direct)))
    return Ancestors(*_flat(above), *_flat([sorted(direct) for direct in parents]), np.array(depth, np.int32))


def _flat(lists: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    indptr = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(items) for items in lists], out=indptr[1:])
    return indptr, np.array([item for items in lists for item in items], np.int32)
