from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.labels import sums as module
from ml_images.labels.sums import PairSums, row_lengths

NUM_CLASSES = 7
CELL = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 2**40))


def add(sums: PairSums, cells: list[tuple[int, int, int]]) -> None:
    a, b, counts = (np.array([cell[i] for cell in cells], kind) for i, kind in enumerate("iil"))
    sums.add(a, b, counts)


@pytest.mark.parametrize("triangle", [True, False])
@given(cells=st.lists(CELL, max_size=30), cut=st.integers(1, 6), pieces=st.integers(1, 4))
def test_pieces_in_any_order_add_up_to_the_sorted_pairs(
    triangle: bool, cells: list[tuple[int, int, int]], cut: int, pieces: int
) -> None:
    cells = [(min(a, b), max(a, b), n) for a, b, n in cells] if triangle else cells
    wanted: Counter[tuple[int, int]] = Counter()
    for a, b, n in cells:
        wanted[a, b] += n
    found = []
    for first, end in ((0, cut), (cut, NUM_CLASSES)):
        sums = PairSums(row_lengths(NUM_CLASSES, triangle=triangle), first, end)
        mine = [cell for cell in cells if first <= cell[0] < end]
        for start in range(pieces):
            add(sums, mine[start::pieces])
        for piece in sums.pieces():
            found += list(zip(*(column.tolist() for column in piece), strict=True))
    assert found == sorted((a, b, n) for (a, b), n in wanted.items())


def test_pieces_are_of_whole_rows_and_lose_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS_AT_ONCE", 9)
    sums = PairSums(row_lengths(NUM_CLASSES, triangle=True), 0, NUM_CLASSES)
    cells = [(a, b, a + b + 1) for a in range(NUM_CLASSES) for b in range(a, NUM_CLASSES)]
    add(sums, cells)
    pieces = list(sums.pieces())
    assert len(pieces) > 2
    assert [cell for piece in pieces for cell in zip(*(c.tolist() for c in piece), strict=True)] == cells
