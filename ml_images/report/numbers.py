"""The content of report.json: every number of the page in plain JSON types, with the denominator in a share's name."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_images.labels.statistics import NO_SPLIT
from ml_images.outcomes import BY_NAME
from ml_images.report.contents import Lines, Report, Training
from ml_images.report.depths import depths, hierarchy
from ml_images.report.funnel import by_weight, funnel
from ml_images.schemas import SPLITS

# Rows in the tables of the most frequent and of the rarest classes: two screens of them say enough.
NUM_LISTED_CLASSES = 15

# Of the classes without images (342 of ML-Images, nearly all in a small sample) the least deep, which are the oddest.
NUM_LISTED_EMPTY = 60

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
    if report.outcomes is not None:
        numbers["images"] = _images(report.outcomes)
    if report.dataset is not None:
        per_split = {split: int(report.dataset.rows_per_split.get(split, 0)) for split in SPLITS}
        numbers["dataset"] = {"rows": sum(per_split.values()), "rows_per_split": per_split}
        numbers["dataset"]["left_out"] = {why: int(count) for why, count in report.dataset.left_out.items()}
    numbers["labels"] = dict(report.statistics)
    numbers["most_frequent_classes"], numbers["rarest_classes"] = _listed_classes(report)
    numbers["empty_classes"] = _empty_classes(report)
    numbers["hierarchy"] = hierarchy(report.vocabulary)
    numbers["depths"] = depths(report)
    numbers["readme"] = readme(report.statistics, numbers["hierarchy"])
    if report.training is not None:
        numbers["training"] = _training(report.training)
    for name in ("configuration", "versions"):
        mapping = getattr(report, name)
        if mapping is not None:
            numbers[name] = dict(mapping)
    return numbers


def readme(statistics: Mapping[str, Any], hierarchy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The quantities of the ML-Images README, each with what it is counted over, as its figures mix denominators."""
    splits = statistics["splits"]
    parts = [("all rows", statistics)]
    if len(splits) > 1:
        parts += [("rows in no split" if name == NO_SPLIT else f"{name} rows", part) for name, part in splits.items()]
    told: list[dict[str, Any]] = []

    def tell(quantity: str, value: float | None, over: str) -> None:
        told.append({"quantity": quantity, "value": value, "over": over})

    for name, part in parts:
        tell("images", part["rows"], name)
    for name, part in parts:
        tell("tags per image", part["tags_per_image"]["over_rows"]["mean"], f"labels of {name} / {name}")
    for name, part in parts:
        per_class = part["images_per_class"]["over_all_classes"]
        tell("images per class", per_class["mean"], f"labels of {name} / all {per_class['n']:,} classes")
    some = statistics["images_per_class"]["over_classes_with_images"]
    tell("images per class", some["mean"], f"labels of all rows / {some['n']:,} classes with images")
    tell("classes", statistics["classes"]["all"], "vocabulary")
    for name, part in parts:
        if name in ("all rows", "train rows"):
            tell("trainable classes", part["classes"]["more_than_100_images"], f"more than 100 images, {name}")
            tell("trainable classes", part["classes"]["at_least_100_images"], f"at least 100 images, {name}")
    tell("classes without images", statistics["classes"]["without_images"], "no present label in all rows")
    tell("roots of the hierarchy", len(hierarchy["roots"]), "classes without a parent")
    tell("longest way to a root", hierarchy["longest_path"], "edges")
    tell("mean depth", hierarchy["mean_depth_of_all"], "edges, over all classes")
    tell("mean depth", hierarchy["mean_depth_of_leaves"], f"edges, over {hierarchy['leaves']:,} leaves")
    return told


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _lines(lines: Lines) -> dict[str, Any]:
    rejected = sum(reject.count for reject in lines.rejects)
    return {
        "read": int(lines.read),
        "accepted": int(lines.labels + lines.merged),
        "rows": int(lines.labels),
        "merged": int(lines.merged),
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


def _empty_classes(report: Report) -> dict[str, Any]:
    """Classes without a present label; the first of them by depth are listed."""
    empty = np.flatnonzero(report.images_per_class == 0)
    depth = report.vocabulary["depth"].to_numpy()[empty]
    listed = empty[np.lexsort((empty, depth))][:NUM_LISTED_EMPTY]
    columns = report.vocabulary.select(["class", "id", "names", "depth"]).take(listed)
    return {"count": len(empty), "listed": columns.to_pylist()}


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
