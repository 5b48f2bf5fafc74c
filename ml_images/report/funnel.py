"""What happened to every row, as stages whose parts must add up. A report that loses a row is refused, not drawn."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml_images.outcomes import BY_NAME
from ml_images.report.contents import Report
from ml_images.schemas import SPLITS


@dataclass(frozen=True)
class Stage:
    """`total` things called `whole` and what became of them; the first `kept` parts go on to the next stage."""

    whole: str
    total: int
    kept: int
    parts: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        for name, count in self.parts:
            if count < 0:
                raise ValueError(f"{self.whole}: {name} is {count:,} of {self.total:,}, a count cannot be negative")
        found = sum(count for _, count in self.parts)
        if found != self.total:
            listed = " + ".join(f"{name} {count:,}" for name, count in self.parts)
            raise ValueError(f"{self.whole}: {self.total:,} do not equal the sum of their parts {found:,} ({listed})")


def funnel(report: Report) -> tuple[Stage, ...]:
    """The stages for which `report` has numbers, from lines to data set rows; ValueError where two sides differ."""
    _check_statistics(report)
    rows = int(report.statistics["rows"])
    stages = []
    if report.lines is not None:
        lines = report.lines
        rejected = sum(reject.count for reject in lines.rejects)
        parts = (("rows of labels", lines.labels), ("merged into another row of the same key", lines.merged))
        stages.append(Stage("lines read", lines.read, 2, (*parts, ("rejected lines", rejected))))
        _check_equal("rows of labels that annotate wrote", lines.labels, "rows of labels counted", rows)
    if report.outcomes is not None:
        found = tuple((name, report.outcomes[name]) for name in by_weight(report.outcomes))
        stages.append(Stage("rows of labels, one a key", rows, int(report.outcomes.get("ok", 0) > 0), found))
    if report.outcomes is not None and report.dataset is not None:
        splits = tuple((name, report.dataset.rows_per_split.get(name, 0)) for name in SPLITS)
        left_out = tuple(report.dataset.left_out.items())
        stages.append(Stage("verified images", report.outcomes.get("ok", 0), len(splits), splits + left_out))
    return tuple(stages)


def by_weight(outcomes: Mapping[str, int]) -> list[str]:
    """The outcomes that occurred: ok first, then the most frequent, ties in the order of the closed list."""
    return sorted((name for name in BY_NAME if outcomes.get(name)), key=lambda name: (name != "ok", -outcomes[name]))


def _check_statistics(report: Report) -> None:
    """The arrays, the vocabulary and the summary must tell of the same labels."""
    statistics = report.statistics
    tags = report.tags_per_image
    _check_equal("classes of the vocabulary", len(report.vocabulary), "classes counted", len(report.labels_per_class))
    _check_equal("rows in the statistics", statistics["rows"], "rows in tags_per_image", int(tags.sum()))
    present = statistics["labels"]["present"]
    _check_equal("present labels", present, "labels in labels_per_class", int(report.images_per_class.sum()))
    _check_equal("present labels", present, "labels in tags_per_image", int(tags @ np.arange(len(tags))))


def _check_equal(name_a: str, a: int, name_b: str, b: int) -> None:
    if a != b:
        raise ValueError(f"{name_a} and {name_b} must be equal, got {a:,} and {b:,}")
