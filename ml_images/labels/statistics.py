"""What is counted about labels, and over which denominator each mean, quantile and Gini coefficient is taken.

A label is present (confidence > 0), absent (0: verified to be missing) or unknown (-1). Tags per image and images per
class count present labels only. Counters add up: one pass, or many counters merged in any order, give equal numbers.
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_images.errors import InputError
from ml_images.schemas import UNKNOWN

ORIGINS = ("given", "ancestor", "cooccurrence", "prediction", "review")  # names of schemas.GIVEN ... schemas.REVIEW
STATES = ("present", "absent", "unknown")
_PRESENT, _ABSENT, _UNKNOWN = range(len(STATES))

QUANTILES_PERCENT = (1, 10, 25, 50, 75, 90, 99)

# The ML-Images README trains classes with more than 100 images (10,505 of them; "at least 100" would be 10,508).
TRAINABLE_ABOVE = 100


class LabelStatistics:
    """Counters over batches of the labels table (schemas.LABELS).

    images_per_class: int64 (num_classes,), rows in which the class is present.
    tags_per_image: int64 (most tags seen + 1,), rows by their number of present labels.
    labels: int64 (len(ORIGINS), len(STATES)), labels by what put them there and by what they say.
    rows_per_source: rows by the list that they come from.
    """

    def __init__(self, num_classes: int):
        self.images_per_class = np.zeros(num_classes, np.int64)
        self.tags_per_image = np.zeros(1, np.int64)
        self.labels = np.zeros((len(ORIGINS), len(STATES)), np.int64)
        self.rows_per_source: dict[str, int] = {}

    @property
    def num_classes(self) -> int:
        return len(self.images_per_class)

    @property
    def rows(self) -> int:
        return int(self.tags_per_image.sum())

    def update(self, batch: pa.RecordBatch) -> None:
        """Count the rows of `batch`. InputError, and nothing counted, where they break the table's contract."""
        lists = {name: batch.column(name) for name in ("classes", "confidences", "origins")}
        lengths = pc.list_value_length(lists["classes"])
        for name, column in lists.items():
            if column.null_count or column.flatten().null_count:
                raise InputError(f"labels table: {name} has nulls; empty lists are accepted")
            if not pc.list_value_length(column).equals(lengths):
                raise InputError(f"labels table: {name} and classes must be lists of the same length in every row")
        classes, confidences, origins = (column.flatten().to_numpy() for column in lists.values())
        _check_range("class", classes, self.num_classes)
        _check_range("origin", origins, len(ORIGINS))

        present = confidences > 0
        states = np.where(present, _PRESENT, np.where(confidences == UNKNOWN, _UNKNOWN, _ABSENT)).astype(np.int8)
        odd = (present & (confidences > 1)) | ((states == _ABSENT) & (confidences != 0))
        if odd.any():
            raise InputError(f"labels table: confidences must be in [0, 1] or -1, got {confidences[odd][0]}")

        ends = np.cumsum(lengths.to_numpy())
        present_before = np.concatenate(([0], np.cumsum(present)))
        tags = present_before[ends] - present_before[np.concatenate(([0], ends))[:-1]]
        self.tags_per_image = _add_padded(self.tags_per_image, np.bincount(tags))
        self.images_per_class += np.bincount(classes[present], minlength=self.num_classes)
        pairs = np.bincount(origins * np.int8(len(STATES)) + states, minlength=self.labels.size)
        self.labels += pairs.reshape(self.labels.shape)
        for source in pc.value_counts(batch.column("source")).to_pylist():
            self._add_rows(source["values"], source["counts"])

    def merge(self, other: "LabelStatistics") -> None:
        """Add what `other` counted over other rows and the same vocabulary."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"counters of {self.num_classes} and of {other.num_classes} classes do not merge")
        self.images_per_class += other.images_per_class
        self.tags_per_image = _add_padded(self.tags_per_image, other.tags_per_image)
        self.labels += other.labels
        for source, rows in other.rows_per_source.items():
            self._add_rows(source, rows)

    def _add_rows(self, source: str, rows: int) -> None:
        self.rows_per_source[source] = self.rows_per_source.get(source, 0) + rows

    def to_json(self) -> str:
        """The counters as text (about 60 KB for 11,166 classes): how a Spark task hands its part to the driver."""
        return json.dumps(
            {
                "images_per_class": self.images_per_class.tolist(),
                "tags_per_image": self.tags_per_image.tolist(),
                "labels": self.labels.tolist(),
                "rows_per_source": dict(sorted(self.rows_per_source.items())),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "LabelStatistics":
        """The counters that `to_json` wrote."""
        fields = json.loads(text)
        counters = cls(len(fields["images_per_class"]))
        counters.images_per_class = np.array(fields["images_per_class"], np.int64)
        counters.tags_per_image = np.array(fields["tags_per_image"], np.int64)
        counters.labels = np.array(fields["labels"], np.int64)
        counters.rows_per_source = fields["rows_per_source"]
        return counters

    def result(self) -> dict[str, Any]:
        """Every count and summary in plain JSON types; a summary's key names what it is taken over."""
        counts = self.images_per_class
        return {
            "rows": self.rows,
            "rows_per_source": dict(sorted(self.rows_per_source.items())),
            "labels": dict(zip(STATES, self.labels.sum(axis=0).tolist(), strict=True)),
            "labels_per_origin": {
                origin: dict(zip(STATES, states, strict=True))
                for origin, states in zip(ORIGINS, self.labels.tolist(), strict=True)
            },
            "tags_per_image": {"over_rows": _summary(np.arange(len(self.tags_per_image)), self.tags_per_image)},
            "images_per_class": {
                "over_all_classes": _summary(*np.unique(counts, return_counts=True)),
                "over_classes_with_images": _summary(*np.unique(counts[counts > 0], return_counts=True)),
            },
            "classes": {
                "all": self.num_classes,
                "with_images": int((counts > 0).sum()),
                "without_images": int((counts == 0).sum()),
                f"more_than_{TRAINABLE_ABOVE}_images": int((counts > TRAINABLE_ABOVE).sum()),
                f"at_least_{TRAINABLE_ABOVE}_images": int((counts >= TRAINABLE_ABOVE).sum()),
            },
        }


def _check_range(name: str, values: np.ndarray, end: int) -> None:
    if len(values) and (values.min() < 0 or values.max() >= end):
        wrong = values.min() if values.min() < 0 else values.max()
        raise InputError(f"labels table: {name} {wrong} is unknown, expected 0 to {end - 1}")


def gini(values: np.ndarray, counts: np.ndarray) -> float:
    """Gini coefficient of `values` (ascending, not negative), each taken `counts` times: 0 all equal, to 1 one has all.

    One minus twice the area under the Lorenz curve (Gini 1912), by trapezoids. Their sum must not be 0.
    """
    held = np.concatenate(([0.0], np.cumsum(values * counts, dtype=np.float64)))
    return float(1 - np.sum(counts * (held[1:] + held[:-1])) / (counts.sum() * held[-1]))


def _summary(values: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """Summary of `values` (ascending), each taken `counts` times; everything is None where there is nothing to sum up.

    A quantile is the smallest value that at least that share of all does not exceed, so always one that occurs.
    """
    values, counts = values[counts > 0], counts[counts > 0]
    n, total = int(counts.sum()), int(values @ counts)
    cumulated = np.cumsum(counts)
    ranks = {percent: max(1, -(-percent * n // 100)) for percent in QUANTILES_PERCENT}  # 1 to n, rounded up
    return {
        "n": n,
        "total": total,
        "mean": total / n if n else None,
        "min": int(values[0]) if n else None,
        "max": int(values[-1]) if n else None,
        "quantiles": {
            str(percent / 100): int(values[np.searchsorted(cumulated, rank)]) if n else None
            for percent, rank in ranks.items()
        },
        "gini": gini(values, counts) if total else None,
    }


def _add_padded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b as int64, the shorter one filled up with zeros."""
    total = np.zeros(max(len(a), len(b)), np.int64)
    total[: len(a)] += a
    total[: len(b)] += b
    return total
