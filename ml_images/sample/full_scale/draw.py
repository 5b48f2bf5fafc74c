"""The tags of generated rows: source tags by chance, and what the rule of the published rows makes of them.

Source tags of a row are drawn one after the other, independently: a class by weight, sure ("1", "1.0") or not ("0.9",
"0.8"). How many of each is a mixture over pairs (unsure, sure). The rule (found on all 100 published rows): a sure tag
brings itself and all its ancestors, an unsure one itself and its direct parents, each with its own confidence; a class
that is there already is skipped. A row of the ImageNet list is the same thing with one sure tag.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled
from ml_images.sample.full_scale.chance import unit

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
UInt8 = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]

CONFIDENCES = ("1", "1.0", "0.9", "0.8")  # as written; a tag holds its position in here
NUM_SURE = 2  # the first two


@dataclass(frozen=True, eq=False)
class Upward:
    """Above class c: `ancestors[ancestors_indptr[c]:...[c + 1]]`, nearest first, and likewise its direct parents."""

    ancestors_indptr: Int64  # (classes + 1)
    ancestors: Int32
    parents_indptr: Int64
    parents: Int32

    @property
    def num_classes(self) -> int:
        return len(self.parents_indptr) - 1


@dataclass(frozen=True, eq=False)
class Seeding:
    """How the source tags of a list's rows are drawn."""

    class_edges: Float64  # (classes) cumulative shares; class c is drawn by a number in [edges[c - 1], edges[c])
    mixture_edges: Float64  # (parts) likewise
    unsure: Int64  # (parts) unsure source tags of a row
    sure: Int64  # (parts)
    literal_edges: Float64  # (2) share of "1" among the sure, of "0.9" among the unsure


@dataclass(frozen=True, eq=False)
class Tags:
    """Row r has `classes[offsets[r]:offsets[r + 1]]`; `literals` are positions in CONFIDENCES."""

    offsets: Int64
    classes: Int32
    literals: UInt8


def upward(parents: Sequence[Sequence[int]]) -> Upward:
    """The hierarchy as arrays; parents[c] are the direct parents of class c, free of cycles."""
    return Upward(*_flat([_nearest_first(parents, c) for c in range(len(parents))]), *_flat(parents))


def edges(weights: Float64) -> Float64:
    """Cumulative shares that end at exactly 1, also where the last weights are 0."""
    total = np.cumsum(weights)
    return total / total[-1]


def draw_seeds(seeding: Seeding, key: np.uint64, first: int, rows: int) -> Tags:
    """The source tags of the rows first .. first + rows - 1."""
    return Tags(
        *_draw_seeds(
            key,
            first,
            rows,
            seeding.class_edges,
            seeding.mixture_edges,
            seeding.unsure,
            seeding.sure,
            seeding.literal_edges,
        )
    )


def release(seeds: Tags, above: Upward) -> Tags:
    """The tags that are written for these source tags."""
    return Tags(
        *_release(
            seeds.offsets,
            seeds.classes,
            seeds.literals,
            above.ancestors_indptr,
            above.ancestors,
            above.parents_indptr,
            above.parents,
        )
    )


def closed_counts(tags: Tags, kept: npt.NDArray[np.bool_], above: Upward) -> Int64:
    """Images of each class if every row in `kept` had all ancestors of its tags. (classes,)"""
    return _closed_counts(tags.offsets, tags.classes, kept, above.ancestors_indptr, above.ancestors)


def _nearest_first(parents: Sequence[Sequence[int]], c: int) -> list[int]:
    found: dict[int, None] = {}
    level = list(parents[c])
    while level:
        found.update(dict.fromkeys(level))
        level = [grandparent for parent in dict.fromkeys(level) for grandparent in parents[parent]]
    return list(found)


def _flat(lists: Sequence[Sequence[int]]) -> tuple[Int64, Int32]:
    indptr = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(items) for items in lists], out=indptr[1:])
    return indptr, np.array([item for items in lists for item in items], np.int32)


@compiled
def _draw_seeds(
    key: np.uint64,
    first: int,
    rows: int,
    class_edges: Float64,
    mixture_edges: Float64,
    unsure: Int64,
    sure: Int64,
    literal_edges: Float64,
) -> tuple[Int64, Int32, UInt8]:
    most = (unsure + sure).max()
    offsets = np.empty(rows + 1, np.int64)
    classes = np.empty(rows * most, np.int32)
    literals = np.empty(rows * most, np.uint8)
    offsets[0] = 0
    at = 0
    for r in range(rows):
        part = np.searchsorted(mixture_edges, unit(key, first + r, 0), side="right")
        left, sure_left = unsure[part] + sure[part], sure[part]
        draw = 1
        while left > 0:
            classes[at] = np.searchsorted(class_edges, unit(key, first + r, draw), side="right")
            is_sure = unit(key, first + r, draw + 1) * left < sure_left
            other = unit(key, first + r, draw + 2) >= literal_edges[0 if is_sure else 1]
            literals[at] = (0 if is_sure else NUM_SURE) + other
            sure_left -= is_sure
            left -= 1
            draw += 3
            at += 1
        offsets[r + 1] = at
    return offsets, classes[:at].copy(), literals[:at].copy()


@compiled
def _release(
    offsets: Int64,
    classes: Int32,
    literals: UInt8,
    ancestors_indptr: Int64,
    ancestors: Int32,
    parents_indptr: Int64,
    parents: Int32,
) -> tuple[Int64, Int32, UInt8]:
    rows = len(offsets) - 1
    most = 0
    for t in range(len(classes)):
        indptr = ancestors_indptr if literals[t] < NUM_SURE else parents_indptr
        most += 1 + indptr[classes[t] + 1] - indptr[classes[t]]
    out_offsets = np.empty(rows + 1, np.int64)
    out_classes = np.empty(most, np.int32)
    out_literals = np.empty(most, np.uint8)
    seen_in = np.full(len(parents_indptr) - 1, -1, np.int64)  # the last row that has the class
    out_offsets[0] = 0
    at = 0
    for r in range(rows):
        for t in range(offsets[r], offsets[r + 1]):
            c = classes[t]
            if seen_in[c] != r:
                seen_in[c] = r
                out_classes[at] = c
                out_literals[at] = literals[t]
                at += 1
            if literals[t] < NUM_SURE:
                indptr, indices = ancestors_indptr, ancestors
            else:
                indptr, indices = parents_indptr, parents
            for a in range(indptr[c], indptr[c + 1]):
                implied = indices[a]
                if seen_in[implied] != r:
                    seen_in[implied] = r
                    out_classes[at] = implied
                    out_literals[at] = literals[t]
                    at += 1
        out_offsets[r + 1] = at
    return out_offsets, out_classes[:at].copy(), out_literals[:at].copy()


@compiled
def _closed_counts(
    offsets: Int64, classes: Int32, kept: npt.NDArray[np.bool_], ancestors_indptr: Int64, ancestors: Int32
) -> Int64:
    counts = np.zeros(len(ancestors_indptr) - 1, np.int64)
    seen_in = np.full(len(counts), -1, np.int64)
    for r in range(len(offsets) - 1):
        if not kept[r]:
            continue
        for t in range(offsets[r], offsets[r + 1]):
            c = classes[t]
            if seen_in[c] != r:
                seen_in[c] = r
                counts[c] += 1
            for a in range(ancestors_indptr[c], ancestors_indptr[c + 1]):
                implied = ancestors[a]
                if seen_in[implied] != r:
                    seen_in[implied] = r
                    counts[implied] += 1
    return counts
