"""What the hierarchy adds to, or takes from, the labels of each image.

none         the labels as they are
closed_max   every ancestor of a positive label, as sure as the surest of its descendants in the row; given labels are
             raised to that, too, never lowered
leaf_only    without the labels that are an ancestor of another positive label of the row
as_released  the rule behind the published ML-Images rows: labels in their order; confidence 1 brings all ancestors, a
             positive one below 1 only the direct parents, with the confidence of the label that brings them; the first
             to bring a class decides its confidence

Only a positive label (confidence > 0) implies anything. A label that is verified absent (0) or unknown (-1) stays,
and turns positive in closed_max where a positive descendant implies it. A class that was given keeps the origin GIVEN
in all modes.

All modes are one sort of 64-bit entries, made of the class (within its row), the precedence of whoever brings it, and
whether it was given: the first entry of each class wins. Sorting a million plain integers is 6 times as fast as an
argsort of them.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_images.hierarchy.ancestors import Ancestors
from ml_images.schemas import ANCESTOR, GIVEN, UNKNOWN

CLOSURES = ("closed_max", "none", "leaf_only", "as_released")

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]

# Entry: 32 bits of cell = row * num_classes + class, 30 bits of precedence (smaller wins), 1 bit "was given".
_PRECEDENCE_BITS = 30
_MAX_CELLS = 1 << 32
_ROWS_AT_ONCE = 1 << 14  # 16,384 rows of 8 labels make about 1 M entries: 8 MB to sort
_BITS_OF_ONE = 0x3F800000  # of float32 1.0; the bits of floats in [0, 1] rise with the floats


class Closed(NamedTuple):
    """Labels of rows: row r has `classes[offsets[r]:offsets[r + 1]]`, ascending and without duplicates."""

    offsets: Int64  # (rows + 1)
    classes: Int32
    confidences: Float32
    origins: npt.NDArray[np.int8]


def close_labels(offsets: Int64, classes: Int32, confidences: Float32, ancestors: Ancestors, mode: str) -> Closed:
    """The labels under one of the CLOSURES; as many rows out as in.

    offsets: (rows + 1) into classes and confidences, which hold the labels of each row in source order. A class that
    is given several times in a row counts with its highest confidence (as_released: with its first). Raises
    ValueError for an unknown mode, a class outside the hierarchy and a confidence outside {-1} U [0, 1].
    """
    if mode not in CLOSURES:
        raise ValueError(f"closure must be one of {', '.join(CLOSURES)}, got {mode!r}")
    offsets = np.asarray(offsets, np.int64)
    classes, confidences = classes[offsets[0] : offsets[-1]], confidences[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    _check(classes, confidences, ancestors.num_classes)
    rows_at_once = min(_ROWS_AT_ONCE, _MAX_CELLS // ancestors.num_classes)
    parts = []
    for start in range(0, len(offsets) - 1, rows_at_once):
        part = offsets[start : start + rows_at_once + 1]
        labels = slice(part[0], part[-1])
        parts.append(_close_part(part - part[0], classes[labels], confidences[labels], ancestors, mode))
    counts = np.concatenate([np.zeros(1, np.int64), *(counts for counts, _, _, _ in parts)])
    return Closed(
        np.cumsum(counts),
        np.concatenate([np.empty(0, np.int32), *(classes for _, classes, _, _ in parts)]),
        np.concatenate([np.empty(0, np.float32), *(confidences for _, _, confidences, _ in parts)]),
        np.concatenate([np.empty(0, np.int8), *(origins for _, _, _, origins in parts)]),
    )


def _check(classes: Int32, confidences: Float32, num_classes: int) -> None:
    outside = (classes < 0) | (classes >= num_classes)
    if outside.any():
        raise ValueError(f"class must be in 0..{num_classes - 1}, got {classes[outside][0]}")
    outside = ~((confidences == UNKNOWN) | ((confidences >= 0) & (confidences <= 1)))  # NaN is outside, too
    if outside.any():
        raise ValueError(f"confidence must be -1 or in [0, 1], got {confidences[outside][0]}")


def _close_part(
    offsets: Int64, classes: Int32, confidences: Float32, ancestors: Ancestors, mode: str
) -> tuple[Int64, Int32, Float32, npt.NDArray[np.int8]]:
    """(labels per row, classes, confidences, origins) of the rows of one sort."""
    num_rows = len(offsets) - 1
    row_start = np.repeat(np.arange(num_rows, dtype=np.int64) * ancestors.num_classes, np.diff(offsets))
    if mode == "as_released":
        precedence = np.arange(len(classes), dtype=np.int64)
        assert len(classes) < 1 << _PRECEDENCE_BITS
    else:
        precedence = _surest_first(confidences)

    entries = [_entries(row_start + classes, precedence, given=1)]
    positive = confidences > 0
    if mode == "as_released":
        certain = confidences == 1
        gathers = [
            (np.flatnonzero(certain), ancestors.indptr, ancestors.indices),
            (np.flatnonzero(positive & ~certain), ancestors.parents_indptr, ancestors.parents_indices),
        ]
    elif mode == "none":
        gathers = []
    else:
        gathers = [(np.flatnonzero(positive), ancestors.indptr, ancestors.indices)]
    for which, indptr, indices in gathers:
        counts, implied = _gather(indptr, indices, classes[which])
        by = np.repeat(which, counts)
        entries.append(_entries(row_start[by] + implied, precedence[by], given=0))

    entry = np.concatenate(entries)
    entry.sort()
    cell = entry >> (_PRECEDENCE_BITS + 1)
    first = np.flatnonzero(np.diff(cell, prepend=-1))  # one for each (row, class)
    was_given = np.logical_or.reduceat(entry & 1, first) if len(first) else np.empty(0, bool)
    if mode == "leaf_only":
        implied_too = np.logical_or.reduceat(~entry & 1, first) if len(first) else np.empty(0, bool)
        first, was_given = first[~implied_too], was_given[~implied_too]

    row, out_classes = np.divmod(cell[first], ancestors.num_classes)
    winner = (entry[first] >> 1) & ((1 << _PRECEDENCE_BITS) - 1)
    out_confidences = confidences[winner] if mode == "as_released" else _confidences_of(winner)
    origins = np.where(was_given, GIVEN, ANCESTOR).astype(np.int8)
    return np.bincount(row, minlength=num_rows), out_classes.astype(np.int32), out_confidences, origins


def _entries(cell: Int64, precedence: Int64, given: int) -> Int64:
    return (cell << (_PRECEDENCE_BITS + 1)) | (precedence << 1) | given


def _gather(indptr: Int64, indices: Int32, classes: Int32) -> tuple[Int64, Int32]:
    """(how many for each class, all of them in order) of the lists that `indptr` and `indices` hold."""
    counts = indptr[classes + 1] - indptr[classes]
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    at = np.arange(total) + np.repeat(indptr[classes] - (ends - counts), counts)
    return counts, indices[at]


def _surest_first(confidences: Float32) -> Int64:
    """0 for confidence 1, rising as confidences fall; the last for UNKNOWN."""
    bits = np.abs(confidences).view(np.int32).astype(np.int64)  # abs turns -0.0 into 0.0
    return np.where(confidences == UNKNOWN, _BITS_OF_ONE + 1, _BITS_OF_ONE - bits)


def _confidences_of(precedence: Int64) -> Float32:
    confidences = (_BITS_OF_ONE - precedence).astype(np.int32).view(np.float32)
    return np.where(precedence > _BITS_OF_ONE, np.float32(UNKNOWN), confidences)
