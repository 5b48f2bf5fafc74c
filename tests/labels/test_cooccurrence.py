"""Against a dict of pairs, filled by two obvious loops."""

import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.labels import cooccurrence
from ml_images.labels.cooccurrence import PairCounts, rank_classes
from ml_images.labels.present import LabelLists

NUM_CLASSES = 9

Row = dict[int, float]
ROWS = st.lists(st.dictionaries(st.integers(0, 8), st.sampled_from([1.0, 0.8, 0.5, 0.0, -1.0])), max_size=12)


def to_lists(rows: list[Row], checked: bool = True) -> LabelLists:
    """As they come from Arrow: read-only."""
    classes = pa.array([list(row) for row in rows], pa.list_(pa.int32()))
    confidences = pa.array([conf for row in rows for conf in row.values()], pa.float32())
    unchecked = pa.array([], pa.float32())
    return LabelLists(
        classes.offsets.to_numpy(), classes.values.to_numpy(), (confidences if checked else unchecked).to_numpy()
    )


def slow(rows: list[Row], above: float) -> dict[tuple[int, int], int]:
    counts: Counter[tuple[int, int]] = Counter()
    for row in rows:
        present = [c for c, confidence in row.items() if np.float32(confidence) > np.float32(above)]
        counts.update((a, b) for a in present for b in present if a <= b)
    return dict(counts)


def count(
    rows: list[Row], above: float, bands: list[tuple[int, int]], ranked_by: list[Row]
) -> dict[tuple[int, int], int]:
    ranks = rank_classes(to_lists(ranked_by), NUM_CLASSES)
    found: list[tuple[tuple[int, int], int]] = []
    for first, end in bands:
        counts = PairCounts(ranks, first, end)
        for start in range(0, len(rows), 5):
            counts.add(to_lists(rows[start : start + 5]), above)
        assert counts.rows == len(rows)
        pieces = [list(zip(*(column.tolist() for column in piece), strict=True)) for piece in counts.cells()]
        cells = {(a, b): n for piece in pieces for a, b, n in piece}
        assert len(cells) == sum(map(len, pieces))
        classes, images = counts.images()
        assert dict(zip(classes.tolist(), images.tolist(), strict=True)) == {
            c: cells.get((c, c), 0) for c in classes.tolist()
        }
        found += cells.items()
    assert len(dict(found)) == len(found), "a pair is in two bands"
    return dict(found)


@given(ROWS, st.sampled_from([0.0, 0.5, 0.8]), st.sets(st.integers(1, 8)), ROWS)
def test_counts_are_those_of_the_obvious_loops_in_any_bands_and_ranks(
    rows: list[Row], above: float, cuts: set[int], ranked_by: list[Row]
) -> None:
    edges = [0, *sorted(cuts), NUM_CLASSES]
    bands = list(itertools.pairwise(edges))
    assert count(rows, above, bands, ranked_by) == slow(rows, above)


def test_a_known_answer() -> None:
    rows = [{0: 1.0, 2: 0.8, 5: 0.0}, {2: 1.0, 0: 1.0}, {5: 1.0, 2: -1.0}, {}]
    whole = [(0, NUM_CLASSES)]
    assert count(rows, 0.0, whole, rows) == {(0, 0): 2, (0, 2): 2, (2, 2): 2, (5, 5): 1}
    assert count(rows, 0.8, whole, rows) == {(0, 0): 2, (0, 2): 1, (2, 2): 1, (5, 5): 1}  # 0.8 is not above 0.8


def test_without_confidences_all_labels_count() -> None:
    counts = PairCounts(rank_classes(to_lists([]), NUM_CLASSES), 0, NUM_CLASSES)
    counts.add(to_lists([{1: 0.0, 3: -1.0}], checked=False), 0.0)
    assert sum(len(piece.counts) for piece in counts.cells()) == 3


def test_slices_of_a_table_count_only_their_rows() -> None:
    whole = pa.array([[0, 1], [2, 3], [4, 5]], pa.list_(pa.int32()))[1:2]
    lists = LabelLists(whole.offsets.to_numpy(), whole.values.to_numpy(), pa.array([], pa.float32()).to_numpy())
    counts = PairCounts(rank_classes(lists, NUM_CLASSES), 0, NUM_CLASSES)
    counts.add(lists, 0.0)
    assert sorted(c for piece in counts.cells() for c in piece.class_a.tolist()) == [2, 2, 3]


def test_ranks_go_from_the_most_frequent_class_to_the_rarest() -> None:
    ranks = rank_classes(to_lists([{3: 1.0, 7: 1.0}, {3: 1.0}, {3: 1.0, 0: 1.0}]), NUM_CLASSES)
    assert ranks.tolist()[3] == 0 and ranks.tolist()[0] == 1 and ranks.tolist()[7] == 2
    assert sorted(ranks.tolist()) == list(range(NUM_CLASSES))


@pytest.mark.parametrize("wrong", [-1, NUM_CLASSES, 2**31 - 1])
def test_a_class_outside_the_vocabulary_is_refused(wrong: int) -> None:
    lists = to_lists([{0: 1.0}, {1: 1.0, wrong: 1.0}])
    with pytest.raises(InputError, match=f"class {wrong} is unknown, expected 0 to 8"):
        PairCounts(rank_classes(lists, NUM_CLASSES), 0, NUM_CLASSES).add(lists, 0.0)


def test_a_class_given_twice_in_a_row_is_refused() -> None:
    classes = pa.array([[1, 4, 6, 4]], pa.list_(pa.int32()))
    lists = LabelLists(classes.offsets.to_numpy(), classes.values.to_numpy(), pa.array([], pa.float32()).to_numpy())
    with pytest.raises(InputError, match="class 4 twice"):
        PairCounts(rank_classes(lists, NUM_CLASSES), 0, NUM_CLASSES).add(lists, 0.0)


def test_more_rows_than_a_cell_can_count_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "_MAX_ROWS", 3)
    counts = PairCounts(rank_classes(to_lists([]), NUM_CLASSES), 0, NUM_CLASSES)
    counts.add(to_lists([{0: 1.0}] * 3), 0.0)
    with pytest.raises(InputError, match=r"raise spark\.default"):
        counts.add(to_lists([{0: 1.0}]), 0.0)


def test_cells_come_in_pieces_that_lose_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "_CELLS_AT_ONCE", 4)
    rows = [dict.fromkeys(range(NUM_CLASSES), 1.0)]
    counts = PairCounts(rank_classes(to_lists(rows), NUM_CLASSES), 0, NUM_CLASSES)
    counts.add(to_lists(rows), 0.0)
    pieces = list(counts.cells())
    assert len(pieces) > 4
    assert sum(len(piece.counts) for piece in pieces) == 45
