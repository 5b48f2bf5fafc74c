from hierarchies import dags
from hypothesis import given

from ml_images.hierarchy.order import depths, find_cycle, spell_cycle

#   0   1        two roots
#  / \ /
# 2   3          3 has two parents
#  \ / \
#   4   5
DAG = [[], [], [0], [0, 1], [2, 3], [3]]


def test_depth_counts_the_edges_of_the_longest_way_up():
    assert depths(DAG).tolist() == [0, 0, 1, 1, 2, 2]
    assert depths([[], [0], [1], [0, 2]]).tolist() == [0, 1, 2, 3]  # 3 is a child of the root, too
    assert depths([[1], [2], [3], []]).tolist() == [3, 2, 1, 0]  # parents may come later
    assert depths([]).tolist() == []


@given(dags())
def test_a_class_lies_one_below_its_deepest_parent(parents):
    depth = depths(parents).tolist()
    assert depth == [1 + max((depth[parent] for parent in above), default=-1) for above in parents]


def test_what_is_on_a_cycle_or_below_one_has_no_depth():
    assert depths([[], [0, 3], [1], [2], [3], [], [5]]).tolist() == [0, -1, -1, -1, -1, 0, 1]
    assert depths([[0]]).tolist() == [-1]


def test_a_cycle_is_found_below_and_above_classes_outside_of_it():
    #        0 <- 1 <- 2 <- 3 <- 1 (cycle 1, 3, 2)  and 4 below the cycle, 5 a root with the child 6
    parents = [[], [0, 3], [1], [2], [3], [], [5]]
    assert find_cycle(parents) == [1, 3, 2]


def test_no_cycle_in_a_dag_and_none_in_nothing():
    assert find_cycle(DAG) == []
    assert find_cycle([]) == []


def test_a_class_that_is_its_own_parent_is_a_cycle():
    assert find_cycle([[], [1]]) == [1]


def test_a_cycle_is_spelled_on_one_line_and_cut_where_it_is_long():
    assert spell_cycle(["a", "b\r\u2028"], [1, 0]) == r"cycle of parents: b\r\u2028 -> a -> b\r\u2028"
    ids = [f"n{c}" for c in range(20)]
    assert spell_cycle(ids, list(range(12))).endswith("n10 -> n11 -> n0")
    assert spell_cycle(ids, list(range(13))).endswith("n10 -> n11 -> ... -> n0")
