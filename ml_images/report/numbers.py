"""The content of report.json: every number of the page in plain JSON types, with the denominator in a share's name."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_images.outcomes import BY_NAME
from ml_images.report.contents import Lines, Report, Training
from ml_images.report.funnel import by_weight, funnel
from ml_images.schemas import SPLITS

# Rows in the tables of the most frequent and of the rarest classes: two screens of them say enough.
NUM_LISTED_CLASSES = 15

# A line may be megabytes long, an example need not.
MAX_EXAMPLE_CHARACTERS = 300


def report_json(report: Report) -> dict[str, Any]:
    """`report` as a dict of JSON types, NaN as None; parts that it lacks have no key. ValueError as in `funnel`."""
    numbers: dict[str, Any] = {"title": report.title}
    if report.written is not None:
        numbers["written"] = report.written
    numbers["funnel"] = [
        {
            "of": stage.whole,
            "total": int(stage.total),
            "parts": {name: int(count) for name, count in stage.parts},
            "kept": [name for name, _ in stage.parts[: stage.kept]],
        }
        for stage in funnel(report)
    ]
    if report.lines is not None:
        numbers["lines"] = _lines(report.lines)
    if report.keys is not None:
        numbers["keys"] = int(report.keys)
    if report.outcomes is not None:
        numbers["images"] = _images(report.outcomes)
    if report.dataset is not None:
        per_split = {split: int(report.dataset.rows_per_split.get(split, 0)) for split in SPLITS}
        numbers["dataset"] = {"rows": sum(per_split.values()), "rows_per_split": per_split}
        numbers["dataset"]["left_out"] = {why: int(count) for why, count in report.dataset.left_out.items()}
    numbers["labels"] = dict(report.statistics)
    numbers["most_frequent_classes"], numbers["rarest_classes"] = _listed_classes(report)
    numbers["depths"] = depths(report)
    if report.training is not None:
        numbers["training"] = _training(report.training)
    for name in ("configuration", "versions"):
        mapping = getattr(report, name)
        if mapping is not None:
            numbers[name] = dict(mapping)
    return numbers


def depths(report: Report) -> list[dict[str, int]]:
    """For each depth of the hierarchy (edges to a root): its classes, and the present labels that name one of them."""
    depth = report.vocabulary["depth"].to_numpy()
    classes = np.bincount(depth)
    labels = np.zeros(len(classes), np.int64)
    np.add.at(labels, depth, report.images_per_class)
    return [{"depth": d, "classes": int(classes[d]), "labels": int(labels[d])} for d in range(len(classes))]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _lines(lines: Lines) -> dict[str, Any]:
    rejected = sum(reject.count for reject in lines.rejects)
    return {
        "read": int(lines.read),
        "accepted": int(lines.labels),
        "rejected": int(rejected),
        "rejected_share_of_lines_read": _share(rejected, lines.read),
        "rejects": [
            {
                "reason": reject.reason,
                "count": int(reject.count),
                "share_of_rejected_lines": _share(reject.count, rejected),
                "example": {
                    "source": reject.source,
                    "line": int(reject.line),
                    "text": reject.text[:MAX_EXAMPLE_CHARACTERS],
                    "characters": len(reject.text),
                },
            }
            for reject in sorted(lines.rejects, key=lambda reject: (-reject.count, reject.reason))
        ],
    }


def _images(counts: Mapping[str, int]) -> dict[str, Any]:
    keys = sum(counts.values())
    ok = counts.get("ok", 0)
    return {
        "keys": int(keys),
        "ok": int(ok),
        "ok_share_of_keys": _share(ok, keys),
        "lost": int(keys - ok),
        "lost_share_of_keys": _share(keys - ok, keys),
        "outcomes": [
            {
                "outcome": name,
                "count": int(counts[name]),
                "share_of_keys": _share(counts[name], keys),
                "retryable": BY_NAME[name].retryable,
                "meaning": BY_NAME[name].meaning,
            }
            for name in by_weight(counts)
        ],
    }


def _listed_classes(report: Report) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The most frequent classes, and of the others with images the rarest; ties by class."""
    counts = report.images_per_class
    by_frequency = np.argsort(-counts, kind="stable")
    top = by_frequency[:NUM_LISTED_CLASSES]
    top = top[counts[top] > 0]
    others = np.sort(by_frequency[len(top) :])
    others = others[counts[others] > 0]
    rarest = others[np.argsort(counts[others], kind="stable")][:NUM_LISTED_CLASSES]
    rows = int(report.statistics["rows"])

    def described(listed: np.ndarray) -> list[dict[str, Any]]:
        columns = report.vocabulary.select(["class", "id", "names", "depth"]).take(listed).to_pylist()
        images = counts[listed].tolist()
        return [
            {**row, "images": count, "share_of_rows": _share(count, rows)}
            for row, count in zip(columns, images, strict=True)
        ]

    return described(top), described(rarest)


def _training(training: Training) -> dict[str, Any]:
    points: list[dict[str, Any]] = [
        {"step": int(point.step), "loss": _finite(point.loss), "val_map": _finite(point.val_map)}
        for point in training.points
    ]
    measured = [(point["val_map"], -point["step"]) for point in points if point["val_map"] is not None]
    best_map, minus_step = max(measured, default=(None, None))  # of equal ones the earliest
    return {
        "last_step": points[-1]["step"] if points else None,
        "best_val_map": best_map,
        "best_val_map_step": -minus_step if minus_step is not None else None,
        "prior_val_map": _finite(training.prior_map),
        "points": points,
    }


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
