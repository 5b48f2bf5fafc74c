"""Partial counts of several tasks, summed by ranges of classes; no session is needed for it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ml_images.errors import StorageError
from ml_images.spark.pair_sums import plan_partials

Cell = tuple[int, int, int]


def columns(cells: list[Cell]) -> tuple[np.ndarray, ...]:
    return tuple(np.array([cell[i] for cell in cells], np.int32) for i in range(3))


@pytest.mark.parametrize("triangle", [True, False])
def test_counts_of_all_tasks_are_summed_in_all_ranges(triangle: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    partials = plan_partials(str(tmp_path), 12, triangle=triangle, tasks=5)
    assert len(partials.ranges) == 5
    wanted: Counter[tuple[int, int]] = Counter()
    for task in range(3):
        pieces = []
        for _ in range(2):  # a task hands its cells out in pieces, each unsorted
            pairs = [(a, b) for a in range(12) for b in range(a if triangle else 0, 12) if random.random() < 0.5]
            random.shuffle(pairs)
            cells = [(a, b, int(random.integers(1, 9))) for a, b in pairs]
            wanted.update({(a, b): n for a, b, n in cells})
            pieces.append(columns(cells))
        partials.write(task, pieces)
    partials.write(3, [])  # a task without rows
    partials.require(4)
    found: list[Cell] = []
    for task in partials.sum_tasks():
        for piece in partials.sum(task["number"]).pieces():
            found += zip(*(column.tolist() for column in piece), strict=True)
    assert found == sorted((a, b, n) for (a, b), n in wanted.items())


def test_a_task_that_runs_twice_counts_once(tmp_path: Path) -> None:
    partials = plan_partials(str(tmp_path), 3, triangle=True, tasks=1)
    for _ in range(2):
        partials.write(0, [columns([(0, 1, 5)])])
    assert [piece.counts.tolist() for piece in partials.sum(0).pieces()] == [[5]]


def test_what_an_earlier_run_left_is_removed_and_missing_counts_are_noticed(tmp_path: Path) -> None:
    partials = plan_partials(str(tmp_path / "partials"), 3, triangle=True, tasks=1)
    partials.clear()  # where there is nothing yet
    partials.write(7, [columns([(0, 1, 5)])])
    partials.clear()
    with pytest.raises(StorageError, match=r"wrote 1 counts .*, 0 are there"):
        partials.require(1)
