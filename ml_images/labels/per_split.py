"""How many images of each split (or fold) have each label, and which labels a split lacks altogether."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images import schemas
from ml_images.compiled import compiled

Int64 = npt.NDArray[np.int64]

_NAMED = 5


@compiled
def add_present(
    offsets: Int64, classes: npt.NDArray[np.int32], confidences: npt.NDArray[np.float32], rows: Int64, counts: Int64
) -> None:
    """Add to counts, int64 (splits, classes), the labels with a confidence above 0; row r is of split rows[r]."""
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            if confidences[i] > 0:
                counts[rows[row], classes[i]] += 1


def per_split_table(counts: Mapping[str, Int64]) -> pa.Table:
    """By schemas.LABELS_PER_SPLIT, a row for each class and split, by class."""
    num_classes = len(next(iter(counts.values())))
    columns = [
        np.repeat(np.arange(num_classes, dtype=np.int32), len(counts)),
        list(counts) * num_classes,
        np.stack(list(counts.values()), axis=1).ravel(),
    ]
    return pa.table(columns, schema=schemas.LABELS_PER_SPLIT)


def lacking(counts: Mapping[str, Int64], vocabulary: pa.Table) -> dict[str, dict[str, Any]]:
    """For each split how many labels that have images have none in it, and the names of some: the most frequent."""
    total = np.sum(list(counts.values()), axis=0)
    found = {}
    for split, images in counts.items():
        missing = np.flatnonzero((images == 0) & (total > 0))
        frequent = missing[np.argsort(-total[missing], kind="stable")][:_NAMED]
        found[split] = {"labels": len(missing), "such_as": [_name(vocabulary, int(label)) for label in frequent]}
    return found


def warnings(missing: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each split that lacks labels."""
    return [
        f"{told['labels']:,} labels that have images have none in {split}, such as {', '.join(told['such_as'])}"
        for split, told in missing.items()
        if told["labels"]
    ]


def _name(vocabulary: pa.Table, label: int) -> str:
    names = vocabulary["names"][label].as_py()
    return str(names[0] if names else vocabulary["id"][label].as_py())
