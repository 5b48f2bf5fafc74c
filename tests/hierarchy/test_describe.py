import json

import pytest
from hierarchies import dags, slow_ancestors
from hypothesis import given

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.describe import describe_hierarchy
from ml_images.hierarchy.vocabulary import parse_vocabulary


def test_a_dag_with_two_roots_and_a_lone_one():
    #  0 > 2, 3;  1 > 3;  3 > 4, 5;  4 also directly below 0;  6 alone
    found = describe_hierarchy(find_ancestors([[], [], [0], [0, 1], [3, 0], [3], []]))
    assert found == {
        "nodes": 7,
        "edges": 6,
        "implied_edges": 1,
        "leaves": 4,
        "internal": 3,
        "roots": [
            {"class": 0, "nodes": 5, "leaves": 3, "longest_path": 2},
            {"class": 1, "nodes": 4, "leaves": 2, "longest_path": 2},
            {"class": 6, "nodes": 1, "leaves": 1, "longest_path": 0},
        ],
        "longest_path": 2,
        "mean_depth_of_all": 6 / 7,
        "mean_depth_of_leaves": 5 / 4,
        "mean_depth_below_roots": 6 / 4,
        "depths_of_all": [3, 2, 2],
        "depths_of_leaves": [1, 1, 2],
        "mean_children_of_internal": 2.0,
        "nodes_with_one_child": 1,
        "widest": [{"class": 0, "children": 3}, {"class": 3, "children": 2}, {"class": 1, "children": 1}],
        "nodes_with_several_parents": 2,
        "most_parents": 2,
        "ancestor_pairs": 9,
    }


def test_means_over_nothing_are_none():
    found = describe_hierarchy(find_ancestors([[], []]))
    assert found["mean_depth_below_roots"] is None
    assert found["mean_children_of_internal"] is None
    assert found["widest"] == []


def test_the_ten_widest_come_first_and_equals_by_class():
    # root 0 with twelve children, each with a chain: 1..12 have 1 child each, but 12 has 2
    parents = [[], *([0] for _ in range(12)), *([c] for c in range(1, 13)), [12]]
    widest = describe_hierarchy(find_ancestors(parents))["widest"]
    assert [(wide["class"], wide["children"]) for wide in widest] == [(0, 12), (12, 2), *((c, 1) for c in range(1, 9))]


@given(dags())
def test_numbers_add_up_and_are_json(parents):
    found = describe_hierarchy(find_ancestors(parents))
    assert json.loads(json.dumps(found)) == found
    assert found["leaves"] + found["internal"] == found["nodes"] == sum(found["depths_of_all"]) == len(parents)
    assert sum(found["depths_of_leaves"]) == found["leaves"]
    assert found["depths_of_all"][0] == len(found["roots"])
    assert len(found["depths_of_all"]) == found["longest_path"] + 1
    assert max(root["longest_path"] for root in found["roots"]) == found["longest_path"]
    above = [slow_ancestors(parents, c) for c in range(len(parents))]
    implied = sum(any(p in above[q] for q in direct) for direct in parents for p in direct)
    assert (found["edges"], found["implied_edges"]) == (sum(map(len, parents)), implied)


@pytest.mark.real_data
def test_the_published_vocabulary(shared_data):
    data = (shared_data / "ml-images" / "dictionary_and_semantic_hierarchy.txt").read_bytes()
    found = describe_hierarchy(find_ancestors(parse_vocabulary(data, "dictionary").parents))
    assert (found["nodes"], found["leaves"], found["internal"]) == (11_166, 9_219, 1_947)
    assert [tuple(root.values()) for root in found["roots"]] == [
        (0, 67, 53, 4),
        (1, 1_046, 875, 10),
        (2, 10_038, 8_281, 16),
        (3, 15, 10, 2),
    ]
    assert found["longest_path"] == 16
    assert found["depths_of_leaves"][16] == 10
    means = [found["mean_depth_of_all"], found["mean_depth_below_roots"], found["mean_depth_of_leaves"]]
    assert [round(mean, 5) for mean in means] == [7.47107, 7.47375, 7.58575]
    all_depths = [4, 53, 112, 241, 730, 1240, 1881, 2130, 1425, 1070, 770, 584, 433, 233, 183, 67, 10]
    assert found["depths_of_all"] == all_depths
    leaf_depths = [0, 36, 73, 158, 584, 931, 1517, 1837, 1228, 919, 635, 483, 386, 197, 161, 64, 10]
    assert found["depths_of_leaves"] == leaf_depths
    assert round(found["mean_children_of_internal"], 2) == 5.73
    assert found["nodes_with_one_child"] == 124
    widest = [(wide["class"], wide["children"]) for wide in found["widest"][:3]]
    assert widest == [(5191, 300), (5240, 140), (5851, 137)]
    assert (found["nodes_with_several_parents"], found["most_parents"]) == (0, 1)
    assert found["ancestor_pairs"] == 83_422
