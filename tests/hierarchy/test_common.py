import numpy as np
import pytest
from hierarchies import dags, lists, slow_ancestors
from hypothesis import given

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.common import find_meetings, is_ancestor, lowest_common_ancestors, on_one_path
from ml_images.hierarchy.vocabulary import parse_vocabulary

#   0   1     6      three roots
#  / \ / \    |
# 2   3   \   7      3 and 4 lie below 0 and 1 each
#      \  |
#       5 4 (below 0, 1)
DAG = [[], [], [0], [0, 1], [0, 1], [3], [], [6]]


def test_is_ancestor_is_proper():
    ancestors = find_ancestors(DAG)
    found = is_ancestor(ancestors, [0, 1, 3, 5, 0, 6, 2], [5, 5, 5, 3, 0, 5, 5])
    assert found.tolist() == [True, True, True, False, False, False, False]
    assert found.dtype == np.bool_


def test_ways_meet_in_the_deepest_and_then_smallest_class_or_nowhere():
    found = lowest_common_ancestors(find_ancestors(DAG), [3, 5, 5, 2, 5, 7, 4], [4, 4, 3, 5, 5, 6, 7])
    assert found.tolist() == [0, 0, 3, 0, 5, 6, -1]
    assert found.dtype == np.int32


def test_a_deeper_class_wins_over_a_smaller_one():
    #  0   1 > 2;  3 and 4 below both 0 and 2
    ancestors = find_ancestors([[], [], [1], [0, 2], [0, 2]])
    assert lowest_common_ancestors(ancestors, 3, 4) == 2
    assert lists(*find_meetings(ancestors, [3], [4])) == [[0, 2]]


def test_all_meetings_leave_out_what_lies_above_another():
    indptr, indices = find_meetings(find_ancestors(DAG), [3, 5, 5, 7, 2], [4, 4, 3, 4, 5])
    assert lists(indptr, indices) == [[0, 1], [0, 1], [3], [], [0]]
    assert (indptr.dtype, indices.dtype) == (np.int64, np.int32)


def test_shapes_broadcast_to_a_matrix():
    ancestors = find_ancestors([[], [0], [0]])
    classes = np.arange(3)
    matrix = lowest_common_ancestors(ancestors, classes[:, None], classes)
    assert matrix.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 2]]
    above = is_ancestor(ancestors, classes[:, None], classes)
    assert above.tolist() == [[False, True, True], [False] * 3, [False] * 3]


def test_no_pairs_and_a_lone_root():
    ancestors = find_ancestors([[]])
    none = np.empty(0, np.int32)
    assert is_ancestor(ancestors, none, none).shape == (0,)
    assert lowest_common_ancestors(ancestors, none, none).shape == (0,)
    assert [array.tolist() for array in find_meetings(ancestors, none, none)] == [[0], []]
    assert not is_ancestor(ancestors, 0, 0)
    assert lowest_common_ancestors(ancestors, 0, 0) == 0


@pytest.mark.parametrize("function", [is_ancestor, lowest_common_ancestors, find_meetings])
@pytest.mark.parametrize(("a", "b", "outside"), [([0, 8], [0, 0], 8), ([0, 0], [0, -1], -1)])
def test_a_class_outside_is_refused(function, a, b, outside):
    with pytest.raises(ValueError, match=rf"class must be in 0\.\.7, got {outside}"):
        function(find_ancestors(DAG), a, b)


@given(dags())
def test_as_found_with_sets(parents):
    ancestors = find_ancestors(parents)
    above = [slow_ancestors(parents, c) for c in range(len(parents))]
    a, b = (axis.ravel() for axis in np.indices((len(parents), len(parents))))
    assert is_ancestor(ancestors, a, b).tolist() == [x in above[y] for x, y in zip(a, b, strict=True)]
    common = [(above[x] | {x}) & (above[y] | {y}) for x, y in zip(a, b, strict=True)]
    lowest = [sorted(c for c in classes if not any(c in above[d] for d in classes)) for classes in common]
    assert lists(*find_meetings(ancestors, a, b)) == lowest
    depths = ancestors.depths
    deepest = [min(classes, key=lambda c: (-depths[c], c), default=-1) for classes in common]
    assert lowest_common_ancestors(ancestors, a, b).tolist() == deepest
    assert all(d in classes or d == -1 for d, classes in zip(deepest, lowest, strict=True))


@pytest.mark.real_data
def test_meetings_in_the_published_vocabulary(shared_data):
    data = (shared_data / "ml-images" / "dictionary_and_semantic_hierarchy.txt").read_bytes()
    vocabulary = parse_vocabulary(data, "dictionary")
    ancestors = find_ancestors(vocabulary.parents)
    sizes = np.array([67, 1_046, 10_038, 15])  # of the trees of classes 0 to 3
    roots = np.flatnonzero(ancestors.depths == 0)
    descendants = is_ancestor(ancestors, roots[:, None], np.arange(11_166))
    assert (descendants.sum(axis=1) + 1).tolist() == sizes.tolist()
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 11_166, (2, 100_000))
    found = lowest_common_ancestors(ancestors, a, b)
    apart = 1 - (sizes**2).sum() / 11_166**2  # of random pairs, those in different trees
    assert abs((found == -1).mean() - apart) < 0.01
    indptr, indices = find_meetings(ancestors, a, b)
    assert np.diff(indptr).max() == 1  # a forest
    np.testing.assert_array_equal(found[found >= 0], indices)
    assert lowest_common_ancestors(ancestors, 9741, 10348) == 10348  # the parent with a later row


#   0     5     a diamond 0 > 1, 2 > 3 > 4; 5 alone
#  1 2
#   3
#   4
DIAMOND = find_ancestors([[], [0], [0], [1, 2], [3], []])


def test_only_a_class_itself_its_ancestors_and_its_descendants_are_on_its_path():
    a, b = (side.ravel().astype(np.int32) for side in np.meshgrid(np.arange(6), np.arange(6), indexing="ij"))
    found = {tuple(pair) for pair in np.stack((a, b), 1)[~on_one_path(DIAMOND, a, b)].tolist()}
    apart = {(1, 2), *((c, 5) for c in range(5))}
    assert found == apart | {(b, a) for a, b in apart}


def test_without_a_hierarchy_only_equal_classes_are_on_one_path():
    flat = find_ancestors([[], []])
    assert on_one_path(flat, np.array([0, 1], np.int32), np.array([1, 1], np.int32)).tolist() == [False, True]
