"""How rows of labels go into the compiled loops that close them, and how they come out.

In: arrays in the one form that the loops are compiled for, with every class and confidence checked. Out: arrays that
grow in place while rows are written, so that memory follows the output and no row has to be closed twice to know it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled
from ml_images.schemas import UNKNOWN

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]

NOT_THERE = np.float32(-2)  # on a board: below every confidence and UNKNOWN, so that whatever comes is surer


class Closed(NamedTuple):
    """Labels of rows: row r has `classes[offsets[r]:offsets[r + 1]]`, ascending and without duplicates."""

    offsets: Int64  # (rows + 1)
    classes: Int32
    confidences: Float32
    origins: Int8


def checked_rows(
    offsets: Int64, classes: Int32, confidences: Float32, num_classes: int
) -> tuple[Int64, Int32, Float32]:
    """The rows for compiled loops, offsets from 0; ValueError for a class or a confidence that cannot be."""
    offsets = plain(offsets, np.int64)
    classes = plain(classes[offsets[0] : offsets[-1]], np.int32)
    confidences = plain(confidences[offsets[0] : offsets[-1]], np.float32)
    offsets = offsets - offsets[0]
    assert (np.diff(offsets) >= 0).all() and offsets[-1] == len(classes) == len(confidences), "offsets are no offsets"
    wrong = _first_wrong(classes, confidences, num_classes)
    if wrong < len(classes) and not 0 <= classes[wrong] < num_classes:
        raise ValueError(f"class must be in 0..{num_classes - 1}, got {classes[wrong]}")
    if wrong < len(classes):
        raise ValueError(f"confidence must be -1 or in [0, 1], got {confidences[wrong]}")
    return offsets, classes, confidences


def plain(array: npt.NDArray, dtype: type) -> npt.NDArray:
    """`array` in the one form that loops are compiled for; a read-only one (as from Arrow) is copied."""
    return np.require(array, dtype, ["C_CONTIGUOUS", "WRITEABLE"])


def write_rows(num_rows: int, num_classes: int, labels: int, close: Callable[[int, Closed], int]) -> Closed:
    """All rows that `close` writes, in arrays that begin with room for `labels` labels and grow in place.

    close(row, out) writes rows from `row` on for as long as `out` has room for `num_classes` more labels, the most
    that a row can have, and returns the first row that it has not written.
    """
    room = labels + num_classes
    out = Closed(
        np.zeros(num_rows + 1, np.int64), np.empty(room, np.int32), np.empty(room, np.float32), np.empty(room, np.int8)
    )
    row = close(0, out)
    while row < num_rows:
        room += room // 2 + num_classes
        _resize(out, room)
        row = close(row, out)
    _resize(out, int(out.offsets[-1]))
    return out


def _resize(out: Closed, labels: int) -> None:
    for array in out[1:]:
        array.resize(labels, refcheck=False)  # realloc: large arrays move without a copy


@compiled
def _first_wrong(classes: Int32, confidences: Float32, num_classes: int) -> int:
    """Index of the first impossible label, or how many labels there are."""
    for i in range(len(classes)):
        p = confidences[i]
        if not (0 <= classes[i] < num_classes and (0 <= p <= 1 or p == UNKNOWN)):  # NaN is wrong, too
            return i
    return len(classes)


@compiled
def sort_members(classes: Int32, start: int, end: int, is_member: Int8) -> None:
    """Puts classes[start:end], the classes whose `is_member` is not 0, in ascending order.

    By insertion, or by walking over all classes where that takes fewer steps (211 labels of 11,166 classes and more):
    no row costs more than a walk. numba's np.sort would take longer on short rows and 4 s to compile.
    """
    descending = True
    for i in range(start + 1, end):
        descending &= classes[i] < classes[i - 1]
    if descending:  # a path from a leaf to its root, as every ImageNet row is
        for i in range((end - start) // 2):
            classes[start + i], classes[end - 1 - i] = classes[end - 1 - i], classes[start + i]
    elif (end - start) ** 2 // 4 < len(is_member):
        for i in range(start + 1, end):
            c = classes[i]
            k = i
            while k > start and classes[k - 1] > c:
                classes[k] = classes[k - 1]
                k -= 1
            classes[k] = c
    else:
        k = start
        for c in range(len(is_member)):
            if is_member[c] != 0:
                classes[k] = c
                k += 1
