import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images import schemas
from ml_images.annotations.duplicates import SET_ASIDE, drop_duplicates, resolve_duplicates

ROWS = [
    ("b", "two.txt", 1, 4, {5: 0.9}),
    ("a", "two.txt", 1, 2, {3: 0.75, 7: 0.0}),
    ("a", "one.txt", 0, 9, {7: -1.0, 1: 0.5}),
    ("a", "two.txt", 1, 1, {1: 0.25, 3: 0.5}),
    ("c", "one.txt", 0, 1, {2: 1.0}),
]


def table(rows) -> pa.Table:
    names = ("key", "source", "piece", "line")
    content = [
        {
            **dict(zip(names, row, strict=False)),
            "text": f"line {row[3]}",
            "classes": list(row[4]),
            "confidences": list(row[4].values()),
            "absent": [int(confidence == 0) for confidence in row[4].values()],
        }
        for row in rows
    ]
    return pa.Table.from_pylist(content, schema=SET_ASIDE)


def resolved(rows, policy):
    one = resolve_duplicates(table(rows), policy, num_classes=10)
    labels = list(zip(one.classes.tolist(), one.confidences.tolist(), strict=True))
    found = {
        key: (source, labels[start:end])
        for key, source, start, end in zip(
            one.keys.to_pylist(), one.sources.to_pylist(), one.offsets, one.offsets[1:], strict=False
        )
    }
    return one, found


def test_merge_writes_the_rows_of_a_key_one_after_the_other():
    one, found = resolved(ROWS, "merge")
    assert found == {
        "a": ("one.txt", [(7, 0.0), (1, 0.5), (3, 0.75)]),
        "b": ("two.txt", [(5, pytest.approx(0.9))]),
        "c": ("one.txt", [(2, 1.0)]),
    }
    assert one.merged == 2
    assert one.rejects.num_rows == 0


def test_first_keeps_the_first_row_and_rejects_the_others_with_their_places():
    one, found = resolved(ROWS, "first")
    assert found["a"] == ("one.txt", [(7, -1.0), (1, 0.5)])
    assert one.merged == 0
    assert one.rejects.schema.equals(schemas.REJECTS)
    assert one.rejects.to_pylist() == [
        {"source": "two.txt", "line": line, "text": f"line {line}", "reason": "duplicate_key", "raw": None}
        for line in (1, 2)
    ]


def test_every_label_that_was_given_is_counted_somewhere():
    given = sum(len(row[4]) for row in ROWS)
    merged, first = (resolved(ROWS, policy)[0] for policy in ("merge", "first"))
    assert (merged.repeated, merged.labels_rejected) == (3, 0)  # of a: 1, 3 and 7 twice
    assert (first.repeated, first.labels_rejected) == (0, 4)  # its second and third row
    for one in (merged, first):
        assert len(one.classes) + one.repeated + one.labels_rejected == given


def test_the_example_names_a_key_and_two_places():
    assert resolved(ROWS, "error")[0].example == "'a' (one.txt:9 and two.txt:1)"
    assert resolved(ROWS[:1] + ROWS[-1:], "error")[0].example is None


@given(st.permutations(ROWS), st.sampled_from(["merge", "first"]))
def test_the_order_in_which_rows_were_found_does_not_matter(rows, policy):
    assert resolved(rows, policy)[1] == resolved(ROWS, policy)[1]


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([-1.0, 0.0, 0.25, 1.0])), max_size=12)))
def test_a_class_keeps_its_first_place_and_its_highest_confidence(rows):
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    classes = np.array([c for row in rows for c, _ in row], np.int32)
    confidences = np.array([confidence for row in rows for _, confidence in row], np.float32)
    kept = drop_duplicates(offsets, classes, confidences, (confidences == 0).astype(np.int8), 10)
    expected = [{c: max(x for d, x in row if d == c) for c, _ in row} for row in rows]
    assert kept[0].tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert kept[1].tolist() == [c for row in expected for c in row]
    assert kept[2].tolist() == [confidence for row in expected for confidence in row.values()]
    assert kept[3].tolist() == [(c, 0.0) in given for given, row in zip(rows, expected, strict=True) for c in row]


def test_that_a_row_said_absent_stays_known_beside_what_another_says():
    one, found = resolved(ROWS, "merge")
    assert [label for _, labels in found.values() for label in labels][:3] == [(7, 0.0), (1, 0.5), (3, 0.75)]
    assert one.absent.tolist() == [1, 0, 0, 0, 0]
    one, _ = resolved([("a", "one.txt", 0, 1, {7: 0.0, 8: 0.5}), ("a", "one.txt", 0, 2, {7: 0.25})], "merge")
    assert (one.confidences.tolist(), one.absent.tolist()) == ([0.25, 0.5], [1, 0])
    one, _ = resolved([("a", "one.txt", 0, 1, {8: 0.5}), ("a", "one.txt", 0, 2, {7: 0.25})], "first")
    assert one.absent.tolist() == [0]


@pytest.mark.parametrize("policy", ["merge", "first", "error"])
def test_no_row_at_all_is_resolved_to_none(policy):
    one, found = resolved([], policy)
    assert (found, one.merged, one.repeated, one.rejects.num_rows, one.example) == ({}, 0, 0, 0, None)
