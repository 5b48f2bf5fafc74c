from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.labels.stratify import stratify

NUM_CLASSES = 6

# (group, labels) of each row; small hashes are as good as any.
rows_of_groups = st.lists(
    st.tuples(st.integers(0, 25), st.lists(st.integers(0, NUM_CLASSES - 1), unique=True, max_size=4)), max_size=60
)


def folds_of(rows: list[tuple[int, list[int]]], folds: int) -> list[int]:
    offsets = np.cumsum([0, *(len(labels) for _, labels in rows)]).astype(np.int64)
    classes = np.array([label for _, labels in rows for label in labels], np.int32)
    items = np.array([item_hash(group) for group, _ in rows], np.uint64)
    return [int(fold) for fold in stratify(items, offsets, classes, NUM_CLASSES, folds)]


def item_hash(group: int) -> int:
    return (group * 0x9E3779B97F4A7C15 + 0xB7E151628AED2A6B) % 2**64


def slow_folds(rows: list[tuple[int, list[int]]], folds: int) -> list[int]:
    """Algorithm 1 of Sechidis et al. 2011, by desired numbers, an item (not a row) at a time."""
    items: dict[int, list[list[int]]] = defaultdict(list)
    for group, labels in rows:
        items[item_hash(group)].append(labels)
    wanted = [len(rows) / folds] * folds
    having = {label: sum(label in labels for _, labels in rows) for label in range(NUM_CLASSES)}
    wanted_of = {label: [having[label] / folds] * folds for label in range(NUM_CLASSES)}
    chosen: dict[int, int] = {}
    left = dict(sorted(items.items()))
    while left:
        counts = {
            label: sum(label in labels for each in left.values() for labels in each) for label in range(NUM_CLASSES)
        }
        label = min((label for label in counts if counts[label]), key=lambda label: counts[label], default=None)
        for item, each in list(left.items()):
            if label is not None and not any(label in labels for labels in each):
                continue

            def need(fold: int, label: int | None = label) -> tuple[float, ...]:
                of_label = () if label is None else (round(wanted_of[label][fold], 6),)
                return (*of_label, round(wanted[fold], 6))

            best = [fold for fold in range(folds) if need(fold) == max(map(need, range(folds)))]
            chosen[item] = best[item % len(best)]
            for labels in each:
                wanted[chosen[item]] -= 1
                for present in labels:
                    wanted_of[present][chosen[item]] -= 1
            del left[item]
    return [chosen[item_hash(group)] for group, _ in rows]


@given(rows_of_groups, st.integers(2, 5))
def test_folds_are_those_of_the_paper(rows: list[tuple[int, list[int]]], folds: int) -> None:
    assert folds_of(rows, folds) == slow_folds(rows, folds)


@given(rows_of_groups, st.integers(2, 5), st.randoms())
def test_groups_stay_together_and_the_order_of_rows_does_not_matter(rows, folds, random) -> None:
    found = folds_of(rows, folds)
    assert all(0 <= fold < folds for fold in found)
    assert len({(group, fold) for (group, _), fold in zip(rows, found, strict=True)}) == len(
        {group for group, _ in rows}
    )
    order = random.sample(range(len(rows)), len(rows))
    assert folds_of([rows[row] for row in order], folds) == [found[row] for row in order]


def test_a_rare_label_gets_one_image_in_each_fold() -> None:
    rows = [(group, [0] if group < 5 else [1]) for group in range(100)]
    found = folds_of(rows, 5)
    assert sorted(found[:5]) == [0, 1, 2, 3, 4]
    assert [found.count(fold) for fold in range(5)] == [20] * 5


def test_labels_are_spread_more_evenly_than_by_chance() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 9, 4000)
    classes = np.concatenate([np.unique(rng.zipf(1.3, count) % 300) for count in lengths]).astype(np.int32)
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 9, 4000)
    per_row = [len(np.unique(rng.zipf(1.3, count) % 300)) for count in lengths]
    offsets = np.cumsum([0, *per_row]).astype(np.int64)
    items = rng.integers(0, 2**63, 4000).astype(np.uint64)

    def spread(folds: np.ndarray) -> float:
        counts = np.zeros((10, 300), np.int64)
        np.add.at(counts, (np.repeat(folds, per_row), classes), 1)
        return float((counts.max(axis=0) - counts.min(axis=0)).mean())

    assert spread(stratify(items, offsets, classes, 300, 10)) < spread(rng.integers(0, 10, 4000)) / 3


@pytest.mark.parametrize("folds", [2, 7])
def test_no_rows_and_rows_without_labels(folds: int) -> None:
    assert folds_of([], folds) == []
    found = folds_of([(group, []) for group in range(21)], folds)
    assert max(found.count(fold) for fold in range(folds)) - min(found.count(fold) for fold in range(folds)) <= 1
