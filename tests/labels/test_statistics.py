import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.labels.statistics import ORIGINS, STATES, LabelStatistics, gini
from ml_images.schemas import ANCESTOR, GIVEN, LABELS, REVIEW

NUM_CLASSES = 6


def batch_of(rows):
    """rows: (source, {class: (confidence, origin)}) each."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "key": f"k{i}",
                "source": source,
                "classes": sorted(labels),
                "confidences": [labels[c][0] for c in sorted(labels)],
                "origins": [labels[c][1] for c in sorted(labels)],
            }
            for i, (source, labels) in enumerate(rows)
        ],
        schema=LABELS,
    )


def counted(*batches, num_classes=NUM_CLASSES):
    statistics = LabelStatistics(num_classes)
    for batch in batches:
        statistics.update(batch)
    return statistics


rows_strategy = st.lists(
    st.tuples(
        st.sampled_from(["a.txt", "b.txt", "ünicode"]),
        st.dictionaries(
            st.integers(0, NUM_CLASSES - 1),
            st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.integers(0, len(ORIGINS) - 1)),
        ),
    ),
    max_size=12,
)


def slow_counts(rows):
    """The same numbers, one label at a time."""
    images_per_class, labels, sources, tags = [0] * NUM_CLASSES, {}, {}, []
    for source, row in rows:
        sources[source] = sources.get(source, 0) + 1
        tags.append(sum(confidence > 0 for confidence, _ in row.values()))
        for c, (confidence, origin) in row.items():
            state = "present" if confidence > 0 else "absent" if confidence == 0 else "unknown"
            labels[ORIGINS[origin], state] = labels.get((ORIGINS[origin], state), 0) + 1
            images_per_class[c] += state == "present"
    return images_per_class, labels, sources, tags


@settings(deadline=None)  # the first call pays for imports
@given(rows_strategy)
def test_counts_equal_those_taken_one_label_at_a_time(rows):
    statistics = counted(batch_of(rows))
    images_per_class, labels, sources, tags = slow_counts(rows)
    result = statistics.result()
    assert statistics.images_per_class.tolist() == images_per_class
    assert statistics.tags_per_image.tolist() == [tags.count(n) for n in range(max(tags, default=0) + 1)]
    assert result["rows_per_source"] == sources
    assert result["rows"] == len(rows)
    for origin in ORIGINS:
        assert result["labels_per_origin"][origin] == {state: labels.get((origin, state), 0) for state in STATES}
    assert sum(result["labels"].values()) == sum(labels.values())


@settings(deadline=None, max_examples=40)
@given(st.lists(rows_strategy, min_size=3, max_size=3))
def test_merging_in_any_grouping_and_order_equals_one_pass(parts):
    one_pass = counted(*map(batch_of, parts)).to_json()
    a, b, c = (counted(batch_of(part)) for part in parts)
    a.merge(b)
    a.merge(c)
    assert a.to_json() == one_pass
    a, b, c = (counted(batch_of(part)) for part in parts)
    b.merge(c)
    b.merge(a)
    assert b.to_json() == one_pass


@settings(deadline=None)  # the first call pays for imports
@given(rows_strategy)
def test_json_gives_the_counters_back(rows):
    statistics = counted(batch_of(rows))
    back = LabelStatistics.from_json(statistics.to_json())
    assert back.result() == statistics.result()
    back.update(batch_of(rows))
    statistics.merge(statistics)
    assert back.to_json() == statistics.to_json()


@settings(deadline=None)  # the first call pays for imports
@given(rows_strategy, st.integers(0, 12), st.integers(0, 12))
def test_a_slice_counts_only_its_own_rows(rows, start, length):
    sliced = counted(batch_of(rows).slice(start, length))
    assert sliced.to_json() == counted(batch_of(rows[start : start + length])).to_json()


def test_a_known_table_gives_known_summaries():
    rows = [
        ("list", {0: (1.0, GIVEN), 1: (0.5, ANCESTOR)}),
        ("list", {0: (1.0, GIVEN), 2: (0.0, REVIEW), 3: (-1.0, GIVEN)}),
    ]
    result = counted(batch_of(rows)).result()
    assert result["labels"] == {"present": 3, "absent": 1, "unknown": 1}
    assert result["classes"]["with_images"] == 2
    assert result["classes"]["without_images"] == 4
    over_all = result["images_per_class"]["over_all_classes"]
    assert (over_all["n"], over_all["total"], over_all["mean"], over_all["max"]) == (6, 3, 0.5, 2)
    over_some = result["images_per_class"]["over_classes_with_images"]
    assert (over_some["n"], over_some["mean"], over_some["min"]) == (2, 1.5, 1)
    tags = result["tags_per_image"]["over_rows"]
    assert (tags["n"], tags["mean"], tags["min"], tags["max"], tags["quantiles"]["0.5"]) == (2, 1.5, 1, 2, 1)


def test_both_bounds_of_a_hundred_images_are_named():
    statistics = LabelStatistics(4)
    statistics.images_per_class = np.array([99, 100, 101, 0])
    classes = statistics.result()["classes"]
    assert classes["more_than_100_images"] == 1
    assert classes["at_least_100_images"] == 2


@settings(deadline=None)  # the first call pays for imports
@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_gini_is_the_mean_difference_of_all_pairs(values):
    slow = sum(abs(a - b) for a in values for b in values) / (2 * len(values) * sum(values))
    assert gini(*np.unique(values, return_counts=True)) == pytest.approx(slow, abs=1e-12)


@settings(deadline=None)  # the first call pays for imports
@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_a_quantile_is_the_smallest_value_that_its_share_does_not_exceed(values):
    statistics = LabelStatistics(len(values))
    statistics.images_per_class = np.array(values)
    quantiles = statistics.result()["images_per_class"]["over_all_classes"]["quantiles"]
    for q, quantile in quantiles.items():
        percent = round(100 * float(q))
        enough = [v for v in values if 100 * sum(w <= v for w in values) >= percent * len(values)]
        assert quantile == min(enough)


def test_nothing_counted_has_no_mean_and_is_plain_json():
    result = LabelStatistics(3).result()
    assert result["rows"] == 0
    assert result["tags_per_image"]["over_rows"]["mean"] is None
    assert result["images_per_class"]["over_classes_with_images"]["gini"] is None
    assert result["images_per_class"]["over_all_classes"]["mean"] == 0
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({6: (1.0, GIVEN)}, "class 6 is unknown, expected 0 to 5"),
        ({-1: (1.0, GIVEN)}, "class -1 is unknown"),
        ({1: (1.5, GIVEN)}, r"got 1\.5"),
        ({1: (-0.5, GIVEN)}, r"got -0\.5"),
        ({1: (float("nan"), GIVEN)}, "got nan"),
        ({1: (1.0, 5)}, "origin 5 is unknown, expected 0 to 4"),
    ],
)
def test_a_table_that_breaks_its_contract_is_refused_and_not_counted(labels, message):
    statistics = LabelStatistics(NUM_CLASSES)
    with pytest.raises(InputError, match=message):
        statistics.update(batch_of([("list", labels)]))
    assert statistics.to_json() == LabelStatistics(NUM_CLASSES).to_json()


def test_lists_of_different_lengths_are_refused():
    row = {"key": "k", "source": "s", "classes": [1, 2], "confidences": [1.0], "origins": [0, 0]}
    with pytest.raises(InputError, match="confidences and classes"):
        LabelStatistics(NUM_CLASSES).update(pa.RecordBatch.from_pylist([row], schema=LABELS))


def test_a_missing_list_is_refused():
    row = {"key": "k", "source": "s", "classes": [1], "confidences": [1.0], "origins": None}
    nullable = pa.schema([field.with_nullable(True) for field in LABELS])
    with pytest.raises(InputError, match="origins has nulls"):
        LabelStatistics(NUM_CLASSES).update(pa.RecordBatch.from_pylist([row], schema=nullable))


def test_counters_of_different_vocabularies_do_not_merge():
    with pytest.raises(ValueError, match="6 and of 7"):
        LabelStatistics(6).merge(LabelStatistics(7))


@pytest.mark.real_data
def test_the_published_class_frequencies_give_the_published_numbers(shared_data):
    counts = np.loadtxt(shared_data / "ml-images" / "class_counts_sorted.txt", dtype=np.int64)
    statistics = LabelStatistics(11_166)
    statistics.images_per_class[: len(counts)] = counts
    result = statistics.result()
    assert result["classes"] == {
        "all": 11_166,
        "with_images": 10_824,
        "without_images": 342,
        "more_than_100_images": 10_505,
        "at_least_100_images": 10_508,
    }
    over_all = result["images_per_class"]["over_all_classes"]
    assert int(over_all["mean"]) == 13_843
    assert over_all["gini"] == pytest.approx(0.917, abs=5e-4)
    assert over_all["quantiles"]["0.5"] == 1191
    assert result["images_per_class"]["over_classes_with_images"]["quantiles"]["0.5"] == 1202
