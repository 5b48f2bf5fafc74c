import numpy as np

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.labels.lineage import on_one_path

#   0     5     a diamond 0 > 1, 2 > 3 > 4; 5 alone
#  1 2
#   3
#   4
ANCESTORS = find_ancestors([[], [0], [0], [1, 2], [3], []])


def test_only_a_class_itself_its_ancestors_and_its_descendants_are_on_its_path() -> None:
    a, b = (side.ravel().astype(np.int32) for side in np.meshgrid(np.arange(6), np.arange(6), indexing="ij"))
    found = {tuple(pair) for pair in np.stack((a, b), 1)[~on_one_path(ANCESTORS, a, b)].tolist()}
    apart = {(1, 2), *((c, 5) for c in range(5))}
    assert found == apart | {(b, a) for a, b in apart}


def test_without_a_hierarchy_only_equal_classes_are_on_one_path() -> None:
    flat = find_ancestors([[], []])
    assert on_one_path(flat, np.array([0, 1], np.int32), np.array([1, 1], np.int32)).tolist() == [False, True]
