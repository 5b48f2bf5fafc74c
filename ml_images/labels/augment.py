"""What chosen pairs add to the labels of each image: the implied classes, their ancestors, and where they come from.

Rows are closed before and after. Closing before adds nothing to a table that was closed; in any other a positive label
gets the ancestors that its row does not name, and positive ones are raised, as in closed_max. What the row says to be
absent or unknown it goes on saying: how annotate decided a conflict is decided.

An image on which class i is present gets every j that i implies, with one confidence (the paper names none) and the
origin 2 (co-occurrence), and the ancestors of j, as sure as j, with the origin ANCESTOR. Labels that were there keep
their origin; an ancestor that was less sure is raised.

* A j that is present already is left as it is.
* A j that is verified absent (0), or has an ancestor that is, is held back: somebody looked at this very image.
* An unknown (-1) j or ancestor becomes positive: nobody had looked.
* Only labels that were there imply anything. The pairs i -> j, j -> k add no k to an image of i, since the shares
  behind them are of images that had j for another reason.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled
from ml_images.hierarchy.ancestors import Ancestors
from ml_images.hierarchy.closure import Closed, close_labels, plain
from ml_images.labels.pair_list import Implications
from ml_images.schemas import ANCESTOR, BY_COOCCURRENCE, GIVEN

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Int8 = npt.NDArray[np.int8]
Float32 = npt.NDArray[np.float32]

_ABSENT, _PRESENT, _DONE = np.int8(1), np.int8(2), np.int8(4)  # bits for each class, while a row is worked on


class Augmented(NamedTuple):
    """labels: all rows again. The others count labels, so that added + present + held_back = implied by the pairs."""

    labels: Closed
    closed: int  # ancestors that labels of the row lacked
    rows: int  # that got a label
    added: int
    ancestors: int  # that came with them
    present: int
    held_back: int


def augment_labels(labels: Closed, implications: Implications, ancestors: Ancestors, confidence: float) -> Augmented:
    """`labels` (offsets from 0, rows ascending by class, without duplicates) with what the pairs add."""
    given = len(labels.classes)
    labels = _close(_plain(labels), ancestors)
    state = np.zeros(ancestors.num_classes, np.int8)
    at_most = int(np.diff(implications.indptr)[labels.classes[labels.confidences > 0]].sum())
    offsets, added = np.zeros(len(labels.offsets), np.int64), np.empty(at_most, np.int32)
    present, held_back = _imply(
        labels,
        plain(implications.indptr, np.int64),
        plain(implications.implied, np.int32),
        plain(ancestors.indptr, np.int64),
        plain(ancestors.indices, np.int32),
        state,
        offsets,
        added,
    )
    added = added[: offsets[-1]]
    brought = close_labels(offsets, added, np.full(len(added), confidence, np.float32), ancestors, "closed_max")
    origins = np.where(brought.origins == GIVEN, np.int8(BY_COOCCURRENCE), brought.origins)
    size = len(labels.classes) + len(brought.classes)
    merged = Closed(
        np.zeros_like(labels.offsets), np.empty(size, np.int32), np.empty(size, np.float32), np.empty(size, np.int8)
    )
    num_ancestors = _merge(labels, _plain(brought._replace(origins=origins)), merged)
    end = merged.offsets[-1]
    whole = Closed(merged.offsets, merged.classes[:end], merged.confidences[:end], merged.origins[:end])
    closed = len(labels.classes) - given
    return Augmented(
        whole, closed, int(np.count_nonzero(np.diff(offsets))), len(added), num_ancestors, present, held_back
    )


def _close(labels: Closed, ancestors: Ancestors) -> Closed:
    """With the ancestors that no label of the row names, and with positive labels as sure as the surest below them."""
    closed = close_labels(*labels[:3], ancestors, "closed_max")
    own = closed.origins == GIVEN  # in the order of `labels`, which is ascending, too
    closed.confidences[own] = np.where(labels.confidences > 0, closed.confidences[own], labels.confidences)
    closed.origins[own] = labels.origins
    return _plain(closed)


def _plain(labels: Closed) -> Closed:
    return Closed(
        plain(labels.offsets, np.int64),
        plain(labels.classes, np.int32),
        plain(labels.confidences, np.float32),
        plain(labels.origins, np.int8),
    )


@compiled
def _imply(
    labels: Closed,
    indptr: Int64,
    implied: Int32,
    above_indptr: Int64,
    above: Int32,
    state: Int8,
    added_offsets: Int64,
    added: Int32,
) -> tuple[int, int]:
    """Fill the classes to add to each row. (implied ones that were present, those held back)."""
    offsets, classes, confidences = labels.offsets, labels.classes, labels.confidences
    present, held_back, num = 0, 0, 0
    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        for at in range(start, end):
            if confidences[at] > 0:
                state[classes[at]] = _PRESENT
            elif confidences[at] == 0:
                state[classes[at]] = _ABSENT
        for at in range(start, end):
            if not confidences[at] > 0:
                continue
            for k in range(indptr[classes[at]], indptr[classes[at] + 1]):
                j = implied[k]
                if state[j] & _DONE:  # by another class of the row
                    continue
                contradicted = state[j] & _ABSENT
                for a in range(above_indptr[j], above_indptr[j + 1]):
                    contradicted |= state[above[a]] & _ABSENT
                if state[j] & _PRESENT:
                    present += 1
                elif contradicted:
                    held_back += 1
                else:
                    added[num] = j
                    num += 1
                state[j] |= _DONE
        for at in range(start, end):
            state[classes[at]] = 0
            for k in range(indptr[classes[at]], indptr[classes[at] + 1]):
                state[implied[k]] = 0
        added_offsets[row + 1] = num
    return present, held_back


@compiled
def _merge(given: Closed, brought: Closed, out: Closed) -> int:
    """Fill `out` with the labels of both in each row. How many are ancestors that were not positive before."""
    num, ancestors = 0, 0
    for row in range(len(given.offsets) - 1):
        i, j = given.offsets[row], brought.offsets[row]
        end_i, end_j = given.offsets[row + 1], brought.offsets[row + 1]
        while i < end_i or j < end_j:
            is_given = j == end_j or (i < end_i and given.classes[i] <= brought.classes[j])
            is_brought = i == end_i or (j < end_j and brought.classes[j] <= given.classes[i])
            if is_given:
                out.classes[num] = given.classes[i]
                out.confidences[num] = given.confidences[i]
                out.origins[num] = given.origins[i]
            if is_brought and is_given and given.confidences[i] > 0:
                out.confidences[num] = max(given.confidences[i], brought.confidences[j])
            elif is_brought:  # not there, or unknown
                out.classes[num] = brought.classes[j]
                out.confidences[num] = brought.confidences[j]
                out.origins[num] = brought.origins[j]
                ancestors += brought.origins[j] == ANCESTOR
            i, j, num = i + is_given, j + is_brought, num + 1
        out.offsets[row + 1] = num
    return ancestors
