import csv
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from ml_images import schemas
from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.closed_rows import checked_rows
from ml_images.hierarchy.conflicts import Conflicts, find_conflicts, to_conflict_batch
from ml_images.hierarchy.formats.openimages import parse_openimages
from ml_images.schemas import UNKNOWN

# food 0 > sandwich 1 > burger 2; snack 3 > burger 2; food 0 > fruit 4
FOOD, SANDWICH, BURGER, SNACK, FRUIT = range(5)
ANCESTORS = find_ancestors([[], [FOOD], [SANDWICH, SNACK], [], [FOOD]])


def find(rows: list[list[tuple[int, float]]], ancestors=ANCESTORS, human_wins=True) -> Conflicts:
    offsets = np.cumsum([0, *map(len, rows)])
    classes = np.array([c for row in rows for c, _ in row], np.int32)
    sure = np.array([confidence for row in rows for _, confidence in row], np.float32)
    rows_in_form = checked_rows(offsets, classes, sure, ancestors.num_classes)
    return find_conflicts(*rows_in_form, ancestors, "both_kept", "positive_overruled", human_wins=human_wins)


def entries(conflicts: Conflicts) -> list[tuple]:
    assert [array.dtype for array in conflicts] == [np.int64, np.int32, np.float32, np.int32, np.int8]
    return list(zip(*(array.tolist() for array in conflicts), strict=True))


def test_each_pair_is_an_entry_in_the_order_of_rows_positives_and_negatives():
    rows = [
        [(BURGER, 1.0), (FRUIT, 0.5), (SNACK, 0.0), (FOOD, 0.0)],
        [(BURGER, 1.0), (FOOD, 1.0)],
        [(SANDWICH, 0.0), (BURGER, 0.75)],
    ]
    assert entries(find(rows)) == [
        (0, BURGER, 1.0, FOOD, 0),
        (0, BURGER, 1.0, SNACK, 0),
        (0, FRUIT, 0.5, FOOD, 1),
        (2, BURGER, 0.75, SANDWICH, 1),
    ]


def test_only_a_positive_below_a_given_absence_is_a_conflict():
    rows = [
        [(BURGER, 0.0), (FOOD, 1.0)],  # no burger says nothing about food
        [(BURGER, 0.0), (FOOD, 0.0)],
        [(BURGER, UNKNOWN), (FOOD, 0.0)],
        [(BURGER, 1.0), (FOOD, UNKNOWN)],
        [(SNACK, 1.0), (FOOD, 0.0)],  # neither lies above the other
        [(BURGER, 1.0), (FRUIT, 0.0)],
        [(FOOD, 0.0)],  # rows do not meet
        [(BURGER, 1.0)],
    ]
    assert entries(find(rows)) == []


def test_a_class_given_twice_counts_with_its_highest_confidence():
    assert entries(find([[(FOOD, 0.0), (BURGER, 0.5), (BURGER, 1.0)]])) == [(0, BURGER, 1.0, FOOD, 0)]
    own = (0, FOOD, 0.5, FOOD, 3)
    assert entries(find([[(FOOD, 0.0), (FOOD, 0.5), (BURGER, 1.0)]], human_wins=False)) == [own]


def test_a_score_that_a_person_denies_in_the_same_row_loses_and_the_absence_counts():
    rows = [[(FOOD, 0.5), (FOOD, 0.0), (BURGER, 1.0)], [(BURGER, 0.0), (FOOD, 0.0), (BURGER, 0.5)]]
    assert entries(find(rows)) == [(0, FOOD, 0.5, FOOD, 1), (0, BURGER, 1.0, FOOD, 0), (1, BURGER, 0.5, BURGER, 1)]


def test_the_conflicts_table_names_the_key_of_each_row():
    conflicts = find([[(BURGER, 1.0)], [(SANDWICH, 0.0), (BURGER, 0.75)], [(FOOD, 0.0), (FRUIT, 1.0)]])
    batch = to_conflict_batch(conflicts, pa.array(["a", "b", "c"]), pa.array(["list.txt"] * 3))
    assert batch.schema == schemas.CONFLICTS
    batch.validate(full=True)
    same = {"source": "list.txt"}
    assert batch.to_pylist() == [
        {"key": "b", **same, "positive": BURGER, "positive_confidence": 0.75, "negative": SANDWICH}
        | {"resolution": "positive_overruled"},
        {"key": "c", **same, "positive": FRUIT, "positive_confidence": 1.0, "negative": FOOD}
        | {"resolution": "both_kept"},
    ]
    assert to_conflict_batch(find([[(FOOD, 1.0)]]), pa.array(["a"]), pa.array(["list.txt"])).num_rows == 0


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "expected"), [("validation", 28), ("test", 5), ("train", 2)])
def test_the_conflicts_that_people_left_in_open_images(split, expected, shared_data):
    folder = shared_data / "openimages"
    hierarchy = folder / "v4_2018_04" / "bbox_labels_600_hierarchy.json"
    vocabulary = parse_openimages(hierarchy.read_bytes(), hierarchy.name)
    class_of = {mid: c for c, mid in enumerate(vocabulary.ids)}
    rows = defaultdict(list)
    with (folder / "v3_2017_11" / split / "annotations-human.csv").open(newline="") as file:
        for label in csv.DictReader(file):
            if label["LabelName"] in class_of:
                rows[label["ImageID"]].append((class_of[label["LabelName"]], float(label["Confidence"])))
    found = entries(find(list(rows.values()), find_ancestors(vocabulary.parents)))
    assert len(found) == expected
    assert {resolution for *_, resolution in found} == {0}
