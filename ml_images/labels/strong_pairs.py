"""The ML-Images rule: which classes the images of a class have so often that all of its images are given them.

Paper (arXiv 1901.01703), as far as it is known: a network trained on one part of the images looks at the other; class
j counts as seen on an image where its score is above 0.95; CO(i, j) = images of class i with j seen / images of class
i; the pair is strong where CO(i, j) > 0.5 and neither class is an ancestor of the other (sea snake -> sea). Here both
counts are over the images that have predictions: an image that no network looked at says nothing about j.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ml_images import schemas
from ml_images.compiled import compiled
from ml_images.hierarchy.ancestors import Ancestors
from ml_images.hierarchy.common import on_one_path
from ml_images.labels.bands import cut_rows
from ml_images.labels.sums import Int32, Int64, Sums, row_lengths
from ml_images.options import option

BAND_CELLS = 1 << 26  # int32: 256 MiB of a worker's memory; 11,166 classes are 125 million cells, two bands
_CELLS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class StrongPairsConfig:
    score_above: float = option(0.95, "a class counts as seen where its score is above this (ML-Images: 0.95)")
    share_above: float = option(0.5, "of the images of a class that must show the other one (ML-Images: 0.5)")

    def __post_init__(self) -> None:
        for name in ("score_above", "share_above"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"strong.{name} is a share from 0 to below 1, got {getattr(self, name)}")


def select_strong(sums: Sums, images_per_class: Int64, ancestors: Ancestors, share_above: float) -> pa.Table:
    """By schemas.STRONG_PAIRS, in the order given: the pairs (class_a implies class_b) that the rule takes.

    sums: images of class_a on which class_b is seen; images_per_class: int64 (classes,), those with predictions.
    """
    images = images_per_class[sums.class_a]
    share = sums.counts / images
    taken = (share > share_above) & ~on_one_path(ancestors, sums.class_a, sums.class_b)
    a, b, counts = (column[taken] for column in sums)
    return pa.table([a, b, counts, images[taken], share[taken]], schema=schemas.STRONG_PAIRS)


def plan_bands(num_classes: int) -> list[tuple[int, int]]:
    """(first class, end) of the bands in which seen classes are counted."""
    return cut_rows(row_lengths(num_classes, triangle=False), BAND_CELLS)


class SeenCounts:
    """On how many images of each class in [first, end) each class of the vocabulary is seen."""

    def __init__(self, num_classes: int, first: int, end: int):
        self._first = first
        self._cells = np.zeros((end - first, num_classes), np.int32)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count rows of the columns `classes` and `seen`, each without duplicates in a row."""
        classes, seen = batch.column("classes"), batch.column("seen")
        assert not classes.flatten().null_count + seen.flatten().null_count
        _count(
            classes.offsets.to_numpy(),
            classes.values.to_numpy(),
            seen.offsets.to_numpy(),
            seen.values.to_numpy(),
            self._first,
            self._cells,
        )

    def cells(self) -> Iterator[tuple[Int32, Int32, Int32]]:
        """(classes, seen classes, counts) of the pairs that occurred, in pieces of bounded size."""
        rows, num_classes = self._cells.shape
        for start, end in cut_rows(np.full(rows, num_classes, np.int64), _CELLS_AT_ONCE):
            row, column = np.nonzero(self._cells[start:end])
            yield (
                (row + (self._first + start)).astype(np.int32),
                column.astype(np.int32),
                self._cells[start:end][row, column],
            )


@compiled
def _count(class_offsets: Int32, classes: Int32, seen_offsets: Int32, seen: Int32, first: int, cells: Int32) -> None:
    for row in range(len(class_offsets) - 1):
        for i in range(class_offsets[row], class_offsets[row + 1]):
            own = classes[i] - first
            if 0 <= own < len(cells):
                for j in range(seen_offsets[row], seen_offsets[row + 1]):
                    cells[own, seen[j]] += 1
