import csv
from itertools import pairwise

import numpy as np
import pytest
from hierarchies import dags, slow_ancestors
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.closure import close_labels
from ml_images.hierarchy.conflicts import RESOLUTIONS
from ml_images.hierarchy.formats.openimages import parse_openimages
from ml_images.hierarchy.negatives import POLICIES, close_with_negatives
from ml_images.schemas import ANCESTOR, GIVEN, UNKNOWN

# food > dish > sandwich > burger > cheeseburger; food > fruit; sandwich > toast; snack (a root) > burger
FOOD, DISH, SANDWICH, BURGER, CHEESEBURGER, FRUIT, TOAST, SNACK = range(8)
PARENTS = [[], [FOOD], [DISH], [SANDWICH, SNACK], [BURGER], [FOOD], [SANDWICH], []]

Row = list[tuple[int, float]]
Labels = dict[int, tuple[float, int]]
Conflict = tuple[int, int, float, int, str]  # row, positive, its confidence, negative, resolution

# Many 0s and 1s, so that most rows have conflicts.
confidences = st.sampled_from([UNKNOWN, 0.0, -0.0, 0.5, 0.75, 1.0, 0.0, 1.0])


@st.composite
def worlds(draw):
    parents = draw(dags(max_classes=8))
    label = st.tuples(st.integers(0, len(parents) - 1), confidences)
    return parents, draw(st.lists(st.lists(label, max_size=8), max_size=3))


def close(rows: list[Row], parents: list[list[int]], policy: str) -> tuple[list[Labels], list[Conflict]]:
    """The closed rows as {class: (confidence, origin)} and the conflicts, after checking the form of both."""
    offsets = np.cumsum([0, *map(len, rows)])
    classes = np.array([c for row in rows for c, _ in row], np.int32)
    sure = np.array([confidence for row in rows for _, confidence in row], np.float32)
    closed, conflicts = close_with_negatives(offsets, classes, sure, find_ancestors(parents), policy)
    assert [array.dtype for array in closed] == [np.int64, np.int32, np.float32, np.int8]
    assert [array.dtype for array in conflicts] == [np.int64, np.int32, np.float32, np.int32, np.int8]
    assert len(closed.offsets) == len(rows) + 1
    assert closed.offsets[-1] == len(closed.classes) == len(closed.confidences) == len(closed.origins)
    out = []
    for start, end in pairwise(closed.offsets):
        labels = zip(closed.confidences[start:end].tolist(), closed.origins[start:end].tolist(), strict=True)
        out.append(dict(zip(closed.classes[start:end].tolist(), labels, strict=True)))
        assert list(out[-1]) == sorted(out[-1])
    entries = zip(*(array.tolist() for array in conflicts), strict=True)
    return out, [(*entry, RESOLUTIONS[resolution]) for *entry, resolution in entries]


def sure_of(labels: Labels) -> dict[int, float]:
    return {c: confidence for c, (confidence, _) in labels.items()}


def as_row(labels: Labels) -> Row:
    return list(sure_of(labels).items())


def slow_close(row: Row, parents: list[list[int]], policy: str) -> tuple[Labels, list[tuple[int, float, int, str]]]:
    """The module's docstring, one sentence after the other."""
    above = {c: slow_ancestors(parents, c) for c in range(len(parents))}
    said: dict[int, set[float]] = {}
    for c, confidence in row:
        said.setdefault(c, set()).add(confidence)
    given = {c: 0.0 if policy == "human_wins" and 0 in p and 1 not in p else max(p) for c, p in said.items()}
    both = {c for c, p in said.items() if 0 in p and max(p) > 0}
    pairs = [(d, a) for d in sorted(given) if given[d] > 0 for a in sorted(above[d]) if given.get(a) == 0]
    pairs = sorted([*pairs, *((c, c) for c in both)], key=lambda pair: (pair[0], pair[0] != pair[1], pair[1]))

    absences = {c for c in given if given[c] == 0}
    positives = {c for c in given if given[c] > 0}
    fixed: dict[int, float] = {}  # what no implication changes
    unsure = {c for c in given if given[c] <= 0}  # what implications may change into an absence, or into unknown
    if policy == "human_wins":
        overruled = {c for c in positives if given[c] < 1 and above[c] & absences}
        positives -= overruled
        unsure |= overruled
        fixed = {c: p for c, p in given.items() if p in (0, 1)}
    else:
        losers = {a for d, a in pairs if d != a}
        absences -= losers
        fixed = dict.fromkeys(absences, 0.0)
        if policy == "unknown":
            fixed |= dict.fromkeys(losers, UNKNOWN)

    out = {}
    for c in above:
        there = max((given[d] for d in positives if c in above[d]), default=None)
        absent = bool(above[c] & absences)
        if c in fixed:
            out[c] = fixed[c]
        elif there is not None and absent and (c not in given or c in unsure):
            assert policy == "human_wins"
            out[c] = UNKNOWN
        elif there is not None:
            out[c] = max(there, given.get(c, UNKNOWN))
        elif absent and (c not in given or c in unsure):
            out[c] = 0.0
        elif c in given:
            out[c] = given[c]

    def resolution(d: int, a: int) -> str:
        if d == a:
            return "negative_overruled" if given[d] > 0 else "positive_overruled"
        if policy == "human_wins":
            return "both_kept" if given[d] == 1 else "positive_overruled"
        return {"unknown": "negative_unknown", "closure_wins": "negative_overruled"}[policy]

    labels = {c: (p, GIVEN if c in given else ANCESTOR) for c, p in out.items()}
    return labels, [(d, max(said[d]), a, resolution(d, a)) for d, a in pairs]


def test_a_machine_between_people_who_disagree_is_overruled_but_makes_nothing_absent():
    row = [(CHEESEBURGER, 1.0), (BURGER, 0.8), (DISH, 0.0)]
    (labels,), conflicts = close([row], PARENTS, "human_wins")
    assert (labels[BURGER], labels[SANDWICH]) == ((UNKNOWN, GIVEN), (UNKNOWN, ANCESTOR))
    assert [entry[-1] for entry in conflicts] == ["positive_overruled", "both_kept"]


def test_people_who_disagree_are_both_kept_and_what_lies_between_is_unknown():
    (labels,), conflicts = close([[(CHEESEBURGER, 1.0), (DISH, 0.0)]], PARENTS, "human_wins")
    assert labels == {
        FOOD: (1.0, ANCESTOR),
        DISH: (0.0, GIVEN),
        SANDWICH: (UNKNOWN, ANCESTOR),
        BURGER: (UNKNOWN, ANCESTOR),
        CHEESEBURGER: (1.0, GIVEN),
        TOAST: (0.0, ANCESTOR),
        SNACK: (1.0, ANCESTOR),
    }
    assert conflicts == [(0, CHEESEBURGER, 1.0, DISH, "both_kept")]


def test_a_machine_below_an_absence_is_overruled_and_implies_nothing():
    (labels,), conflicts = close([[(BURGER, 0.75), (SANDWICH, 0.0)]], PARENTS, "human_wins")
    assert labels == {
        SANDWICH: (0.0, GIVEN),
        BURGER: (0.0, GIVEN),
        CHEESEBURGER: (0.0, ANCESTOR),
        TOAST: (0.0, ANCESTOR),
    }
    assert conflicts == [(0, BURGER, 0.75, SANDWICH, "positive_overruled")]


def test_an_absence_in_conflict_becomes_unknown_and_the_closure_goes_on_without_it():
    (labels,), conflicts = close([[(BURGER, 0.75), (SANDWICH, 0.0), (FRUIT, 0.0)]], PARENTS, "unknown")
    assert labels == {
        FOOD: (0.75, ANCESTOR),
        DISH: (0.75, ANCESTOR),
        SANDWICH: (UNKNOWN, GIVEN),
        BURGER: (0.75, GIVEN),
        FRUIT: (0.0, GIVEN),
        SNACK: (0.75, ANCESTOR),
    }
    assert conflicts == [(0, BURGER, 0.75, SANDWICH, "negative_unknown")]


def test_the_closure_makes_an_absence_in_conflict_positive_and_keeps_the_others():
    row: Row = [(BURGER, 0.75), (SANDWICH, 0.0), (TOAST, 0.5), (CHEESEBURGER, 0.0)]
    (labels,), conflicts = close([row], PARENTS, "closure_wins")
    assert labels == {
        FOOD: (0.75, ANCESTOR),
        DISH: (0.75, ANCESTOR),
        SANDWICH: (0.75, GIVEN),
        BURGER: (0.75, GIVEN),
        CHEESEBURGER: (0.0, GIVEN),
        TOAST: (0.5, GIVEN),
        SNACK: (0.75, ANCESTOR),
    }
    assert conflicts == [
        (0, BURGER, 0.75, SANDWICH, "negative_overruled"),
        (0, TOAST, 0.5, SANDWICH, "negative_overruled"),
    ]


@pytest.mark.parametrize(
    ("policy", "score", "burger", "resolution"),
    [
        ("human_wins", 0.75, 0.0, "positive_overruled"),
        ("human_wins", 1.0, 1.0, "negative_overruled"),
        ("unknown", 0.75, 0.75, "negative_overruled"),
        ("closure_wins", 0.75, 0.75, "negative_overruled"),
    ],
)
def test_a_class_that_is_given_as_present_and_as_absent_is_a_conflict(policy, score, burger, resolution):
    rows: list[Row] = [[(BURGER, score), (BURGER, 0.0)], [(BURGER, 0.0), (BURGER, score), (BURGER, 0.0)]]
    labels, conflicts = close(rows, PARENTS, policy)
    assert [row[BURGER] for row in labels] == [(burger, GIVEN)] * 2
    below, above = (0.0, None) if burger == 0 else (None, burger)
    assert [(sure_of(row).get(CHEESEBURGER), sure_of(row).get(SANDWICH)) for row in labels] == [(below, above)] * 2
    assert conflicts == [(row, BURGER, score, BURGER, resolution) for row in range(2)]


@pytest.mark.parametrize("policy", POLICIES)
def test_an_absence_alone_implies_the_absence_of_all_below_and_an_unknown_implies_nothing(policy):
    rows: list[Row] = [[(SANDWICH, 0.0), (BURGER, UNKNOWN)], [(SANDWICH, UNKNOWN)], []]
    below = {BURGER: (0.0, GIVEN), CHEESEBURGER: (0.0, ANCESTOR), TOAST: (0.0, ANCESTOR)}
    assert close(rows, PARENTS, policy) == ([{SANDWICH: (0.0, GIVEN)} | below, {SANDWICH: (UNKNOWN, GIVEN)}, {}], [])


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=150)
@given(worlds())
def test_as_the_slow_obvious_way(policy, world):
    parents, rows = world
    slow = [slow_close(row, parents, policy) for row in rows]
    labels, conflicts = close(rows, parents, policy)
    assert labels == [row_labels for row_labels, _ in slow]
    assert conflicts == [(r, *entry) for r, (_, entries) in enumerate(slow) for entry in entries]


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=40)
@given(worlds(), st.randoms())
def test_the_order_of_labels_in_a_row_is_free(policy, world, random):
    parents, rows = world
    shuffled = [random.sample(row, len(row)) for row in rows]
    assert close(shuffled, parents, policy) == close(rows, parents, policy)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=40)
@given(worlds())
def test_without_absences_all_is_closed_max(policy, world):
    parents, rows = world
    rows = [[(c, p) for c, p in row if p != 0] for row in rows]
    offsets = np.cumsum([0, *map(len, rows)])
    classes = np.array([c for row in rows for c, _ in row], np.int32)
    sure = np.array([p for row in rows for _, p in row], np.float32)
    closed, conflicts = close_with_negatives(offsets, classes, sure, find_ancestors(parents), policy)
    expected = close_labels(offsets, classes, sure, find_ancestors(parents), "closed_max")
    assert all((a == b).all() for a, b in zip(closed, expected, strict=True))
    assert len(conflicts.rows) == 0


@pytest.mark.parametrize("policy", ["human_wins", "closure_wins"])
@settings(max_examples=100)
@given(worlds())
def test_idempotent(policy, world):
    parents, rows = world
    once, _ = close(rows, parents, policy)
    twice, _ = close([as_row(labels) for labels in once], parents, policy)
    assert [sure_of(labels) for labels in twice] == [sure_of(labels) for labels in once]


def test_unknown_is_not_idempotent_as_it_forgets_why_a_label_is_unknown():
    once, _ = close([[(BURGER, 1.0), (SANDWICH, 0.0)]], PARENTS, "unknown")
    twice, _ = close([as_row(once[0])], PARENTS, "unknown")
    assert (once[0][SANDWICH], twice[0][SANDWICH]) == ((UNKNOWN, GIVEN), (1.0, GIVEN))


@settings(max_examples=100)
@given(worlds())
def test_human_wins_leaves_nothing_below_a_given_absence_but_what_was_given_as_certain(world):
    parents, rows = world
    for row, labels in zip(rows, close(rows, parents, "human_wins")[0], strict=True):
        sure = sure_of(labels)
        certain = {c for c, p in row if p == 1}
        assert all(sure[c] == 1 for c in certain)
        below = [c for c in sure if any(sure.get(a) == 0 for a in slow_ancestors(parents, c))]
        assert all(sure[c] <= 0 for c in below if c not in certain)


@pytest.mark.parametrize("policy", ["unknown", "closure_wins"])
@settings(max_examples=100)
@given(worlds())
def test_no_conflict_is_left_by_the_policies_that_resolve_them(policy, world):
    parents, rows = world
    closed, conflicts = close(rows, parents, policy)
    assert close([as_row(labels) for labels in closed], parents, policy)[1] == []
    positive = {(r, d) for r, d, *_ in conflicts}
    assert all(closed[r][d][0] > 0 for r, d in positive)  # the positive label is what stays


@pytest.mark.parametrize("policy", POLICIES)
def test_long_and_short_rows_do_not_meet(policy):
    rng = np.random.default_rng(0)
    parents = [[int(c) for c in set(rng.integers(0, max(c, 1), 2)) if c] for c in range(60)]
    sure = [UNKNOWN, 0.0, 0.5, 0.75, 1.0]
    rows = [[(int(c), sure[rng.integers(5)]) for c in rng.permutation(60)[: rng.integers(9) ** 2]] for _ in range(99)]
    slow = [slow_close(row, parents, policy) for row in rows]
    labels, conflicts = close(rows, parents, policy)
    assert labels == [row_labels for row_labels, _ in slow]
    assert conflicts == [(r, *entry) for r, (_, entries) in enumerate(slow) for entry in entries]


def test_absences_that_make_rows_a_hundredfold_longer_grow_the_arrays():
    fan = [[], *([0] for _ in range(199))]
    closed, _ = close([[(0, 0.0)]] * 50 + [[]], fan, "human_wins")
    assert closed == [{0: (0.0, GIVEN), **dict.fromkeys(range(1, 200), (0.0, ANCESTOR))}] * 50 + [{}]


@pytest.mark.parametrize(
    ("row", "policy", "message"),
    [
        ([(0, 1.0)], "human", "negatives must be one of human_wins, unknown, closure_wins, got 'human'"),
        ([(8, 1.0)], "unknown", "class must be in 0..7, got 8"),
        ([(0, 1.5)], "unknown", "confidence must be -1 or in \\[0, 1\\], got 1.5"),
    ],
)
def test_wrong_input_is_refused(row, policy, message):
    with pytest.raises(ValueError, match=message):
        close([row], PARENTS, policy)


def official(shared_data):
    """(vocabulary, {name: class}) of the 600 boxable classes."""
    folder = shared_data / "openimages" / "v4_2018_04"
    vocabulary = parse_openimages((folder / "bbox_labels_600_hierarchy.json").read_bytes(), "hierarchy.json")
    class_of = {mid: c for c, mid in enumerate(vocabulary.ids)}
    with (folder / "class-descriptions-boxable.reconstructed.csv").open(newline="") as file:
        return vocabulary, {name: class_of[mid] for mid, name in csv.reader(file)}


@pytest.mark.real_data
def test_the_hamburger_that_is_no_sandwich(shared_data):
    vocabulary, named = official(shared_data)
    row: Row = [(named["Hamburger"], 1.0), (named["Sandwich"], 0.0)]
    resolved = {"human_wins": 0.0, "unknown": UNKNOWN, "closure_wins": 1.0}
    for policy, sandwich in resolved.items():
        (labels,), conflicts = close([row], [list(above) for above in vocabulary.parents], policy)
        assert labels[named["Hamburger"]] == (1.0, GIVEN)
        assert labels[named["Sandwich"]] == (sandwich, GIVEN)
        assert labels[named["Food"]] == (1.0, ANCESTOR)
        assert (named["Submarine sandwich"] in labels) == (policy == "human_wins")
        assert [conflict[1:4] for conflict in conflicts] == [(named["Hamburger"], 1.0, named["Sandwich"])]
