import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.train.order import EpochOrder

sizes = st.lists(st.integers(0, 40), min_size=1, max_size=30).map(lambda rows: np.array(rows, np.int64))
seeds = st.none() | st.integers(0, 2**63)


def in_order(order: EpochOrder, places: np.ndarray) -> list[tuple[int, int]]:
    """(row group, row of it) at each place."""
    groups, nth = order.at(places)
    return [(int(group), int(order.rows_of(int(group))[n])) for group, n in zip(groups, nth, strict=True)]


@given(sizes, st.integers(1, 64), seeds, st.integers(0, 100))
def test_an_epoch_shows_every_row_once(rows, lanes, seed, epoch):
    order = EpochOrder(rows, lanes, seed, epoch)
    shown = in_order(order, np.arange(order.total))
    assert sorted(shown) == [(group, row) for group, count in enumerate(rows) for row in range(count)]


@given(sizes, st.integers(1, 16), seeds, st.integers(1, 32), st.data())
def test_the_pieces_of_a_rank_hold_its_rows_and_no_others(rows, lanes, seed, size, data):
    order = EpochOrder(rows, lanes, seed, 3)
    rank = data.draw(st.integers(0, size - 1))
    start = data.draw(st.integers(0, order.total))
    end = data.draw(st.integers(start, order.total))
    places = np.arange(start, end)
    mine = places[places % size == rank]
    groups, _ = order.at(mine)
    pieces = order.pieces(rank, size, start, end)
    assert [piece.first for piece in pieces] == sorted(piece.first for piece in pieces)
    assert {piece.group for piece in pieces} == set(groups.tolist())
    for place, group in zip(mine.tolist(), groups.tolist(), strict=True):
        assert any(piece.group == group and piece.first <= place <= piece.last for piece in pieces)
    assert {piece.first for piece in pieces} | {piece.last for piece in pieces} <= set(mine.tolist())


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_lane_is_read_by_one_rank_where_the_ranks_divide_the_lanes(size):
    order = EpochOrder(np.full(64, 100, np.int64), 8, 5)
    groups = [{piece.group for piece in order.pieces(rank, size, 0, order.total)} for rank in range(size)]
    assert sum(map(len, groups)) == 64


def test_seeds_and_epochs_give_other_orders_and_the_same_ones_the_same():
    rows = np.full(16, 32, np.int64)
    places = np.arange(512)
    orders = [in_order(EpochOrder(rows, 4, seed, epoch), places) for seed, epoch in [(1, 0), (1, 0), (1, 1), (2, 0)]]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3


def test_a_row_is_as_likely_at_every_place():
    rows = np.full(8, 8, np.int64)
    counts = np.zeros((64, 64))
    for epoch in range(2000):
        order = EpochOrder(rows, 4, 0, epoch)
        groups, nth = order.at(np.arange(64))
        row = [order.rows_of(int(g))[n] for g, n in zip(groups, nth, strict=True)]
        counts[np.arange(64), groups * 8 + np.array(row)] += 1
    # 4,096 cells of about 31: chi-squared has 63 * 63 degrees of freedom and a deviation of 89.
    chi2 = ((counts - 31.25) ** 2 / 31.25).sum()
    assert abs(chi2 - 3969) < 5 * 89


def test_known_answer_so_that_a_run_goes_on_with_another_release():
    order = EpochOrder(np.array([3, 2, 4], np.int64), 2, 7, 1)
    assert in_order(order, np.arange(9)) == [(0, 1), (2, 1), (0, 0), (2, 2), (0, 2), (2, 3), (1, 0), (2, 0), (1, 1)]


def test_rows_come_as_often_as_they_are_wanted():
    copies = [np.array([2, 0, 1]), np.array([1, 3])]
    order = EpochOrder(np.array([3, 4], np.int64), 2, 11, 0, copies)
    shown = in_order(order, np.arange(7))
    assert sorted(shown) == [(0, 0), (0, 0), (0, 2), (1, 0), (1, 1), (1, 1), (1, 1)]
