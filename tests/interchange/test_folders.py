import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.interchange.folders import file_of, folder_of, main_class

#      0
#    1   2
#   3 4   5
#   6
PARENTS = [[], [0], [0], [1], [1], [2], [3]]
ANCESTORS = find_ancestors(PARENTS)


def main(labels: dict[int, float]) -> int | None:
    classes = sorted(labels)
    return main_class(np.array(classes, np.int32), np.array([labels[c] for c in classes], np.float32), ANCESTORS)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, None),
        ({3: 0.0, 4: -1.0}, None),
        ({0: 1.0}, 0),
        ({0: 1.0, 1: 1.0, 3: 0.2}, 3),  # a sure ancestor does not beat what lies below it
        ({0: 1.0, 6: 0.1}, 6),  # also where the labels between are missing
        ({3: 0.8, 5: 0.9}, 5),  # the surer
        ({6: 0.8, 5: 0.8}, 6),  # the deeper
        ({4: 0.8, 3: 0.8}, 3),  # the lower number
        ({3: 0.5, 6: 0.0}, 3),  # an absence below is none
    ],
)
def test_a_picture_lies_under_its_surest_lowest_label(labels: dict[int, float], expected: int | None) -> None:
    assert main(labels) == expected


@given(st.dictionaries(st.integers(0, 6), st.sampled_from([-1.0, 0.0, 0.3, 0.6, 1.0])))
def test_nothing_positive_lies_below_the_main_class(labels: dict[int, float]) -> None:
    positive = {c for c, s in labels.items() if s > 0}
    class_ = main(labels)
    assert (class_ is None) == (not positive)
    if class_ is not None:
        below = {c for c in positive if class_ in ANCESTORS.indices[ANCESTORS.indptr[c] : ANCESTORS.indptr[c + 1]]}
        assert class_ in positive and not below


@given(st.integers(1, 20_000), st.data())
def test_names_of_folders_sort_as_the_classes(num_classes: int, data: st.DataObject) -> None:
    a, b = (data.draw(st.integers(0, num_classes - 1)) for _ in range(2))
    assert (folder_of(a, num_classes) < folder_of(b, num_classes)) == (a < b)
    assert int(folder_of(a, num_classes)) == a


def test_places() -> None:
    assert file_of("train", "a/b", 42, 11_166) == "train/00042/a%2Fb.jpg"
    assert file_of("val", "x", None, 11_166) == "without_class/val/x.jpg"
