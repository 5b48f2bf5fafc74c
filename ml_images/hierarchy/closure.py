"""What the hierarchy adds to, or takes from, the labels of each image.

none         the labels as they are
closed_max   every ancestor of a positive label, as sure as the surest of its descendants in the row; given labels are
             raised to that, too, never lowered
leaf_only    without the labels that are an ancestor of another positive label of the row
as_released  the rule behind the published ML-Images rows: labels in their order; confidence 1 brings all ancestors, a
             positive one below 1 only the direct parents, with the confidence of the label that brings them; the first
             to bring a class decides its confidence

Only a positive label (confidence > 0) implies anything. A label that is verified absent (0) or unknown (-1) stays
unless a positive descendant contradicts it: then closed_max makes it positive, and leaf_only leaves it out. A class
that was given keeps the origin GIVEN in all modes. What a verified absence says about the classes below is the business
of negatives.py.

Each row is gathered in one pass on a board with a place for every class, then read off in ascending order. `none` is
closed_max without a hierarchy, and leaf_only is what closed_max was given and no other label brought.
"""

from typing import NamedTuple

import numpy as np

from ml_images.compiled import compiled
from ml_images.hierarchy.ancestors import Ancestors
from ml_images.hierarchy.closed_rows import (
    NOT_THERE,
    Closed,
    Float32,
    Int8,
    Int32,
    Int64,
    checked_rows,
    plain,
    sort_members,
    write_rows,
)
from ml_images.schemas import ANCESTOR, GIVEN

CLOSURES = ("closed_max", "none", "leaf_only", "as_released")

_BY_ROW, _BY_LABEL = np.int8(1), np.int8(2)  # bits: who put the class on the board, the row itself or another label


class _Board(NamedTuple):
    """One row at work. Between rows every class is NOT_THERE and put by none."""

    confidences: Float32  # (classes)
    put_by: Int8  # (classes)


def close_labels(offsets: Int64, classes: Int32, confidences: Float32, ancestors: Ancestors, mode: str) -> Closed:
    """The labels under one of the CLOSURES; as many rows out as in.

    offsets: (rows + 1) into classes and confidences, which hold the labels of each row in source order. A class that
    is given several times in a row counts with its highest confidence (as_released: with its first). Raises
    ValueError for an unknown mode, a class outside the hierarchy and a confidence outside {-1} U [0, 1].
    """
    if mode not in CLOSURES:
        raise ValueError(f"closure must be one of {', '.join(CLOSURES)}, got {mode!r}")
    num_classes = ancestors.num_classes
    offsets, classes, confidences = checked_rows(offsets, classes, confidences, num_classes)
    indptr, indices = plain(ancestors.indptr, np.int64), plain(ancestors.indices, np.int32)
    parents_indptr = plain(ancestors.parents_indptr, np.int64)
    parents_indices = plain(ancestors.parents_indices, np.int32)
    if mode == "none":
        indptr, indices = np.zeros(num_classes + 1, np.int64), np.empty(0, np.int32)
    board = _Board(np.full(num_classes, NOT_THERE), np.zeros(num_classes, np.int8))

    def close(row: int, out: Closed) -> int:
        if mode == "as_released":
            return _close_as_released(
                row, offsets, classes, confidences, indptr, indices, parents_indptr, parents_indices, board, out
            )
        return _close_surest(row, offsets, classes, confidences, indptr, indices, mode == "leaf_only", board, out)

    # closed_max makes the published rows longer by a third; none and leaf_only make none longer.
    return write_rows(len(offsets) - 1, num_classes, len(classes) + len(classes) // 2, close)


@compiled
def _close_surest(
    row: int,
    offsets: Int64,
    classes: Int32,
    confidences: Float32,
    indptr: Int64,
    indices: Int32,
    leaf_only: bool,
    board: _Board,
    out: Closed,
) -> int:
    """closed_max or leaf_only as `write_rows` wants it."""
    surest, put_by = board
    out_offsets, out_classes, out_confidences, out_origins = out
    start = out_offsets[row]
    while row < len(offsets) - 1 and len(out_classes) - start >= len(put_by):
        end = start
        for i in range(offsets[row], offsets[row + 1]):
            c = classes[i]
            confidence = confidences[i] + np.float32(0)  # -0.0 becomes 0.0
            if put_by[c] == 0:
                out_classes[end] = c
                end += 1
            put_by[c] |= _BY_ROW
            if confidence <= surest[c]:
                continue  # whoever made it so sure has brought its ancestors, as sure, as well
            surest[c] = confidence
            if confidence > 0:
                for k in range(indptr[c], indptr[c + 1]):
                    a = indices[k]
                    if put_by[a] == 0:
                        out_classes[end] = a
                        end += 1
                    put_by[a] |= _BY_LABEL
                    if surest[a] < confidence:
                        surest[a] = confidence
        start = _read_off(surest, put_by, out_classes, out_confidences, out_origins, start, end, leaf_only)
        row += 1
        out_offsets[row] = start
    return row


@compiled
def _close_as_released(
    row: int,
    offsets: Int64,
    classes: Int32,
    confidences: Float32,
    indptr: Int64,
    indices: Int32,
    parents_indptr: Int64,
    parents_indices: Int32,
    board: _Board,
    out: Closed,
) -> int:
    """as_released as `write_rows` wants it."""
    first, put_by = board
    out_offsets, out_classes, out_confidences, out_origins = out
    start = out_offsets[row]
    while row < len(offsets) - 1 and len(out_classes) - start >= len(put_by):
        end = start
        for i in range(offsets[row], offsets[row + 1]):
            c, confidence = classes[i], confidences[i] + np.float32(0)
            if put_by[c] == 0:
                out_classes[end] = c
                end += 1
                first[c] = confidence
            put_by[c] |= _BY_ROW
            if confidence == 1:
                for k in range(indptr[c], indptr[c + 1]):
                    a = indices[k]
                    if put_by[a] == 0:
                        out_classes[end] = a
                        end += 1
                        first[a] = confidence
                        put_by[a] = _BY_LABEL
            elif confidence > 0:
                for k in range(parents_indptr[c], parents_indptr[c + 1]):
                    a = parents_indices[k]
                    if put_by[a] == 0:
                        out_classes[end] = a
                        end += 1
                        first[a] = confidence
                        put_by[a] = _BY_LABEL
        start = _read_off(first, put_by, out_classes, out_confidences, out_origins, start, end, False)
        row += 1
        out_offsets[row] = start
    return row


@compiled
def _read_off(
    surest: Float32,
    put_by: Int8,
    out_classes: Int32,
    out_confidences: Float32,
    out_origins: Int8,
    start: int,
    end: int,
    leaf_only: bool,
) -> int:
    """The classes out[start:end] of a row, in any order, become its labels, and the board is cleared; the row's end."""
    sort_members(out_classes, start, end, put_by)
    kept = start
    for i in range(start, end):
        c = out_classes[i]
        if not leaf_only or put_by[c] == _BY_ROW:
            out_classes[kept] = c
            out_confidences[kept] = surest[c]
            out_origins[kept] = GIVEN if put_by[c] & _BY_ROW else ANCESTOR
            kept += 1
        surest[c] = NOT_THERE
        put_by[c] = 0
    return kept
