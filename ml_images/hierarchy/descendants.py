"""The hierarchy read downwards, from the arrays of `Ancestors`: children, descendants, heights.

Nothing of this travels to executors: it is made again where it is needed, in milliseconds (see `Ancestors`).
"""

import numpy as np
import numpy.typing as npt

from ml_images.hierarchy.ancestors import Ancestors

Lists = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]


def find_children(ancestors: Ancestors) -> Lists:
    """(indptr int64 (classes + 1), indices int32): below c lie `indices[indptr[c]:indptr[c + 1]]`, ascending."""
    return _turned(ancestors.parents_indptr, ancestors.parents_indices)


def find_descendants(ancestors: Ancestors) -> Lists:
    """As find_children, for the proper descendants: class c and its slice are the subtree of c."""
    return _turned(ancestors.indptr, ancestors.indices)


def find_heights(ancestors: Ancestors) -> npt.NDArray[np.int32]:
    """Edges of the longest way down to a leaf, for each class; 0 for a leaf. int32 (classes)."""
    heights = [0] * ancestors.num_classes
    # Each class is deeper than its parents, so that its own height is settled before it raises theirs.
    bounds, parents = ancestors.parents_indptr.tolist(), ancestors.parents_indices.tolist()
    for c in np.argsort(-ancestors.depths, kind="stable").tolist():
        for parent in parents[bounds[c] : bounds[c + 1]]:
            heights[parent] = max(heights[parent], heights[c] + 1)
    return np.array(heights, np.int32)


def _turned(indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int32]) -> Lists:
    """The lists of who names me, of the lists of whom I name."""
    num_classes = len(indptr) - 1
    by_named = np.argsort(indices, kind="stable")  # stable: ascending within each list
    namers = np.repeat(np.arange(num_classes, dtype=np.int32), np.diff(indptr))
    turned_indptr = np.zeros(num_classes + 1, np.int64)
    np.cumsum(np.bincount(indices, minlength=num_classes), out=turned_indptr[1:])
    return turned_indptr, namers[by_named]
