"""Labels that contradict each other by the hierarchy: a hamburger that is no sandwich.

A conflict is a positive label and a verified absence (confidence 0) of the same row, the absent class the positive one
itself or an ancestor of it, both given. Of the 213 (positive label, ancestor) pairs in the published head of Open
Images' validation labels 28 are conflicts between people.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ml_images import schemas
from ml_images.compiled import compiled
from ml_images.hierarchy.ancestors import Ancestors
from ml_images.hierarchy.closed_rows import NOT_THERE, Float32, Int8, Int32, Int64, plain, sort_members

# What became of a conflict: both labels were certain and stay; the machine's positive became 0, or unknown where a
# certain label implies it; the absence became unknown; the absence became positive.
RESOLUTIONS = ("both_kept", "positive_overruled", "negative_unknown", "negative_overruled")
_POSITIVE_OVERRULED, _NEGATIVE_OVERRULED = 1, 3  # places in it


class Conflicts(NamedTuple):
    """One entry for each conflict, by row, positive class, and the class itself before its ancestors by number; all
    arrays have the same length."""

    rows: Int64
    positives: Int32
    confidences: Float32  # of the positives, as given
    negatives: Int32
    resolutions: Int8  # index into RESOLUTIONS


def find_conflicts(
    offsets: Int64,
    classes: Int32,
    confidences: Float32,
    ancestors: Ancestors,
    if_certain: str,
    if_scored: str,
    *,
    human_wins: bool,
) -> Conflicts:
    """The conflicts in rows from `checked_rows`. `if_certain` is the resolution of those between two classes whose
    positive label has confidence 1, `if_scored` of the others; those of one class end as `surer` decides."""
    indptr, indices = plain(ancestors.indptr, np.int64), plain(ancestors.indices, np.int32)
    resolutions = RESOLUTIONS.index(if_certain), RESOLUTIONS.index(if_scored)
    board = np.full(ancestors.num_classes, NOT_THERE), np.full(ancestors.num_classes, NOT_THERE)
    rows = offsets, classes, confidences, indptr, indices, *resolutions, human_wins, *board
    out = _room_for(0)
    found = _list_conflicts(*rows, out)
    if found:
        out = _room_for(found)
        _list_conflicts(*rows, out)
    return out


def to_conflict_batch(conflicts: Conflicts, keys: pa.StringArray, sources: pa.StringArray) -> pa.RecordBatch:
    """The conflicts by schemas.CONFLICTS; `keys` and `sources` are those of all the rows that were looked at."""
    columns = [
        keys.take(pa.array(conflicts.rows)),
        sources.take(pa.array(conflicts.rows)),
        pa.array(conflicts.positives),
        pa.array(conflicts.confidences),
        pa.array(conflicts.negatives),
        pa.array(RESOLUTIONS).take(pa.array(conflicts.resolutions)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schemas.CONFLICTS)


def _room_for(conflicts: int) -> Conflicts:
    return Conflicts(
        np.empty(conflicts, np.int64),
        np.empty(conflicts, np.int32),
        np.empty(conflicts, np.float32),
        np.empty(conflicts, np.int32),
        np.empty(conflicts, np.int8),
    )


@compiled
def surer(one: float, other: float, human_wins: bool) -> float:
    """What a class counts with that is given with both confidences: the higher one; with `human_wins` a verified
    absence is surer than a machine's score."""
    if human_wins and ((one == 0 and other < 1) or (other == 0 and one < 1)):
        return 0.0
    return max(one, other)


@compiled
def _list_conflicts(
    offsets: Int64,
    classes: Int32,
    confidences: Float32,
    indptr: Int64,
    indices: Int32,
    if_certain: int,
    if_scored: int,
    human_wins: bool,
    given: Float32,
    highest: Float32,
    out: Conflicts,
) -> int:
    """How many conflicts there are; writes as many as `out` has room for. given, highest: (classes), all NOT_THERE."""
    rows, positives, positive_confidences, negatives, resolutions = out
    row_classes, is_member = np.empty(len(given), np.int32), np.zeros(len(given), np.int8)
    absent = np.zeros(len(given), np.int8)
    found = 0
    for row in range(len(offsets) - 1):
        absences = 0
        for i in range(offsets[row], offsets[row + 1]):
            absences += confidences[i] == 0
        if absences == 0:
            continue

        end = 0
        for i in range(offsets[row], offsets[row + 1]):
            c = classes[i]
            if is_member[c] == 0:
                is_member[c] = 1
                row_classes[end] = c
                end += 1
            given[c] = surer(given[c], confidences[i], human_wins)
            highest[c] = max(highest[c], confidences[i])
            absent[c] |= confidences[i] == 0
        sort_members(row_classes, 0, end, is_member)

        for i in range(end):
            positive = row_classes[i]
            if absent[positive] != 0 and highest[positive] > 0:
                if found < len(rows):
                    rows[found] = row
                    positives[found] = negatives[found] = positive
                    positive_confidences[found] = highest[positive]
                    resolutions[found] = _NEGATIVE_OVERRULED if given[positive] > 0 else _POSITIVE_OVERRULED
                found += 1
            if given[positive] <= 0:
                continue
            for k in range(indptr[positive], indptr[positive + 1]):
                if given[indices[k]] != 0:
                    continue
                if found < len(rows):
                    rows[found] = row
                    positives[found] = positive
                    positive_confidences[found] = given[positive]
                    negatives[found] = indices[k]
                    resolutions[found] = if_certain if given[positive] == 1 else if_scored
                found += 1

        for i in range(end):
            given[row_classes[i]] = highest[row_classes[i]] = NOT_THERE
            is_member[row_classes[i]] = absent[row_classes[i]] = 0
    return found
