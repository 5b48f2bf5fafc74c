"""What the CIFAR-10 runs came to: goals, the two networks beside each other, as tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from cifar10_lists import OPEN_PERCENT, UNSURE
from measurements import Goal

from ml_images.hierarchy.vocabulary import Vocabulary

CLOSURES = ("closed_max", "as_released")  # of the training labels
VIEWS = (1, 10)
LEAST_MAP, LEAST_TOP_1, MOST_MINUTES = 0.98, 0.93, 30

_METHOD = """{train:,} training and {val:,} validation pictures of 32 x 32, JPEG of quality 75 with halved colours, not
encoded again. A list says one class a picture; {open} of 100 rows with confidence {unsure}, the others with 1. Closed
under the hierarchy that is {classes} classes, of which {scored} are scored (the others are on every picture). Training:
conf/train/cifar10_smoke.yaml{words}, one process, {cores} cores. Both networks are evaluated against the same closed
labels. Views: the picture alone, or ten: it, four a little beside it, and their mirror images. Top-1 is among the ten
leaves. Training is the whole of train.py, with its start, its evaluations and checkpoints."""


@dataclass(frozen=True)
class Found:
    """words: what was asked for beside the experiment's file; seconds: of each step; histories: of the training runs;
    evaluations: what `evaluated` says, by closure and views."""

    words: Sequence[str]
    cores: int
    train_images: int
    seconds: Mapping[str, float]
    histories: Mapping[str, Sequence[Mapping[str, Any]]]
    evaluations: Mapping[str, Mapping[int, Mapping[str, Any]]]


def evaluated(output: Path, vocabulary: Vocabulary) -> dict[str, Any]:
    """The numbers of an output of jobs/evaluate.py that are told here."""
    (evaluation,) = json.loads((output / "report.json").read_text())["evaluations"]
    report = evaluation["report"]
    return {
        "macro_map": report["mean_average_precision"],
        "micro_map": report["micro_average_precision"],
        "top_1": report["single_label"]["top_1"],
        "calibration_error": report["calibration"]["expected_error"],
        "classes": report["classes"]["all"],
        "scored": report["classes"]["scored"],
        "images": report["images"],
        "map_of": map_by_place(pq.read_table(output / "per_class")["average_precision"].to_pylist(), vocabulary),
    }


def map_by_place(precisions: Sequence[float | None], vocabulary: Vocabulary) -> dict[str, float]:
    """Mean average precision of the leaves, of the classes directly above these, and of all that are higher; of those
    that are scored."""
    parents = vocabulary.parents
    inner = {parent for above in parents for parent in above}
    leaves = set(range(vocabulary.num_classes)) - inner
    direct = {parent for leaf in leaves for parent in parents[leaf]}
    places = {"leaves": leaves, "direct parents": direct, "higher": inner - direct}
    return {
        place: float(np.mean([value for class_ in classes if (value := precisions[class_]) is not None]))
        for place, classes in places.items()
    }


def goals_of(closed: Mapping[int, Mapping[str, Any]], training_s: float) -> list[Goal]:
    def both(name: str) -> str:
        return ", ".join(f"{closed[views][name]:.4f} ({views} view{'s' if views > 1 else ''})" for views in VIEWS)

    best = closed[max(VIEWS)]
    minutes = training_s / 60
    return [
        Goal(f"macro mAP at least {LEAST_MAP}", both("macro_map"), best["macro_map"] >= LEAST_MAP),
        Goal(f"leaf top-1 at least {LEAST_TOP_1}", both("top_1"), best["top_1"] >= LEAST_TOP_1),
        Goal(f"in {MOST_MINUTES} minutes of training", f"{minutes:.1f} minutes", minutes <= MOST_MINUTES),
    ]


def to_markdown(found: Found, goals: Sequence[Goal], machine: Mapping[str, str], picture: str, day: str) -> str:
    """The whole report; `picture`: where the curves lie, seen from it."""
    first = found.evaluations[CLOSURES[0]][VIEWS[0]]
    method = _METHOD.format(
        train=found.train_images,
        val=first["images"],
        open=OPEN_PERCENT,
        unsure=UNSURE,
        classes=first["classes"],
        scored=first["scored"],
        words=f" with {' '.join(found.words)}" if found.words else "",
        cores=found.cores,
    )
    told_goals = [(goal.what, goal.found, "yes" if goal.met else "NO") for goal in goals]
    parts = [
        f"# CIFAR-10 with Tencent's labels, {day}",
        method,
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        f"![mAP and top-1 after each evaluated epoch, closed and open training labels]({picture})",
        "## Goals",
        _table(("goal", "found", "met"), told_goals),
        "## What closing the labels buys",
        _networks(found),
        "## Training",
        _runs(found),
        "## Seconds of each step",
        _table(("step", "seconds"), [(name, f"{value:.0f}") for name, value in found.seconds.items()]),
    ]
    return "\n\n".join(parts) + "\n"


def _networks(found: Found) -> str:
    rows, places = [], list[str]()
    for closure, evaluations in found.evaluations.items():
        for views, one in evaluations.items():
            places = [f"of {place}" for place in one["map_of"]]
            names = ("micro_map", "top_1", "calibration_error")
            numbers = [one["macro_map"], *one["map_of"].values(), *(one[name] for name in names)]
            rows.append((closure, str(views), *(f"{number:.4f}" for number in numbers)))
    told = ("mAP over all cells", "top-1", "calibration error")
    return _table(("training labels", "views", "macro mAP", *places, *told), rows)


def _runs(found: Found) -> str:
    rows = []
    for closure, history in found.histories.items():
        rate = np.median([record["images_per_s"] for record in history])
        waited = sum(record["waited_s"] for record in history) / sum(record["elapsed_s"] for record in history)
        minutes = found.seconds[f"train-{closure}"] / 60
        numbers = (f"{minutes:.1f}", f"{rate:,.0f}", f"{waited:.1%}", f"{history[-1]['loss']:.4f}")
        rows.append((closure, str(len(history)), *numbers))
    head = ("training labels", "epochs", "minutes", "images/s, median epoch", "waited for data", "training loss")
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
