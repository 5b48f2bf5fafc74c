"""How two classes are related: is one above the other, and where do their ways up meet.

A class counts as its own ancestor where ways meet: those of `dog` and `animal` meet in `animal`. In a DAG they can
meet in several classes of which none lies below another; `find_meetings` gives all of them.

All functions take pairs by the million: arrays of classes in, arrays out.
"""

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled
from ml_images.hierarchy.ancestors import Ancestors

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]


def is_ancestor(ancestors: Ancestors, above: npt.ArrayLike, below: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether `above` is a proper ancestor of `below`, for each pair of classes.

    above, below: integers of shapes that broadcast (so `[:, None]` and `[None, :]` make a matrix); the result has the
    common shape. Raises ValueError for a class outside the hierarchy.
    """
    above, below = _classes(ancestors, above, below)
    wanted = np.asarray(below, np.int64) * ancestors.num_classes + above
    classes = np.repeat(np.arange(ancestors.num_classes, dtype=np.int64), np.diff(ancestors.indptr))
    pairs = classes * ancestors.num_classes + ancestors.indices  # ascending, since each list of ancestors is
    if not len(pairs):
        return np.zeros(wanted.shape, np.bool_)
    at = np.searchsorted(pairs, wanted)
    return np.asarray(pairs[np.minimum(at, len(pairs) - 1)] == wanted, np.bool_)


def on_one_path(ancestors: Ancestors, a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """For each pair: are both the same class, or is one an ancestor of the other? Such a pair says nothing new.

    a, b: as in is_ancestor.
    """
    return np.equal(a, b) | is_ancestor(ancestors, a, b) | is_ancestor(ancestors, b, a)


def lowest_common_ancestors(ancestors: Ancestors, a: npt.ArrayLike, b: npt.ArrayLike) -> Int32:
    """The deepest class that is above or equal to both, for each pair of classes; -1 where there is none.

    Depth is that of the longest way up; of equally deep ones (only a DAG has them) it is the smallest class.
    a, b: as in is_ancestor; the result is int32 of their common shape. Raises ValueError for a class outside.
    """
    a, b = _classes(ancestors, a, b)
    lowest = np.empty(a.size, np.int32)
    flat = np.ascontiguousarray(a.ravel(), np.int32), np.ascontiguousarray(b.ravel(), np.int32)
    _find_deepest(*flat, ancestors.indptr, ancestors.indices, ancestors.depths, _scratch(ancestors), lowest)
    return lowest.reshape(a.shape)


def find_meetings(ancestors: Ancestors, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Int64, Int32]:
    """All classes above or equal to both of a pair that have none of the others below them, for each pair of classes.

    a, b: integers (pairs). Returns (indptr int64 (pairs + 1), indices int32): those of pair i, ascending, are
    `indices[indptr[i]:indptr[i + 1]]`; in a tree they are one or none. Raises ValueError for a class outside.
    """
    a, b = _classes(ancestors, a, b)
    a, b = np.ascontiguousarray(a, np.int32), np.ascontiguousarray(b, np.int32)
    num_above = np.diff(ancestors.indptr) + 1
    found = np.empty(int(np.minimum(num_above[a], num_above[b]).sum()), np.int32)  # what all common ones would take
    indptr = np.zeros(len(a) + 1, np.int64)
    _find_lowest(a, b, ancestors.indptr, ancestors.indices, ancestors.depths, _scratch(ancestors), indptr, found)
    return indptr, found[: indptr[-1]].copy()


def _classes(
    ancestors: Ancestors, a: npt.ArrayLike, b: npt.ArrayLike
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    a, b = np.asarray(a), np.asarray(b)
    for classes in (a, b):
        outside = (classes < 0) | (classes >= ancestors.num_classes)
        if outside.any():
            raise ValueError(f"class must be in 0..{ancestors.num_classes - 1}, got {classes[outside][0]}")
    a, b = np.broadcast_arrays(a, b)
    return a, b


def _scratch(ancestors: Ancestors) -> Int32:
    """Room for the common ancestors of any one pair."""
    return np.empty(int(np.diff(ancestors.indptr).max(initial=0)) + 1, np.int32)


@compiled
def _common(a: int, b: int, indptr: Int64, indices: Int32, out: Int32) -> int:
    """Writes the classes above or equal to both, ascending, to `out` and returns how many: a merge of two lists."""
    # Each list is the ancestors with the class itself put in its place; neither is ever written out.
    i, i_end, a_waits = indptr[a], indptr[a + 1], True
    j, j_end, b_waits = indptr[b], indptr[b + 1], True
    count = 0
    while (i < i_end or a_waits) and (j < j_end or b_waits):
        from_a = i < i_end and (not a_waits or indices[i] < a)
        x = indices[i] if from_a else np.int32(a)
        from_b = j < j_end and (not b_waits or indices[j] < b)
        y = indices[j] if from_b else np.int32(b)
        if x == y:
            out[count] = x
            count += 1
        if x <= y:
            if from_a:
                i += 1
            else:
                a_waits = False
        if y <= x:
            if from_b:
                j += 1
            else:
                b_waits = False
    return count


@compiled
def _find_deepest(
    a: Int32, b: Int32, indptr: Int64, indices: Int32, depths: Int32, scratch: Int32, lowest: Int32
) -> None:
    for pair in range(len(a)):
        best = -1
        for k in range(_common(a[pair], b[pair], indptr, indices, scratch)):
            if best < 0 or depths[scratch[k]] > depths[best]:  # ascending, so the smallest of equals stays
                best = scratch[k]
        lowest[pair] = best


@compiled
def _find_lowest(
    a: Int32, b: Int32, indptr: Int64, indices: Int32, depths: Int32, scratch: Int32, out_indptr: Int64, out: Int32
) -> None:
    end = 0
    for pair in range(len(a)):
        count = _common(a[pair], b[pair], indptr, indices, scratch)
        for k in range(count):
            if not _is_above_any(scratch[k], scratch, count, indptr, indices, depths):
                out[end] = scratch[k]
                end += 1
        out_indptr[pair + 1] = end


@compiled
def _is_above_any(c: int, others: Int32, count: int, indptr: Int64, indices: Int32, depths: Int32) -> bool:
    for k in range(count):
        if depths[others[k]] > depths[c]:
            for i in range(indptr[others[k]], indptr[others[k] + 1]):
                if indices[i] == c:
                    return True
    return False
