import json
from dataclasses import replace

import numpy as np

from ml_images.labels.statistics import LabelStatistics
from ml_images.report.contents import Lines, Reject, Training, TrainingPoint
from ml_images.report.numbers import MAX_EXAMPLE_CHARACTERS, NUM_LISTED_CLASSES, readme, report_json


def test_the_numbers_are_those_given_and_plain_json(report):
    numbers = report_json(report)
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    lines = numbers["lines"]
    assert [lines[name] for name in ("read", "accepted", "rows", "merged", "rejected")] == [1010, 1003, 1000, 3, 7]
    assert (numbers["images"]["ok"], numbers["images"]["lost"]) == (900, 100)
    assert numbers["images"]["outcomes"][1]["share_of_keys"] == 80 / 1000
    assert numbers["dataset"] == {
        "rows": 896,
        "rows_per_split": {"train": 801, "val": 52, "test": 43},
        "left_out": {"no present label": 4},
    }
    assert numbers["labels"] == report.statistics
    assert numbers["funnel"][2]["kept"] == ["train", "val", "test"]


def test_numpy_counts_become_plain_numbers(report):
    counts = {name: np.int64(count) for name, count in report.outcomes.items()}
    numbers = report_json(replace(report, outcomes=counts))
    assert numbers["images"] == json.loads(json.dumps(numbers["images"]))


def test_the_best_map_is_the_highest_finite_one_and_nan_becomes_none(report):
    training = report_json(report)["training"]
    assert (training["best_val_map"], training["best_val_map_step"], training["prior_val_map"]) == (0.61, 1500, 0.2)
    assert training["points"][-1] == {"step": 1600, "loss": None, "val_map": None}
    assert training["last_step"] == 1600


def test_of_equal_maps_the_earliest_is_the_best(report):
    points = tuple(TrainingPoint(step, 0.1, 0.5) for step in (10, 20, 30))
    training = report_json(replace(report, training=Training(points, None)))["training"]
    assert training["best_val_map_step"] == 10
    assert training["prior_val_map"] is None


def test_a_training_without_points_has_no_best(report):
    training = report_json(replace(report, training=Training((), None)))["training"]
    assert (training["best_val_map"], training["best_val_map_step"], training["last_step"]) == (None, None, None)


def test_missing_parts_have_no_key(report):
    bare = replace(report, lines=None, outcomes=None, dataset=None, training=None, configuration=None, versions=None)
    missing = {"lines", "images", "dataset", "training", "configuration", "versions"}
    assert missing.isdisjoint(report_json(bare))
    assert missing < set(report_json(report))


def test_each_quantity_of_the_readme_names_its_denominator(report):
    told = {(row["quantity"], row["over"]): row["value"] for row in report_json(report)["readme"]}
    assert told["images", "all rows"] == 1000
    assert told["images", "train rows"] == 600
    assert told["images", "val rows"] == 400
    assert told["tags per image", "labels of all rows / all rows"] == 2.5
    assert told["images per class", "labels of all rows / all 5 classes"] == 500
    assert told["images per class", "labels of train rows / all 5 classes"] == 300
    assert told["images per class", "labels of all rows / 4 classes with images"] == 625
    assert told["trainable classes", "more than 100 images, all rows"] == 4
    assert told["trainable classes", "more than 100 images, train rows"] == 4
    assert told["classes without images", "no present label in all rows"] == 1
    assert told["longest way to a root", "edges"] == 3
    assert told["mean depth", "edges, over all classes"] == 1.6
    assert told["mean depth", "edges, over 2 leaves"] == 2.5


def test_lists_of_one_split_have_no_rows_of_their_own(report):
    one = LabelStatistics(5)
    one.tags[:, 0] = [0, 0, 0, 7]
    assert [
        row["over"] for row in readme(one.result(), report_json(report)["hierarchy"]) if row["quantity"] == "images"
    ] == ["all rows"]


def test_empty_classes_are_listed_with_the_least_deep_first(report):
    none = replace(
        report,
        labels_per_class=np.zeros((5, 5), np.int64),
        tags_per_image=np.array([1000]),
        statistics={**report.statistics, "labels": {"present": 0, "absent": 0, "unknown": 0}},
    )
    empty = report_json(none)["empty_classes"]
    assert empty["count"] == 5
    assert [row["class"] for row in empty["listed"]] == [0, 1, 2, 4, 3]
    assert [row["names"] for row in report_json(report)["empty_classes"]["listed"]] == [["unicorn"]]


def test_listed_classes_have_images_and_no_class_is_listed_twice(report):
    numbers = report_json(report)
    assert [row["class"] for row in numbers["most_frequent_classes"]] == [0, 1, 2, 3]
    assert numbers["rarest_classes"] == []
    assert numbers["most_frequent_classes"][1]["share_of_rows"] == 0.75


def test_most_frequent_and_rarest_classes_of_many(report):
    many = 3 * NUM_LISTED_CLASSES
    images = np.arange(many)[::-1, None]  # class 0 has most, the last class none
    vocabulary = report.vocabulary.take([0] * many).set_column(0, "class", [np.arange(many, dtype=np.int32)])
    total = int(images.sum())
    statistics = {**report.statistics, "rows": total, "labels": {"present": total, "absent": 0, "unknown": 0}}
    numbers = report_json(
        replace(
            report,
            vocabulary=vocabulary,
            labels_per_class=np.pad(images, ((0, 0), (0, 4))),
            tags_per_image=np.array([0, total]),
            statistics=statistics,
            lines=None,
            outcomes=None,
        )
    )
    assert [row["class"] for row in numbers["most_frequent_classes"]] == list(range(NUM_LISTED_CLASSES))
    rarest = [(row["class"], row["images"]) for row in numbers["rarest_classes"]]
    assert rarest == [(many - 1 - count, count) for count in range(1, NUM_LISTED_CLASSES + 1)]


def test_long_examples_are_cut_and_say_how_long_they_were(report):
    lines = Lines(1001, 1000, (Reject("too_long", 1, "a.txt", 1, "x" * 1_000_000),))
    example = report_json(replace(report, lines=lines))["lines"]["rejects"][0]["example"]
    assert example["text"] == "x" * MAX_EXAMPLE_CHARACTERS
    assert example["characters"] == 1_000_000
