"""Proper ancestors of every class as flat arrays: five numpy arrays, so that a broadcast to executors is cheap.

For the published vocabulary (11,166 classes, 83,422 ancestors) that is 0.6 MB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from ml_images.annotations.take import Int64, take_rows


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
    num_classes = len(parents)
    given = np.repeat(np.arange(num_classes), np.fromiter(map(len, parents), np.int64, num_classes))
    given_parents = np.fromiter(chain.from_iterable(parents), np.int64, len(given))
    classes, direct = _distinct(given, given_parents, num_classes)
    parents_indptr = np.searchsorted(classes, np.arange(num_classes + 1))

    above, depth = direct, np.zeros(num_classes, np.int32)
    found = [(classes, above)]
    for edges in range(1, num_classes):  # (class, what is so many edges above it on some way), until there are none
        depth[classes] = edges
        ends, places = take_rows(parents_indptr, above)
        classes, above = _distinct(np.repeat(classes, np.diff(ends)), direct[places], num_classes)
        if not len(classes):
            break
        found.append((classes, above))
    assert not len(classes), "the hierarchy has a cycle"
    classes, above = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    classes, above = _distinct(classes, above, num_classes)
    indptr = np.searchsorted(classes, np.arange(num_classes + 1))
    return Ancestors(indptr, above.astype(np.int32), parents_indptr, direct.astype(np.int32), depth)


def _distinct(classes: Int64, above: Int64, num_classes: int) -> tuple[Int64, Int64]:
    """These pairs in ascending order, each once."""
    pairs = np.unique(classes * num_classes + above)
    classes = pairs // num_classes
    return classes, pairs - classes * num_classes
