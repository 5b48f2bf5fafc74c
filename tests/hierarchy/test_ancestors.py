import numpy as np
import pytest
from hierarchies import dags, lists, slow_ancestors
from hypothesis import given

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.order import depths
from ml_images.hierarchy.vocabulary import parse_vocabulary


def test_a_diamond_with_two_roots():
    found = find_ancestors([[], [], [0], [1, 0], [2, 3]])
    assert lists(found.indptr, found.indices) == [[], [], [0], [0, 1], [0, 1, 2, 3]]
    assert lists(found.parents_indptr, found.parents_indices) == [[], [], [0], [0, 1], [2, 3]]
    assert found.depths.tolist() == [0, 0, 1, 1, 2]
    assert found.num_classes == 5


def test_types_are_those_of_the_contract_also_for_a_lone_root():
    found = find_ancestors([[]])
    assert (found.indptr.dtype, found.parents_indptr.dtype) == (np.int64, np.int64)
    assert (found.indices.dtype, found.parents_indices.dtype, found.depths.dtype) == (np.int32, np.int32, np.int32)
    assert len(found.indices) == 0


@given(dags())
def test_as_found_by_climbing_from_each_class(parents):
    found = find_ancestors(parents)
    assert lists(found.indptr, found.indices) == [sorted(slow_ancestors(parents, c)) for c in range(len(parents))]
    assert lists(found.parents_indptr, found.parents_indices) == [sorted(direct) for direct in parents]
    assert found.depths.tolist() == depths(parents).tolist()


def test_a_chain_of_all_classes_is_followed_to_its_end():
    found = find_ancestors([[1], [2], [3], []])
    assert lists(found.indptr, found.indices) == [[1, 2, 3], [2, 3], [3], []]
    assert found.depths.tolist() == [3, 2, 1, 0]


def test_classes_below_all_others_before_them_are_found_once_each():
    found = find_ancestors([list(range(c)) for c in range(300)])  # 2^298 ways up from the last to the first
    assert lists(found.indptr, found.indices) == [list(range(c)) for c in range(300)]
    assert found.depths.tolist() == list(range(300))


def test_no_class_at_all_has_no_ancestors():
    assert find_ancestors([]).indptr.tolist() == [0]


@pytest.mark.real_data
def test_ancestors_of_the_published_vocabulary(shared_data):
    data = (shared_data / "ml-images" / "dictionary_and_semantic_hierarchy.txt").read_bytes()
    found = find_ancestors(parse_vocabulary(data, "dictionary").parents)
    steel = found.indices[found.indptr[2367] : found.indptr[2368]]
    assert steel.tolist() == [2, 865, 1041, 1054, 1831, 2172]  # the path that the published README shows
    np.testing.assert_array_equal(np.diff(found.indptr), found.depths)  # one parent a class: as many ancestors as edges
    histogram = [4, 53, 112, 241, 730, 1240, 1881, 2130, 1425, 1070, 770, 584, 433, 233, 183, 67, 10]
    assert np.bincount(found.depths).tolist() == histogram
