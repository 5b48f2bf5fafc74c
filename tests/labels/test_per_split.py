import numpy as np
import pyarrow as pa

from ml_images import schemas
from ml_images.labels.per_split import add_present, lacking, per_split_table, warnings

VOCABULARY = pa.table(
    [[0, 1, 2, 3], ["n0", "n1", "n2", "n3"], [["dog", "hound"], [], ["cat"], ["eel"]], [[]] * 4, [0] * 4],
    schema=schemas.VOCABULARY,
)


def test_only_labels_that_are_present_count() -> None:
    counts = np.zeros((2, 4), np.int64)
    offsets, rows = np.array([0, 2, 2, 5]), np.array([0, 0, 1])
    add_present(offsets, np.array([0, 1, 0, 2, 3], np.int32), np.array([1, 0, 0.5, -1, 1], np.float32), rows, counts)
    assert counts.tolist() == [[1, 0, 0, 0], [1, 0, 0, 1]]


def test_a_row_for_each_class_and_split() -> None:
    table = per_split_table({"train": np.array([5, 6]), "val": np.array([0, 1])})
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (0, "train", 5),
        (0, "val", 0),
        (1, "train", 6),
        (1, "val", 1),
    ]


def test_labels_that_a_split_lacks_are_named_the_most_frequent_first() -> None:
    counts = {"train": np.array([5, 9, 0, 3]), "val": np.array([0, 0, 0, 3])}
    found = lacking(counts, VOCABULARY)
    assert found == {
        "train": {"labels": 0, "such_as": []},
        "val": {"labels": 2, "such_as": ["n1", "dog"]},  # nobody has class 2
    }
    assert warnings(found) == ["2 labels that have images have none in val, such as n1, dog"]
