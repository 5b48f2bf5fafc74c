"""What goes into a report: plain numbers, a few examples, thumbnails. A part that is None has no section."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ml_images import outcomes
from ml_images.schemas import SPLITS


@dataclass(frozen=True)
class Reject:
    """All lines rejected for one reason, with one of them as the example."""

    reason: str
    count: int
    source: str
    line: int  # 1-based
    text: str


@dataclass(frozen=True)
class Lines:
    """What became of the lines of the annotation lists."""

    read: int
    labels: int  # rows of the labels table
    rejects: tuple[Reject, ...]  # one for each reason that occurred
    merged: int = 0  # lines whose labels went into the row of an earlier line with the same key


@dataclass(frozen=True)
class Dataset:
    """What became of the verified images."""

    rows_per_split: Mapping[str, int]  # schemas.SPLITS -> rows
    left_out: Mapping[str, int]  # why a verified image is in no split -> images

    def __post_init__(self) -> None:
        unknown = sorted(set(self.rows_per_split) - set(SPLITS))
        if unknown:
            raise ValueError(f"split {unknown[0]!r} is unknown, expected one of {', '.join(SPLITS)}")


@dataclass(frozen=True)
class TrainingPoint:
    """One entry of the training log. NaN stands for a value that was not finite."""

    step: int
    loss: float | None = None
    val_map: float | None = None  # masked mean average precision on the validation split, 0 to 1


@dataclass(frozen=True)
class Training:
    points: tuple[TrainingPoint, ...]  # by ascending step
    prior_map: float | None  # val mAP of scores that do not look at the image: a class's own share of positives


@dataclass(frozen=True)
class Thumbnail:
    key: str
    jpeg: bytes
    labels: tuple[str, ...]  # class names, the most specific first

    def __post_init__(self) -> None:
        if not self.jpeg.startswith(b"\xff\xd8"):
            raise ValueError(f"thumbnail {self.key!r} is not a JPEG: it starts with {self.jpeg[:4]!r}")


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that the page and report.json show.

    statistics, labels_per_class and tags_per_image are those of one LabelStatistics (`result()` and its two arrays).
    Which totals must agree is checked where they are laid side by side, in funnel.py.
    """

    title: str
    vocabulary: pa.Table  # schemas.VOCABULARY, row number = class
    statistics: Mapping[str, Any]
    labels_per_class: np.ndarray  # int64 (classes, origins), present labels
    tags_per_image: np.ndarray  # int64 (most tags + 1,), rows by number of tags
    lines: Lines | None = None
    outcomes: Mapping[str, int] | None = None  # name in ml_images.outcomes -> keys of the labels table
    dataset: Dataset | None = None
    training: Training | None = None
    thumbnails: tuple[Thumbnail, ...] = ()
    written: str | None = None  # when and by which commit, as the page shall say it
    configuration: Mapping[str, Any] | None = None  # JSON types
    versions: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.outcomes or ()) - set(outcomes.BY_NAME))
        if unknown:
            raise ValueError(f"outcome {unknown[0]!r} is unknown, expected one of {', '.join(outcomes.BY_NAME)}")

    @property
    def images_per_class(self) -> np.ndarray:
        """int64 (classes,): rows in which the class is present."""
        counts: np.ndarray = self.labels_per_class.sum(axis=1)
        return counts
