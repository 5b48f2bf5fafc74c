import torch

from ml_images.schemas import UNKNOWN
from ml_images.train.reader import SparseTargets
from ml_images.train.targets import Targets, from_dense, from_sparse

CPU = torch.device("cpu")
# Three images: classes 0 (0.75) and 2 (nobody knows); none, for it is padding; class 1, verified absent.
LISTS = SparseTargets(torch.tensor([0, 2, 2, 3]), torch.tensor([0, 2, 1]), torch.tensor([0.75, UNKNOWN, 0.0]))
ROWS = torch.tensor([True, False, True])


def cells(targets: Targets) -> list[list[float | None]]:
    """The confidence of each cell, None where nobody knows."""
    rows = zip(targets.values.tolist(), targets.known.tolist(), strict=True)
    return [[value if known else None for value, known in zip(*row, strict=True)] for row in rows]


def test_classes_that_are_not_listed_are_absent_where_annotations_are_complete() -> None:
    targets = from_sparse(LISTS, 3, ROWS, CPU)
    assert cells(targets) == [[0.75, 0, None], [None, None, None], [0, 0, 0]]
    assert targets.rows.tolist() == [True, False, True]


def test_classes_that_are_not_listed_are_unknown_where_annotations_are_partial() -> None:
    targets = from_sparse(LISTS, 3, ROWS, CPU, unlisted="unknown")
    assert cells(targets) == [[0.75, None, None], [None, None, None], [None, 0, None]]


def test_labels_of_images_that_are_left_out_go() -> None:
    for mask in ([True, False, True], [False, True, True], [False, False, False], [True, True, False]):
        left = LISTS.only(torch.tensor(mask))
        expected = cells(from_sparse(LISTS, 3, torch.tensor(mask), CPU))
        for number, is_kept in enumerate(mask):
            if not is_kept:
                expected[number] = [None, None, None]
        assert cells(from_sparse(left, 3, torch.tensor(mask), CPU)) == expected
        assert left.offsets[-1] == len(left.classes) == len(left.confidences)


def test_what_nobody_knows_has_the_value_zero() -> None:
    for targets in (from_sparse(LISTS, 3, ROWS, CPU, "unknown"), from_dense(torch.full((2, 2), UNKNOWN), ROWS[:2])):
        assert (targets.values[~targets.known] == 0).all()
        assert targets.values.dtype == torch.float32


def test_lists_and_dense_rows_tell_the_same() -> None:
    dense = LISTS.dense(3, ROWS, CPU)
    for a, b in zip(from_dense(dense, ROWS), from_sparse(LISTS, 3, ROWS, CPU), strict=True):
        assert torch.equal(a, b)
