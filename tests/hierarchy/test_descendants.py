import numpy as np
from hierarchies import dags, lists, slow_ancestors
from hypothesis import given

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.descendants import find_children, find_descendants, find_heights

#   0   1        two roots
#  / \ /
# 2   3          3 has two parents
#  \ / \
#   4   5
DAG = [[], [], [0], [0, 1], [2, 3], [3]]


def test_a_dag_with_two_roots():
    ancestors = find_ancestors(DAG)
    assert lists(*find_children(ancestors)) == [[2, 3], [3], [4], [4, 5], [], []]
    assert lists(*find_descendants(ancestors)) == [[2, 3, 4, 5], [3, 4, 5], [4], [4, 5], [], []]
    assert find_heights(ancestors).tolist() == [2, 2, 1, 1, 0, 0]


def test_types_are_those_of_the_contract_also_for_a_lone_root():
    ancestors = find_ancestors([[]])
    for indptr, indices in (find_children(ancestors), find_descendants(ancestors)):
        assert (indptr.dtype, indices.dtype) == (np.int64, np.int32)
        assert (indptr.tolist(), indices.tolist()) == ([0, 0], [])
    assert (find_heights(ancestors).dtype, find_heights(ancestors).tolist()) == (np.int32, [0])


def test_the_longest_way_down_counts():
    assert find_heights(find_ancestors([[], [0], [1], [0], [2, 0]])).tolist() == [3, 2, 1, 0, 0]


@given(dags())
def test_as_found_by_going_down_from_each_class(parents):
    ancestors = find_ancestors(parents)
    classes = range(len(parents))

    def slow_height(c: int) -> int:
        return max((slow_height(child) + 1 for child in classes if c in parents[child]), default=0)

    assert lists(*find_children(ancestors)) == [[d for d in classes if c in parents[d]] for c in classes]
    assert lists(*find_descendants(ancestors)) == [
        [d for d in classes if c in slow_ancestors(parents, d)] for c in classes
    ]
    assert find_heights(ancestors).tolist() == [slow_height(c) for c in classes]
