"""animal 0 > snake 1 > sea snake 2; water 3 > sea 4; boat 5 and coast 6, both below thing 7."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.closure import Closed, close_labels
from ml_images.labels.augment import Augmented, augment_labels
from ml_images.labels.pair_list import to_implications
from ml_images.schemas import ANCESTOR, BY_COOCCURRENCE, GIVEN, REVIEW

PARENTS: list[list[int]] = [[], [0], [1], [], [3], [7], [7], []]
ANCESTORS = find_ancestors(PARENTS)
NUM = len(PARENTS)

Row = dict[int, tuple[float, int]]  # class -> confidence, origin


def pack(rows: list[Row]) -> Closed:
    rows = [dict(sorted(row.items())) for row in rows]
    return Closed(
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.array([c for row in rows for c in row], np.int32),
        np.array([conf for row in rows for conf, _ in row.values()], np.float32),
        np.array([origin for row in rows for _, origin in row.values()], np.int8),
    )


def unpack(labels: Closed) -> list[Row]:
    rows = []
    for start, end in zip(labels.offsets[:-1], labels.offsets[1:], strict=True):
        classes = labels.classes[start:end].tolist()
        assert classes == sorted(set(classes)), "ascending, without duplicates"
        values = zip(labels.confidences[start:end].round(3).tolist(), labels.origins[start:end].tolist(), strict=True)
        rows.append({c: (pytest.approx(conf), origin) for c, (conf, origin) in zip(classes, values, strict=True)})
    return rows


def run(rows: list[Row], pairs: list[tuple[int, int]], confidence: float = 0.9) -> Augmented:
    classes, implied = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    return augment_labels(pack(rows), to_implications(classes, implied, NUM), ANCESTORS, confidence)


SNAKE: Row = {0: (1.0, ANCESTOR), 1: (1.0, ANCESTOR), 2: (1.0, GIVEN)}


def test_an_implied_class_comes_with_its_ancestors_and_says_where_it_is_from() -> None:
    done = run([SNAKE, {5: (1.0, GIVEN)}], [(2, 4)])
    added = {3: (0.9, ANCESTOR), 4: (0.9, BY_COOCCURRENCE)}
    assert unpack(done.labels) == [{**SNAKE, **added}, {5: (1.0, GIVEN), 7: (1.0, ANCESTOR)}]
    assert done[1:] == (1, 1, 1, 1, 0, 0)


def test_rows_that_were_not_closed_are_closed_first_and_imply_what_an_ancestor_implies() -> None:
    done = run([{2: (0.8, GIVEN), 0: (0.5, REVIEW)}, {5: (1.0, GIVEN)}], [(1, 4)])
    snake = {0: (0.8, REVIEW), 1: (0.8, ANCESTOR), 2: (0.8, GIVEN), 3: (0.9, ANCESTOR), 4: (0.9, BY_COOCCURRENCE)}
    assert unpack(done.labels) == [snake, {5: (1.0, GIVEN), 7: (1.0, ANCESTOR)}]
    assert done[1:] == (2, 1, 1, 1, 0, 0)


def test_what_a_row_says_to_be_absent_or_unknown_is_not_closed_over() -> None:
    row = {0: (0.0, REVIEW), 1: (-1.0, ANCESTOR), 2: (1.0, GIVEN)}
    done = run([row], [])
    assert unpack(done.labels) == [row]
    assert done.closed == 0


def test_a_class_that_is_there_is_left_as_it_is() -> None:
    row = {**SNAKE, 3: (0.2, ANCESTOR), 4: (0.2, REVIEW)}
    done = run([row], [(2, 4)])
    assert unpack(done.labels) == [row]
    assert done[1:] == (0, 0, 0, 0, 1, 0)


def test_an_ancestor_that_is_there_keeps_its_origin_and_is_never_less_sure() -> None:
    for before, after in ((0.5, 0.9), (0.95, 0.95)):
        done = run([{**SNAKE, 3: (before, GIVEN)}], [(2, 4)])
        assert unpack(done.labels) == [{**SNAKE, 3: (after, GIVEN), 4: (0.9, BY_COOCCURRENCE)}]
        assert done.ancestors == 0


@pytest.mark.parametrize("absent", [3, 4])
def test_what_somebody_saw_to_be_absent_holds_it_back(absent: int) -> None:
    row = {**SNAKE, absent: (0.0, GIVEN)}
    done = run([row], [(2, 4)])
    assert unpack(done.labels) == [row]
    assert done[1:] == (0, 0, 0, 0, 0, 1)


def test_one_class_held_back_does_not_free_those_below_it() -> None:
    row = {**SNAKE, 3: (0.0, GIVEN)}
    done = run([row], [(2, 3), (2, 4)])
    assert unpack(done.labels) == [row]
    assert done.held_back == 2


def test_unknown_labels_turn_positive() -> None:
    row = {**SNAKE, 3: (-1.0, GIVEN), 4: (-1.0, GIVEN)}
    done = run([row], [(2, 4)])
    assert unpack(done.labels) == [{**SNAKE, 3: (0.9, ANCESTOR), 4: (0.9, BY_COOCCURRENCE)}]
    assert done[1:] == (0, 1, 1, 1, 0, 0)


def test_only_present_labels_imply_and_only_those_that_were_there() -> None:
    assert unpack(run([{2: (0.0, GIVEN)}, {2: (-1.0, GIVEN)}], [(2, 4)]).labels) == [
        {2: (0.0, GIVEN)},
        {2: (-1.0, GIVEN)},
    ]
    chained = run([{2: (1.0, GIVEN)}], [(2, 5), (5, 6), (7, 6)])  # 5 is added and brings 7; neither brings 6
    assert set(unpack(chained.labels)[0]) == {0, 1, 2, 5, 7}


def test_a_class_implied_by_two_is_added_once_and_rows_do_not_touch_each_other() -> None:
    done = run([{1: (1.0, GIVEN), 2: (1.0, GIVEN)}, {}, {4: (1.0, GIVEN)}], [(1, 5), (2, 5), (4, 5)])
    assert done.added == 2 and done.rows == 2
    assert [set(row) for row in unpack(done.labels)] == [{0, 1, 2, 5, 7}, set(), {3, 4, 5, 7}]


ROWS = st.lists(
    st.dictionaries(st.integers(0, NUM - 1), st.tuples(st.sampled_from([1.0, 0.8, 0.5]), st.sampled_from([0, 1, 4]))),
    max_size=6,
)
PAIRS = st.lists(st.tuples(st.integers(0, NUM - 1), st.integers(0, NUM - 1)).filter(lambda p: p[0] != p[1]), max_size=8)


@given(ROWS, PAIRS, st.sampled_from([1.0, 0.7]))
def test_closed_labels_stay_closed_as_closing_all_of_them_again_would_leave_them(
    rows: list[Row], pairs: list[tuple[int, int]], confidence: float
) -> None:
    packed = pack(rows)
    closed = close_labels(packed.offsets, packed.classes, packed.confidences, ANCESTORS, "closed_max")
    given_rows = [{c: (float(conf), origin) for c, (conf, origin) in row.items()} for row in _plain(closed)]
    wanted = []
    for row in given_rows:
        implied = {j for i, j in pairs if i in row and j not in row}
        wanted.append({**{c: conf for c, (conf, _) in row.items()}, **dict.fromkeys(implied, confidence)})
    together = pack([{c: (conf, GIVEN) for c, conf in row.items()} for row in wanted])
    again = close_labels(together.offsets, together.classes, together.confidences, ANCESTORS, "closed_max")
    done = run(given_rows, pairs, confidence)
    for name in ("offsets", "classes", "confidences"):
        assert np.array_equal(getattr(done.labels, name), getattr(again, name)), name
    for before, after in zip(given_rows, _plain(done.labels), strict=True):
        assert {c: after[c][1] for c in before} == {c: origin for c, (_, origin) in before.items()}
    assert len(done.labels.classes) == len(closed.classes) + done.added + done.ancestors


def _plain(labels: Closed) -> list[Row]:
    return [
        dict(
            zip(
                labels.classes[start:end].tolist(),
                zip(labels.confidences[start:end].tolist(), labels.origins[start:end].tolist(), strict=True),
                strict=True,
            )
        )
        for start, end in zip(labels.offsets[:-1], labels.offsets[1:], strict=True)
    ]
