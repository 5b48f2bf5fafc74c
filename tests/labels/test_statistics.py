import json
import tempfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.labels.rows import to_rows
from ml_images.labels.statistics import (
    GROUPS,
    NO_SPLIT,
    ORIGINS,
    STATES,
    LabelStatistics,
    count_parts,
    split_of,
)
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
        statistics.update(to_rows(batch))
    return statistics


rows_strategy = st.lists(
    st.tuples(
        st.sampled_from(["a.txt", "lists/train_b.txt", "VAL-ünicode"]),
        st.dictionaries(
            st.integers(0, NUM_CLASSES - 1),
            st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.integers(0, len(ORIGINS) - 1)),
        ),
    ),
    max_size=12,
)


def slow_counts(rows):
    """The same numbers, one label at a time."""
    labels, sources, tags, present = Counter(), Counter(), Counter(), Counter()
    for source, row in rows:
        split = {"lists/train_b.txt": "train", "VAL-ünicode": "val"}.get(source, NO_SPLIT)
        num_present = sum(confidence > 0 for confidence, _ in row.values())
        sources[source, "rows"] += 1
        sources[source, "labels"] += num_present
        tags[split, num_present] += 1
        for c, (confidence, origin) in row.items():
            state = "present" if confidence > 0 else "absent" if confidence == 0 else "unknown"
            labels[ORIGINS[origin], state] += 1
            present[split, c, ORIGINS[origin]] += state == "present"
    return labels, sources, tags, present


@given(rows_strategy)
def test_counts_equal_those_taken_one_label_at_a_time(rows):
    statistics = counted(batch_of(rows))
    labels, sources, tags, present = slow_counts(rows)
    for g, group in enumerate(GROUPS):
        assert statistics.tags[g].tolist() == [tags[group, n] for n in range(NUM_CLASSES + 1)]
        for c in range(NUM_CLASSES):
            assert statistics.present[g, c].tolist() == [present[group, c, origin] for origin in ORIGINS]
    result = statistics.result()
    assert {name: (s["rows"], s["labels"]) for name, s in result["sources"].items()} == {
        name: (sources[name, "rows"], sources[name, "labels"]) for name, _ in sources
    }
    for origin in ORIGINS:
        assert result["labels_per_origin"][origin] == {state: labels[origin, state] for state in STATES}
    assert sum(result["labels"].values()) == labels.total()
    assert result["rows"] == len(rows)


@given(rows_strategy)
def test_classes_of_a_list_are_those_present_in_it(rows):
    classes = {}
    for source, row in rows:
        classes.setdefault(source, set()).update(c for c, (confidence, _) in row.items() if confidence > 0)
    told = counted(batch_of(rows)).result()["sources"]
    assert {source: one["classes"] for source, one in told.items()} == {s: len(c) for s, c in classes.items()}


def test_classes_in_no_other_list_are_told_within_a_split():
    both, first, second = {0: (1.0, GIVEN), 1: (0.0, GIVEN)}, {2: (0.5, GIVEN)}, {3: (1.0, GIVEN), 4: (1.0, ANCESTOR)}
    rows = [(list, row) for list in ("train_a", "train_b", "val_a") for row in (both,)]
    rows += [("train_a", first), ("train_b", second), ("val_a", second)]
    told = counted(batch_of(rows)).result()["sources"]
    found = {s: (one["classes"], one["classes_in_no_other_list_of_the_split"]) for s, one in told.items()}
    assert found == {"train_a": (2, 1), "train_b": (3, 2), "val_a": (3, 3)}


@given(rows_strategy)
def test_what_is_told_of_the_splits_adds_up_to_what_is_told_of_all(rows):
    statistics = counted(batch_of(rows))
    result = statistics.result()
    assert sum(part["rows"] for part in result["splits"].values()) == result["rows"]
    totals = [part["tags_per_image"]["over_rows"]["total"] for part in result["splits"].values()]
    assert sum(totals) == result["labels"]["present"] == int(statistics.images_per_class.sum())
    tags = statistics.tags_per_image
    assert int(tags @ np.arange(len(tags))) == result["labels"]["present"]
    assert (statistics.labels_per_class.sum(axis=1) == statistics.images_per_class).all()


@settings(max_examples=40)
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


@given(rows_strategy)
def test_json_gives_the_counters_back(rows):
    statistics = counted(batch_of(rows))
    back = LabelStatistics.from_json(statistics.to_json())
    assert back.result() == statistics.result()
    back.update(to_rows(batch_of(rows)))
    statistics.merge(statistics)
    assert back.to_json() == statistics.to_json()


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
    statistics.present[0, :, GIVEN] = [99, 100, 51, 0]
    statistics.present[1, :, ANCESTOR] = [0, 0, 50, 0]
    result = statistics.result()
    assert result["classes"]["more_than_100_images"] == 1
    assert result["classes"]["at_least_100_images"] == 2


@pytest.mark.parametrize(
    ("source", "split"),
    [
        ("train_urls.txt", "train"),
        ("/lists/2018/val_image_id_from_imagenet.txt.gz", "val"),
        ("s3://bucket/train/TEST-2.csv", "test"),
        ("train", "train"),
        ("train/urls.txt", "train"),
        ("lists/val/part-0.txt", "val"),
        ("val/train/urls.txt", "train"),
        ("train/lists/urls.txt", NO_SPLIT),
        ("training_urls.txt", "train"),
        ("validation-annotations.csv", "val"),
        ("train1.txt", "train"),
        ("trainval.txt", NO_SPLIT),
        ("my_train.txt", NO_SPLIT),
        ("", NO_SPLIT),
    ],
)
def test_a_list_is_of_the_split_that_its_file_name_or_else_its_folder_begins_with(source, split):
    assert split_of(source) == split


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
        ({1: (1.0, -1)}, "origin -1 is unknown"),
    ],
)
def test_a_table_that_breaks_its_contract_is_refused_and_not_counted(labels, message):
    statistics = LabelStatistics(NUM_CLASSES)
    with pytest.raises(InputError, match=message):
        statistics.update(to_rows(batch_of([("list", labels)])))
    assert statistics.to_json() == LabelStatistics(NUM_CLASSES).to_json()


def test_lists_of_different_lengths_are_refused():
    row = {"key": "k", "source": "s", "classes": [1, 2], "confidences": [1.0], "origins": [0, 0]}
    with pytest.raises(InputError, match="confidences and classes"):
        LabelStatistics(NUM_CLASSES).update(to_rows(pa.RecordBatch.from_pylist([row], schema=LABELS)))


@pytest.mark.parametrize("hole", ["classes", "confidences", "origins", "source"])
def test_nulls_are_refused(hole):
    row = {"key": "k", "source": "s", "classes": [1], "confidences": [1.0], "origins": [0], hole: None}
    nullable = pa.schema([field.with_nullable(True) for field in LABELS])
    statistics = LabelStatistics(NUM_CLASSES)
    with pytest.raises(InputError, match=f"{hole} has nulls"):
        statistics.update(to_rows(pa.RecordBatch.from_pylist([row], schema=nullable)))
    if hole != "source":
        row[hole] = [None]
        with pytest.raises(InputError, match=f"{hole} has nulls"):
            statistics.update(to_rows(pa.RecordBatch.from_pylist([row], schema=nullable)))
    assert statistics.rows == 0


@given(st.lists(rows_strategy, min_size=1, max_size=3))
def test_parts_count_as_their_rows_do(parts):
    with tempfile.TemporaryDirectory() as folder:
        places = [f"{folder}/part-{i}.parquet" for i in range(len(parts))]
        for place, rows in zip(places, parts, strict=True):
            pq.write_table(pa.Table.from_batches([batch_of(rows)]), place)
        assert count_parts(places, NUM_CLASSES).to_json() == counted(*map(batch_of, parts)).to_json()


def test_counters_of_different_vocabularies_do_not_merge():
    with pytest.raises(ValueError, match="6 and of 7"):
        LabelStatistics(6).merge(LabelStatistics(7))


@pytest.mark.real_data
def test_the_published_class_frequencies_give_the_published_numbers(shared_data):
    counts = np.loadtxt(shared_data / "ml-images" / "class_counts_sorted.txt", dtype=np.int64)
    statistics = LabelStatistics(11_166)
    statistics.present[GROUPS.index("train"), : len(counts), GIVEN] = counts
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
