from itertools import pairwise

import numpy as np
import pytest
from hierarchies import dags, slow_ancestors
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.hierarchy.ancestors import Ancestors, find_ancestors
from ml_images.hierarchy.closure import CLOSURES, close_labels
from ml_images.hierarchy.vocabulary import parse_vocabulary
from ml_images.schemas import ANCESTOR, GIVEN, UNKNOWN

# thing 0 > animal 1 > dog 2 > spaniel 3; thing 0 > plant 4; pet 5 (a root) > dog 2
PARENTS = [[], [0], [1, 5], [2], [0], []]

Row = list[tuple[int, float]]


confidences = st.sampled_from([-1.0, 0.0, -0.0, 0.5, 0.8, 0.9, 1.0]) | st.floats(0, 1, width=32)


def rows_of(num_classes: int) -> st.SearchStrategy[list[Row]]:
    label = st.tuples(st.integers(0, num_classes - 1), confidences)
    return st.lists(st.lists(label, max_size=8, unique_by=lambda pair: pair[0]), max_size=3)


def flat(rows: list[Row]):
    """(offsets, classes, confidences) of rows."""
    offsets = np.cumsum([0, *map(len, rows)])
    classes = np.array([c for row in rows for c, _ in row], np.int32)
    return offsets, classes, np.array([confidence for row in rows for _, confidence in row], np.float32)


def close(rows: list[Row], parents: list[list[int]], mode: str) -> list[dict[int, tuple[float, int]]]:
    """Each row as {class: (confidence, origin)}, after checking the form of the answer."""
    closed = close_labels(*flat(rows), find_ancestors(parents), mode)
    assert [array.dtype for array in closed] == [np.int64, np.int32, np.float32, np.int8]
    assert len(closed.offsets) == len(rows) + 1
    assert closed.offsets[-1] == len(closed.classes) == len(closed.confidences) == len(closed.origins)
    out = []
    for start, end in pairwise(closed.offsets):
        classes = closed.classes[start:end].tolist()
        assert classes == sorted(set(classes))
        labels = zip(closed.confidences[start:end].tolist(), closed.origins[start:end].tolist(), strict=True)
        out.append(dict(zip(classes, labels, strict=True)))
    return out


def slow_close(row: Row, parents: list[list[int]], mode: str) -> dict[int, tuple[float, int]]:
    row = [(c, float(np.float32(confidence))) for c, confidence in row]
    out: dict[int, float] = {}
    if mode == "as_released":
        for c, confidence in row:
            brought = {c}
            if confidence == 1:
                brought |= slow_ancestors(parents, c)
            elif confidence > 0:
                brought |= set(parents[c])
            for b in brought:
                out.setdefault(b, confidence)
    else:
        for c, confidence in row:
            out[c] = max(confidence, out.get(c, UNKNOWN))
        implied = [(a, p) for c, p in out.items() if p > 0 for a in slow_ancestors(parents, c)]
        if mode == "closed_max":
            for a, p in implied:
                out[a] = max(p, out.get(a, UNKNOWN))
        if mode == "leaf_only":
            out = {c: p for c, p in out.items() if c not in dict(implied)}
    given_classes = {c for c, _ in row}
    return {c: (p, GIVEN if c in given_classes else ANCESTOR) for c, p in out.items()}


@st.composite
def worlds(draw, max_classes=10):
    parents = draw(dags(max_classes))
    return parents, draw(rows_of(len(parents)))


def test_closed_max_adds_each_ancestor_with_its_surest_descendant():
    (row,) = close([[(3, 0.5), (4, 0.75)]], PARENTS, "closed_max")
    assert row == {
        0: (0.75, ANCESTOR),
        1: (0.5, ANCESTOR),
        2: (0.5, ANCESTOR),
        3: (0.5, GIVEN),
        4: (0.75, GIVEN),
        5: (0.5, ANCESTOR),
    }


def test_closed_max_raises_given_labels_never_lowers_them_and_keeps_their_origin():
    (row,) = close([[(1, 0.25), (5, 1.0), (2, 0.5)]], PARENTS, "closed_max")
    assert row == {0: (0.5, ANCESTOR), 1: (0.5, GIVEN), 2: (0.5, GIVEN), 5: (1.0, GIVEN)}


def test_absent_and_unknown_labels_imply_nothing_and_stay():
    rows: list[Row] = [[(3, 0.0), (4, UNKNOWN)]]
    for mode in CLOSURES:
        assert close(rows, PARENTS, mode) == [{3: (0.0, GIVEN), 4: (UNKNOWN, GIVEN)}]


def test_an_absent_or_unknown_ancestor_of_a_positive_label_becomes_positive_in_closed_max():
    (row,) = close([[(1, 0.0), (5, UNKNOWN), (2, 0.5)]], PARENTS, "closed_max")
    assert row == {0: (0.5, ANCESTOR), 1: (0.5, GIVEN), 2: (0.5, GIVEN), 5: (0.5, GIVEN)}


def test_leaf_only_drops_ancestors_of_positive_labels_only():
    rows: list[Row] = [[(0, 1.0), (2, 0.5), (5, 0.0), (4, 0.5)], [(0, 1.0), (2, 0.0)]]
    assert close(rows, PARENTS, "leaf_only") == [
        {2: (0.5, GIVEN), 4: (0.5, GIVEN)},
        {0: (1.0, GIVEN), 2: (0.0, GIVEN)},
    ]


def test_as_released_the_first_to_bring_a_class_decides_its_confidence():
    (row,) = close([[(3, 0.5), (2, 0.75), (1, 1.0)]], PARENTS, "as_released")
    # spaniel brings dog at 0.5; dog is there, but brings animal and pet at 0.75; animal, there, brings thing at 1.
    assert row == {
        0: (1.0, ANCESTOR),
        1: (0.75, GIVEN),
        2: (0.5, GIVEN),
        3: (0.5, GIVEN),
        5: (0.75, ANCESTOR),
    }


def test_as_released_certain_labels_bring_all_ancestors_and_order_matters():
    assert close([[(3, 1.0)]], PARENTS, "as_released") == [
        {0: (1.0, ANCESTOR), 1: (1.0, ANCESTOR), 2: (1.0, ANCESTOR), 3: (1.0, GIVEN), 5: (1.0, ANCESTOR)}
    ]
    late, early = close([[(4, 0.5), (0, 1.0)], [(0, 1.0), (4, 0.5)]], PARENTS, "as_released")
    assert late[0] == (0.5, GIVEN)
    assert early[0] == (1.0, GIVEN)


def test_as_released_is_not_idempotent_as_parents_bring_their_own_parents_next_time():
    (once,) = close([[(3, 0.5)]], PARENTS, "as_released")
    (twice,) = close([[(c, p) for c, (p, _) in once.items()]], PARENTS, "as_released")
    assert (set(once), set(twice)) == ({2, 3}, {1, 2, 3, 5})


@pytest.mark.parametrize("mode", CLOSURES)
def test_no_rows_and_empty_rows(mode):
    assert close([], PARENTS, mode) == []
    assert close([[], [(0, 1.0)], [], []], PARENTS, mode) == [{}, {0: (1.0, GIVEN)}, {}, {}]


@pytest.mark.parametrize("mode", CLOSURES)
@settings(max_examples=60)
@given(worlds())
def test_as_the_slow_obvious_way(mode, world):
    parents, rows = world
    assert close(rows, parents, mode) == [slow_close(row, parents, mode) for row in rows]


@pytest.mark.parametrize("mode", CLOSURES)
@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), confidences), max_size=8))
def test_a_class_given_twice_comes_out_once(mode, row):
    assert close([row], PARENTS, mode) == [slow_close(row, PARENTS, mode)]


@pytest.mark.parametrize("mode", ["closed_max", "leaf_only", "none"])
@settings(max_examples=40)
@given(worlds())
def test_idempotent(mode, world):
    parents, rows = world
    once = [{c: p for c, (p, _) in row.items()} for row in close(rows, parents, mode)]
    twice = close([list(row.items()) for row in once], parents, mode)
    assert [{c: p for c, (p, _) in row.items()} for row in twice] == once


@settings(max_examples=50)
@given(worlds(), st.data())
def test_closed_max_is_monotone(world, data):
    parents, rows = world
    more = [row + [label for extra in data.draw(rows_of(len(parents))) for label in extra] for row in rows]
    # A class that is in a row twice counts with its highest confidence, so `more` holds every label, at least as sure.
    for less_out, more_out in zip(close(rows, parents, "closed_max"), close(more, parents, "closed_max"), strict=True):
        assert all(more_out[c][0] >= confidence for c, (confidence, _) in less_out.items())


@settings(max_examples=50)
@given(worlds(), st.data())
def test_leaf_only_is_monotone_in_what_its_labels_imply(world, data):
    """Leaves stand for all that they imply: leaf_only loses nothing, and with more labels it implies more."""
    parents, rows = world

    def implied(rows: list[Row]) -> list[set[int]]:
        leaves = [[(c, p) for c, (p, _) in row.items()] for row in close(rows, parents, "leaf_only")]
        return [{c for c, (p, _) in row.items() if p > 0} for row in close(leaves, parents, "closed_max")]

    more = [row + [label for extra in data.draw(rows_of(len(parents))) for label in extra] for row in rows]
    closed = close(rows, parents, "closed_max")
    assert implied(rows) == [{c for c, (p, _) in row.items() if p > 0} for row in closed]
    assert all(less <= much for less, much in zip(implied(rows), implied(more), strict=True))


@pytest.mark.parametrize("mode", ["closed_max", "leaf_only", "none"])
@settings(max_examples=40)
@given(worlds(), st.randoms())
def test_the_order_of_labels_in_a_row_is_free(mode, world, random):
    parents, rows = world
    shuffled = [random.sample(row, len(row)) for row in rows]
    assert close(shuffled, parents, mode) == close(rows, parents, mode)


@pytest.mark.parametrize("mode", CLOSURES)
def test_many_rows_of_all_lengths(mode):
    rng = np.random.default_rng(0)
    parents = [[int(c) for c in set(rng.integers(0, max(c, 1), 2)) if c] for c in range(60)]
    sure = [UNKNOWN, 0.0, 0.5, 0.75, 1.0]
    rows = [[(int(c), sure[rng.integers(5)]) for c in rng.permutation(60)[: rng.integers(60)]] for _ in range(200)]
    assert close(rows, parents, mode) == [slow_close(row, parents, mode) for row in rows]


@pytest.mark.parametrize("mode", ["closed_max", "as_released"])
def test_rows_that_grow_a_hundredfold_grow_the_arrays(mode):
    chain = [[], *([c] for c in range(199))]
    closed = close([[(199, 1.0)]] * 50 + [[]], chain, mode)
    assert closed == [{**dict.fromkeys(range(199), (1.0, ANCESTOR)), 199: (1.0, GIVEN)}] * 50 + [{}]


def test_minus_zero_comes_out_as_zero():
    rows: list[Row] = [[(1, -0.0)]]
    for mode in CLOSURES:
        assert not np.signbit(close_labels(*flat(rows), find_ancestors(PARENTS), mode).confidences).any()


def test_many_classes_and_rows_do_not_overflow():
    num_classes = 1 << 20
    lone = np.zeros(num_classes + 1, np.int64), np.empty(0, np.int32)
    ancestors = Ancestors(*lone, *lone, np.zeros(num_classes, np.int32))
    classes = np.arange(num_classes - 1, num_classes - 5001, -1, dtype=np.int32)
    closed = close_labels(np.arange(5001), classes, np.ones(5000, np.float32), ancestors, "closed_max")
    np.testing.assert_array_equal(closed.classes, classes)
    np.testing.assert_array_equal(closed.offsets, np.arange(5001))


def test_offsets_may_begin_inside_the_arrays():
    offsets, classes, sure = flat([[(3, 1.0)], [(4, 0.5)], [(1, 1.0)]])
    closed = close_labels(offsets[1:], classes, sure, find_ancestors(PARENTS), "none")
    assert closed.classes.tolist() == [4, 1]
    assert closed.offsets.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("row", "mode", "message"),
    [
        ([(0, 1.0)], "closed", "closure must be one of closed_max, none, leaf_only, as_released, got 'closed'"),
        ([(6, 1.0)], "none", "class must be in 0..5, got 6"),
        ([(-1, 1.0)], "none", "class must be in 0..5, got -1"),
        ([(0, 1.5)], "none", "confidence must be -1 or in \\[0, 1\\], got 1.5"),
        ([(0, -0.5)], "none", "confidence must be -1"),
        ([(0, float("nan"))], "none", "confidence must be -1"),
    ],
)
def test_wrong_input_is_refused(row, mode, message):
    with pytest.raises(ValueError, match=message):
        close_labels(*flat([row]), find_ancestors(PARENTS), mode)


def published(shared_data) -> tuple[list[list[int]], list[Row]]:
    folder = shared_data / "ml-images"
    vocabulary = parse_vocabulary((folder / "dictionary_and_semantic_hierarchy.txt").read_bytes(), "dictionary")
    lines = (folder / "train_urls_tiny.txt").read_text().splitlines()
    tags = [[tag.split(":") for tag in line.split("\t")[1:]] for line in lines]
    return [list(p) for p in vocabulary.parents], [[(int(c), float(p)) for c, p in row] for row in tags]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("mode", "labels"), [("none", 827), ("closed_max", 1_103), ("leaf_only", 246), ("as_released", 923)]
)
def test_the_published_rows_have_as_many_labels(mode, labels, shared_data):
    parents, rows = published(shared_data)
    assert sum(map(len, close(rows, parents, mode))) == labels


@pytest.mark.real_data
def test_closing_the_published_rows_raises_20_labels_in_11_rows(shared_data):
    parents, rows = published(shared_data)
    closed = close(rows, parents, "closed_max")
    raised = [r for r, row in enumerate(rows) for c, confidence in row if closed[r][c][0] > np.float32(confidence)]
    assert (len(raised), len(set(raised))) == (20, 11)
    assert len({c for row in closed for c in row}) == 238
    assert max(map(len, closed)) == 29


@pytest.mark.real_data
def test_as_released_reproduces_each_published_row_from_some_source_labels(shared_data):
    parents, rows = published(shared_data)
    seeds = [find_seeds(row, parents) for row in rows]
    assert all(len(seed) < len(row) for seed, row in zip(seeds, rows, strict=True))  # nothing trivial
    for seeded, row in zip(close(seeds, parents, "as_released"), rows, strict=True):
        assert {c: p for c, (p, _) in seeded.items()} == {c: float(np.float32(p)) for c, p in row}


def find_seeds(row: Row, parents: list[list[int]]) -> Row:
    """Source labels whose emissions, child before ancestors, spell the row from its first to its last label."""

    def emitted(c: int, confidence: float) -> list[int]:
        out = [c, *parents[c][:1]]
        while confidence == 1 and parents[out[-1]]:
            out.append(parents[out[-1]][0])
        return out

    def search(done: int) -> Row | None:
        if done == len(row):
            return []
        present = [c for c, _ in row[:done]]
        c, confidence = row[done]
        # The next source label is either the next class itself, or one already there that brings the next class.
        for seed in [c, *(p for p in present if c in emitted(p, confidence))]:
            new = [e for e in emitted(seed, confidence) if e not in present]
            if [(e, confidence) for e in new] == row[done : done + len(new)]:
                rest = search(done + len(new))
                if rest is not None:
                    return [(seed, confidence), *rest]
        return None

    found = search(0)
    assert found is not None, f"no source labels explain {row}"
    return found
