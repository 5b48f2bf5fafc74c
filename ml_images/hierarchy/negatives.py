"""Closure of labels that say what an image shows and what it verifiedly does not (Open Images).

A positive label implies the classes above it, a verified absence (confidence 0) the classes below it: no sandwich, no
hamburger. A label of confidence exactly 1 or 0 is certain, as people's answers in Open Images are; in (0, 1) it is the
score of a machine; unknown (-1) implies nothing. A machine score that was rounded to 1 looks like a person's answer:
a row has no place for the difference.

Where a class itself is given both as present and as absent, it is present, as sure as the surest label says; with
human_wins it is absent unless a certain label says present. Then, what happens where a positive label lies below a
verified absence, both given (conflicts.py lists both kinds):

human_wins    Certain labels stay as they are, both of them. A machine's positive label below a certain absence is
              overruled: it becomes 0 and implies nothing. A class that is not certain itself, and that certain labels
              imply to be there and to be absent, becomes unknown.
unknown       The absence of each conflict becomes unknown, is not raised again and implies nothing.
closure_wins  The absence of each conflict becomes positive, as sure as closed_max makes it, and implies nothing.

The other positive labels then imply their ancestors as in closed_max, and the other absences their descendants: those
become 0 unless something positive is given or implied. Doing it again changes nothing with human_wins and
closure_wins; with `unknown` it does, as a second run cannot tell the unknown of a conflict from one that was given.

Absences are costly where they stand high: "no object" adds 10,037 labels to a row of the ML-Images vocabulary. The
output holds every implied absence, with the origin ANCESTOR ("added by the closure") like an implied ancestor.
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
from ml_images.hierarchy.conflicts import Conflicts, find_conflicts, surer
from ml_images.hierarchy.descendants import find_descendants
from ml_images.schemas import ANCESTOR, GIVEN, UNKNOWN

POLICIES = ("human_wins", "unknown", "closure_wins")
_HUMAN_WINS, _UNKNOWN = 0, 1  # places in POLICIES

# What becomes of a conflict: (if its positive label is certain, if a machine scored it).
_RESOLVED = {
    "human_wins": ("both_kept", "positive_overruled"),
    "unknown": ("negative_unknown", "negative_unknown"),
    "closure_wins": ("negative_overruled", "negative_overruled"),
}


class _Board(NamedTuple):
    """One row at work, a place for each class. Between rows: NOT_THERE in the first two, 0 in the others."""

    given: Float32  # the confidence in the row, the surest one where there are several
    implied: Float32  # the highest confidence of the positive labels below that count
    absent: Int8  # 1: below an absence that counts
    lost: Int8  # 1: an absence that lost a conflict and does not count
    member: Int8  # 1: any of the above


def close_with_negatives(
    offsets: Int64, classes: Int32, confidences: Float32, ancestors: Ancestors, policy: str
) -> tuple[Closed, Conflicts]:
    """The labels closed upwards and downwards under one of the POLICIES, as many rows out as in; and the conflicts.

    offsets: (rows + 1) into classes and confidences, the labels of each row in any order. A class may be given several
    times in a row; conflicts.surer tells what it then counts with. Raises ValueError for an unknown policy, a class
    outside the hierarchy and a confidence outside {-1} U [0, 1].
    """
    if policy not in POLICIES:
        raise ValueError(f"negatives must be one of {', '.join(POLICIES)}, got {policy!r}")
    num_classes, code = ancestors.num_classes, POLICIES.index(policy)
    offsets, classes, confidences = checked_rows(offsets, classes, confidences, num_classes)
    up_indptr, up_indices = plain(ancestors.indptr, np.int64), plain(ancestors.indices, np.int32)
    down_indptr, down_indices = (plain(array, array.dtype.type) for array in find_descendants(ancestors))
    board = _Board(
        np.full(num_classes, NOT_THERE),
        np.full(num_classes, NOT_THERE),
        np.zeros(num_classes, np.int8),
        np.zeros(num_classes, np.int8),
        np.zeros(num_classes, np.int8),
    )

    def close(row: int, out: Closed) -> int:
        return _close(
            row, offsets, classes, confidences, up_indptr, up_indices, down_indptr, down_indices, code, board, out
        )

    human_wins = policy == "human_wins"
    conflicts = find_conflicts(offsets, classes, confidences, ancestors, *_RESOLVED[policy], human_wins=human_wins)
    return write_rows(len(offsets) - 1, num_classes, 2 * len(classes), close), conflicts


@compiled
def _close(
    row: int,
    offsets: Int64,
    classes: Int32,
    confidences: Float32,
    up_indptr: Int64,
    up_indices: Int32,
    down_indptr: Int64,
    down_indices: Int32,
    policy: int,
    board: _Board,
    out: Closed,
) -> int:
    """The rows as `write_rows` wants them."""
    given, implied, absent, lost, member = board
    out_offsets, out_classes, out_confidences, out_origins = out
    start = out_offsets[row]
    while row < len(offsets) - 1 and len(out_classes) - start >= len(given):
        begin, stop, end = offsets[row], offsets[row + 1], start
        for i in range(begin, stop):
            c = classes[i]
            if member[c] == 0:
                member[c] = 1
                out_classes[end] = c
                end += 1
            given[c] = surer(given[c], confidences[i] + np.float32(0), policy == _HUMAN_WINS)  # -0.0 becomes 0.0

        if policy != _HUMAN_WINS:
            for i in range(begin, stop):
                if given[classes[i]] > 0:
                    for k in range(up_indptr[classes[i]], up_indptr[classes[i] + 1]):
                        if given[up_indices[k]] == 0:
                            lost[up_indices[k]] = 1

        for i in range(begin, stop):
            c = classes[i]
            if given[c] == 0 and lost[c] == 0 and absent[c] == 0:  # what is below an absent class is marked with it
                for k in range(down_indptr[c], down_indptr[c + 1]):
                    below = down_indices[k]
                    absent[below] = 1
                    if member[below] == 0:
                        member[below] = 1
                        out_classes[end] = below
                        end += 1

        for i in range(begin, stop):
            c = classes[i]
            counts = given[c] == 1 or (given[c] > 0 and absent[c] == 0)
            if counts and implied[c] < given[c]:  # else who implied it has implied its ancestors, as sure, as well
                for k in range(up_indptr[c], up_indptr[c + 1]):
                    above = up_indices[k]
                    implied[above] = max(implied[above], given[c])
                    if member[above] == 0:
                        member[above] = 1
                        out_classes[end] = above
                        end += 1

        sort_members(out_classes, start, end, member)
        for i in range(start, end):
            c = out_classes[i]
            out_confidences[i] = _settle(given[c], implied[c], absent[c] != 0, lost[c] != 0, policy)
            out_origins[i] = ANCESTOR if given[c] == NOT_THERE else GIVEN
            given[c] = implied[c] = NOT_THERE
            absent[c] = lost[c] = member[c] = 0
        start = end
        row += 1
        out_offsets[row] = start
    return row


@compiled
def _settle(given: float, implied: float, absent: bool, lost: bool, policy: int) -> float:
    """The confidence of a class in the closed row. `absent` and `implied` meet in human_wins only: where the two labels
    of a conflict imply the class, and on the certain label that is in conflict itself."""
    if lost:
        return UNKNOWN if policy == _UNKNOWN else implied
    if given == 0 or given == 1:
        return given
    if absent:
        return UNKNOWN if implied > 0 else 0.0
    return max(given, implied)
