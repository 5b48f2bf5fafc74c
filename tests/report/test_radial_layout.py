import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.report.radial_layout import lay_out, on_circle

#        0      7
#      1   2
#     3 4  5 6
PARENTS = [(), (0,), (0,), (1,), (1,), (2,), (2,), ()]


@st.composite
def hierarchies(draw):
    """Parents of up to 40 classes, in an order of its own: parents may come after their children."""
    n = draw(st.integers(1, 40))
    above = [draw(st.lists(st.integers(0, c - 1), unique=True, max_size=3)) if c else [] for c in range(n)]
    to = draw(st.permutations(range(n)))
    parents = [()] * n
    for c in range(n):
        parents[to[c]] = tuple(to[parent] for parent in above[c])
    return parents


def test_leaves_share_the_circle_with_a_gap_between_families():
    layout = lay_out(PARENTS)
    # Slots: 3 4 | 5 6 | 7, a gap after each family: 8 in all.
    assert layout.position[[3, 4, 5, 6, 7]] * 8 == pytest.approx([0.5, 1.5, 3.5, 4.5, 6.5])
    assert layout.order.tolist() == [0, 1, 3, 4, 2, 5, 6, 7]


def test_a_parent_stands_amid_its_children():
    layout = lay_out(PARENTS)
    assert layout.position[[1, 2, 0]] * 8 == pytest.approx([1, 4, 2.5])
    assert layout.start[[0, 1, 2]] * 8 == pytest.approx([0, 0, 3])
    assert layout.end[[0, 1, 2]] * 8 == pytest.approx([5, 2, 5])


def test_the_first_parent_counts_and_the_others_are_kept_apart():
    layout = lay_out([(), (), (1, 0), (0, 1)])
    assert layout.parents.tolist() == [-1, -1, 1, 0]
    assert layout.dropped.tolist() == [[0, 2], [1, 3]]


@given(hierarchies())
def test_subtrees_are_nested_and_brothers_do_not_overlap(parents):
    layout = lay_out(parents)
    assert sorted(layout.order) == list(range(len(parents)))
    assert (layout.start >= 0).all() and (layout.end <= 1).all()
    assert ((layout.start < layout.position) & (layout.position < layout.end)).all()
    assert len(layout.dropped) == sum(len(above[1:]) for above in parents)
    for child, parent in enumerate(layout.parents):
        assert parent == (parents[child][0] if parents[child] else -1)
        if parent >= 0:
            assert layout.start[parent] <= layout.start[child] and layout.end[child] <= layout.end[parent]
    for parent in {-1, *layout.parents.tolist()}:
        brothers = np.flatnonzero(layout.parents == parent)
        at = brothers[np.argsort(layout.start[brothers])]
        assert (layout.end[at][:-1] <= layout.start[at][1:]).all()
        if parent >= 0:
            assert layout.position[parent] == pytest.approx(layout.position[at[[0, -1]]].mean())


def test_the_circle_begins_at_the_top_and_goes_clockwise():
    x, y = on_circle(np.array([0, 0.25, 0.5, 0.75]), np.full(4, 2.0))
    assert x == pytest.approx([0, 2, 0, -2])
    assert y == pytest.approx([-2, 0, 2, 0])


def test_a_chain_of_ten_thousand_classes():
    layout = lay_out([(), *((c,) for c in range(9_999))])
    assert (layout.position == 0.25).all()
