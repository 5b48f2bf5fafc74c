"""What is counted about labels, and over which denominator each mean, quantile and Gini coefficient is taken.

A label is present (confidence > 0), absent (0: verified to be missing) or unknown (-1). Tags per image and images per
class count present labels only. Counters add up: one pass, or many counters merged in any order, give equal numbers.

Everything is counted apart for each split, because the published figures mix them: ML-Images' tags per image is a mean
over its train rows, its images per class counts train and val. A list belongs to the split that its file name begins
with (train_urls.txt, val-2.txt, validation-annotations.csv, train1.txt), or its folder (val/part-0.txt), or to none.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images.labels.counting import add_labels, add_present, check_labels
from ml_images.labels.rows import LabelRows, read_rows
from ml_images.labels.summary import summarize
from ml_images.schemas import SPLITS

ORIGINS = ("given", "ancestor", "cooccurrence", "prediction", "review")  # names of schemas.GIVEN ... schemas.REVIEW
STATES = ("present", "absent", "unknown")
NO_SPLIT = "no split"
GROUPS = (*SPLITS, NO_SPLIT)

_OTHER_NAMES = {"training": "train", "validation": "val", "testing": "test"}

# The ML-Images README trains classes with more than 100 images (10,505 of them; "at least 100" would be 10,508).
TRAINABLE_ABOVE = 100


def split_of(source: str) -> str:
    """The split that a list's file name begins with, or else the folder that it lies in; NO_SPLIT without either."""
    for name in reversed(source.lower().split("/")[-2:]):
        word = re.split(r"[^a-z]", name, maxsplit=1)[0]
        word = _OTHER_NAMES.get(word, word)
        if word in SPLITS:
            return word
    return NO_SPLIT


class LabelStatistics:
    """Counters over rows of the labels table (schemas.LABELS).

    present: int64 (len(GROUPS), num_classes, len(ORIGINS)), present labels by split, class and what put them there.
    not_present: int64 (len(ORIGINS), 2), labels that are absent and that are unknown.
    tags: int64 (len(GROUPS), num_classes + 1), rows by split and number of present labels.
    sources: rows and present labels of each list.
    seen: bool (num_classes) of each list, the classes that are present in some row of it.
    """

    def __init__(self, num_classes: int):
        self.present = np.zeros((len(GROUPS), num_classes, len(ORIGINS)), np.int64)
        self.not_present = np.zeros((len(ORIGINS), 2), np.int64)
        self.tags = np.zeros((len(GROUPS), num_classes + 1), np.int64)
        self.sources: dict[str, tuple[int, int]] = {}
        self.seen: dict[str, npt.NDArray[np.bool_]] = {}

    @property
    def num_classes(self) -> int:
        return self.present.shape[1]

    @property
    def rows(self) -> int:
        return int(self.tags.sum())

    @property
    def labels_per_class(self) -> npt.NDArray[np.int64]:
        """(num_classes, len(ORIGINS)): present labels by class and what put them there."""
        counts: npt.NDArray[np.int64] = self.present.sum(axis=0)
        return counts

    @property
    def images_per_class(self) -> npt.NDArray[np.int64]:
        """(num_classes,): rows in which the class is present."""
        counts: npt.NDArray[np.int64] = self.present.sum(axis=(0, 2))
        return counts

    @property
    def tags_per_image(self) -> npt.NDArray[np.int64]:
        """(most tags seen + 1,): rows by their number of present labels."""
        return _trimmed(self.tags.sum(axis=0))

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(len(ORIGINS), len(STATES)): labels by what put them there and by what they say."""
        return np.column_stack((self.present.sum(axis=(0, 1)), self.not_present))

    def update(self, rows: LabelRows) -> None:
        """Count some rows. InputError, and nothing counted, where they break the table's contract."""
        lists = (rows.offsets, rows.classes, rows.confidences, rows.origins)
        check_labels(*lists, self.num_classes, len(ORIGINS))
        named = rows.sources
        if not isinstance(named, pa.DictionaryArray):
            named = named.dictionary_encode()
        names = named.dictionary.to_pylist()
        groups = np.array([GROUPS.index(split_of(name)) for name in names], np.int64)
        found = np.zeros((len(names), 2), np.int64)
        seen = np.zeros((len(names), self.num_classes), np.uint8)
        row_sources = named.indices.to_numpy().astype(np.int64)
        if len(rows.confidences):
            add_labels(*lists, row_sources, groups, *self._arrays, found, seen)
        else:
            present = (rows.offsets, rows.classes, rows.origins)
            add_present(*present, row_sources, groups, self.present, self.tags, found, seen)
        for name, (count, labels), classes in zip(names, found.tolist(), seen.view(np.bool_), strict=True):
            self._add_source(name, count, labels, classes)

    def merge(self, other: "LabelStatistics") -> None:
        """Add what `other` counted over other rows and the same vocabulary."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"counters of {self.num_classes} and of {other.num_classes} classes do not merge")
        for mine, others in zip(self._arrays, other._arrays, strict=True):
            mine += others
        for source, (rows, labels) in other.sources.items():
            self._add_source(source, rows, labels, other.seen[source])

    @property
    def _arrays(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return self.present, self.not_present, self.tags

    def _add_source(self, source: str, rows: int, labels: int, seen: npt.NDArray[np.bool_]) -> None:
        if rows:  # a dictionary may name lists of which this batch has no row
            before = self.sources.get(source, (0, 0))
            self.sources[source] = (before[0] + rows, before[1] + labels)
            self.seen[source] = self.seen[source] | seen if source in self.seen else seen.copy()

    def to_json(self) -> str:
        """The counters as text (about 70 KB for 11,166 classes): how a Spark task hands its part to the driver."""
        present = {
            group: {origin: column.tolist() for origin, column in zip(ORIGINS, counts.T, strict=True) if column.any()}
            for group, counts in zip(GROUPS, self.present, strict=True)
        }
        return json.dumps(
            {
                "num_classes": self.num_classes,
                "present": present,
                "not_present": self.not_present.tolist(),
                "tags": {group: _trimmed(tags).tolist() for group, tags in zip(GROUPS, self.tags, strict=True)},
                "sources": dict(sorted(self.sources.items())),
                "seen": {source: np.packbits(seen).tobytes().hex() for source, seen in sorted(self.seen.items())},
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "LabelStatistics":
        """The counters that `to_json` wrote."""
        fields = json.loads(text)
        counters = cls(fields["num_classes"])
        for number, group in enumerate(GROUPS):
            for origin, counts in fields["present"][group].items():
                counters.present[number, :, ORIGINS.index(origin)] = counts
            counters.tags[number, : len(fields["tags"][group])] = fields["tags"][group]
        counters.not_present[:] = fields["not_present"]
        counters.sources = {source: (rows, labels) for source, (rows, labels) in fields["sources"].items()}
        for source, packed in fields["seen"].items():
            bits = np.frombuffer(bytes.fromhex(packed), np.uint8)
            counters.seen[source] = np.unpackbits(bits, count=counters.num_classes).astype(np.bool_)
        return counters

    def result(self) -> dict[str, Any]:
        """Every count and summary in plain JSON types; a summary's key names what it is taken over.

        `splits` has the same summaries over the rows of one split each, for those that have rows.
        """
        labels = self.labels
        splits = {
            group: _summaries(self.present[number].sum(axis=1), self.tags[number])
            for number, group in enumerate(GROUPS)
            if self.tags[number].any()
        }
        in_lists = {group: np.zeros(self.num_classes, np.int64) for group in GROUPS}
        for source, seen in self.seen.items():
            in_lists[split_of(source)] += seen
        sources = {
            source: {
                "split": (split := split_of(source)),
                "rows": rows,
                "labels": labels,
                "tags_per_image": labels / rows,
                "classes": int(self.seen[source].sum()),
                "classes_in_no_other_list_of_the_split": int((self.seen[source] & (in_lists[split] == 1)).sum()),
            }
            for source, (rows, labels) in sorted(self.sources.items())
        }
        return {
            **_summaries(self.images_per_class, self.tags_per_image),
            "labels": dict(zip(STATES, labels.sum(axis=0).tolist(), strict=True)),
            "labels_per_origin": {
                origin: dict(zip(STATES, states, strict=True))
                for origin, states in zip(ORIGINS, labels.tolist(), strict=True)
            },
            "splits": splits,
            "sources": sources,
        }


def count_parts(parts: Iterable[str], num_classes: int) -> LabelStatistics:
    """The statistics of some parts of a labels table; memory does not grow with their rows."""
    statistics = LabelStatistics(num_classes)
    for part in parts:
        for rows in read_rows(part):
            statistics.update(rows)
    return statistics


def _summaries(images_per_class: npt.NDArray[np.int64], rows_by_tags: npt.NDArray[np.int64]) -> dict[str, Any]:
    counts = images_per_class
    return {
        "rows": int(rows_by_tags.sum()),
        "tags_per_image": {"over_rows": summarize(np.arange(len(rows_by_tags)), rows_by_tags)},
        "images_per_class": {
            "over_all_classes": summarize(*np.unique(counts, return_counts=True)),
            "over_classes_with_images": summarize(*np.unique(counts[counts > 0], return_counts=True)),
        },
        "classes": {
            "all": len(counts),
            "with_images": int((counts > 0).sum()),
            "without_images": int((counts == 0).sum()),
            f"more_than_{TRAINABLE_ABOVE}_images": int((counts > TRAINABLE_ABOVE).sum()),
            f"at_least_{TRAINABLE_ABOVE}_images": int((counts >= TRAINABLE_ABOVE).sum()),
        },
    }


def _trimmed(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Without the zeros at the end; the first one stays."""
    return counts[: np.flatnonzero(counts)[-1] + 1 if counts.any() else 1]
