import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ml_images import schemas
from ml_images.labels.merge import GROUPED, merge_duplicates
from ml_images.schemas import ANCESTOR, GIVEN, PREDICTION, REVIEW, UNKNOWN


def row(source: str, *labels: tuple[int, float, int]) -> dict:
    classes, confidences, origins = ([label[i] for label in labels] for i in range(3))
    return {"source": source, "classes": classes, "confidences": confidences, "origins": origins}


def merge(groups: list[tuple[str, list[dict]]]) -> list[dict]:
    batch = pa.RecordBatch.from_pylist([{"key": key, "rows": rows} for key, rows in groups], schema=GROUPED)
    merged = merge_duplicates(batch)
    merged.validate(full=True)
    assert merged.schema.equals(schemas.LABELS)
    return merged.to_pylist()


def slow_merge(key: str, rows: list[dict]) -> dict:
    best: dict[int, tuple[float, int]] = {}
    for one in rows:
        for c, confidence, origin in zip(one["classes"], one["confidences"], one["origins"], strict=True):
            best[c] = max(best.get(c, (-2.0, 0)), (confidence, -origin))
    labels = [(c, confidence, -origin) for c, (confidence, origin) in sorted(best.items())]
    return {"key": key, **row(min(one["source"] for one in rows), *labels)}


def test_union_of_classes_with_the_highest_confidence_and_its_origin():
    (merged,) = merge(
        [("a", [row("y", (1, 0.5, GIVEN), (3, 1.0, ANCESTOR)), row("x", (1, 0.75, PREDICTION), (2, 0.25, GIVEN))])]
    )
    assert merged == {"key": "a", **row("x", (1, 0.75, PREDICTION), (2, 0.25, GIVEN), (3, 1.0, ANCESTOR))}


def test_known_beats_unknown_and_given_beats_equal():
    (merged,) = merge(
        [("a", [row("s", (1, UNKNOWN, GIVEN), (2, 1.0, ANCESTOR)), row("s", (1, 0.0, REVIEW), (2, 1.0, GIVEN))])]
    )
    assert merged == {"key": "a", **row("s", (1, 0.0, REVIEW), (2, 1.0, GIVEN))}


def test_a_row_alone_stays_as_it_is_also_without_labels():
    groups = [
        ("a", [row("s", (1, 0.5, GIVEN), (4, UNKNOWN, ANCESTOR))]),
        ("b", [row("t")]),
        ("c", [row("s"), row("s")]),
    ]
    assert merge(groups) == [
        {"key": "a", **row("s", (1, 0.5, GIVEN), (4, UNKNOWN, ANCESTOR))},
        {"key": "b", **row("t")},
        {"key": "c", **row("s")},
    ]


def test_no_keys():
    assert merge([]) == []


labels = st.tuples(
    st.integers(0, 6), st.sampled_from([UNKNOWN, 0.0, 0.5, 1.0]), st.sampled_from([GIVEN, ANCESTOR, PREDICTION])
)
label_rows = st.builds(
    lambda source, labels: row(source, *sorted(labels)),
    st.sampled_from(["x", "y", "z"]),
    st.lists(labels, max_size=5, unique_by=lambda label: label[0]),
)
groups_of_rows = st.lists(
    st.tuples(st.text("abc", min_size=1, max_size=3), st.lists(label_rows, min_size=1, max_size=4)), max_size=5
)


@given(groups_of_rows, st.randoms())
def test_as_the_slow_obvious_way_in_any_order_of_the_rows(groups, random):
    shuffled = [(key, random.sample(rows, len(rows))) for key, rows in groups]
    assert merge(shuffled) == [slow_merge(key, rows) for key, rows in groups]


@given(groups_of_rows, st.integers(0, 5), st.integers(0, 5))
def test_a_slice_of_a_batch_merges_to_the_slice(groups, start, length):
    batch = pa.RecordBatch.from_pylist([{"key": key, "rows": rows} for key, rows in groups], schema=GROUPED)
    assert merge_duplicates(batch.slice(start, length)).to_pylist() == merge(groups[start : start + length])
