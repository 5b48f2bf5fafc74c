import json
from itertools import chain

import numpy as np
import pytest
from hierarchies import dags, mistake_in, named_relations
from hypothesis import given

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.describe import describe_hierarchy
from ml_images.hierarchy.formats.openimages import parse_openimages
from ml_images.hierarchy.names import parse_names


def parse(node):
    return parse_openimages(json.dumps(node, indent=1).encode(), "h")


def node(label, *subcategories, part=()):
    below = {"Subcategory": list(subcategories)} if subcategories else {}
    return {"LabelName": label, **({"Part": list(part)} if part else {}), **below}


def test_subcategories_lie_below_and_a_class_printed_twice_is_one_with_two_parents():
    found = parse(node("/m/e", node("/m/toy", node("/m/teddy")), node("/m/bear", node("/m/teddy"), node("/m/brown"))))
    assert found.ids == ("/m/e", "/m/toy", "/m/teddy", "/m/bear", "/m/brown")
    assert found.names == tuple((id,) for id in found.ids)
    assert found.parents == ((), (0,), (1, 3), (0,), (3,))


def test_the_same_class_with_different_lists_has_all_of_them():
    found = parse(node("e", node("a", node("b")), node("c", node("a", node("d"), node("b")))))
    assert found.parents == ((), (0, 3), (1,), (0,), (1,))
    assert found.ids == ("e", "a", "b", "c", "d")


def test_a_part_is_a_class_that_implies_nothing():
    found = parse(node("e", node("door", node("gate"), part=[node("handle", node("knob"))])))
    assert found.ids == ("e", "door", "gate", "handle", "knob")
    assert found.parents == ((), (0,), (1,), (), (3,))  # what lies below a part lies below it as ever


def test_a_part_may_be_a_subcategory_elsewhere_and_even_of_the_same_class():
    found = parse(node("e", node("a", part=[node("b"), node("e"), node("a")]), node("b")))
    assert (found.ids, found.parents) == (("e", "a", "b"), ((), (0,), (0,)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", "h.txt:1: not JSON: Expecting value (column 1)"),
        ('{"LabelName": "a",\n "Subcategory": [,]}', "h.txt:2: not JSON: Expecting value (column 18)"),
        ("[]", "h.txt: the outermost object: expected an object with LabelName, Subcategory and Part, got list"),
        ("1" * 5000, "h.txt: the outermost object: expected an object"),
        ("{}", "h.txt: the outermost object: LabelName must be an id such as '/m/0bl9f', got keys []"),
        ('{"name": "a", "children": []}', "h.txt: the outermost object: LabelName must be an id"),
        ('{"LabelName": " "}', "h.txt: the outermost object: LabelName must be an id such as '/m/0bl9f', got ' '"),
        ('{"LabelName": "a\\nb"}', "h.txt: the outermost object: LabelName must be"),
        ('{"LabelName": "a\\ud800"}', "h.txt: the outermost object: LabelName must be"),
        ('{"LabelName": "a", "Subcategory": {}}', "h.txt: the outermost object: Subcategory must be a list, got dict"),
        (
            '{"LabelName": "a", "Subcategory": [{"LabelName": "b"}, {"LabelName": "c", "Part": [7]}]}',
            "h.txt: Subcategory[1].Part[0]: expected an object",
        ),
        (json.dumps(node("a", node("b", node("b")))), "h.txt: Subcategory[0].Subcategory[0]: 'b' is its own parent"),
        (
            json.dumps(node("a", node("b", node("c", node("b"))))),
            "h.txt: Subcategory[0].Subcategory[0].Subcategory[0]: cycle of parents: b -> c -> b",
        ),
        ("[" * 100_000, "h.txt: not a class hierarchy: JSON nested too deeply"),
        (b'{"LabelName":\n "\xff"}', "h.txt:2: not UTF-8"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_place(data, expected):
    assert mistake_in(parse_openimages, data).startswith(expected)


@given(dags(max_classes=6))
def test_any_hierarchy_below_one_root_comes_back_from_its_repeated_subtrees(parents):
    def subtree(c: int) -> dict:
        return node(f"/m/{c}", *(subtree(child) for child, above in enumerate(parents) if c in above))

    found = parse(node("/m/root", *(subtree(c) for c, above in enumerate(parents) if not above)))
    relations = {(f"/m/{c}", f"/m/{p}") for c, above in enumerate(parents) for p in above}
    assert named_relations(found) == relations | {
        (f"/m/{c}", "/m/root") for c, above in enumerate(parents) if not above
    }
    assert len(found.ids) == len(parents) + 1


@pytest.fixture
def published(shared_data):
    folder = shared_data / "openimages" / "v4_2018_04"
    return parse_openimages((folder / "bbox_labels_600_hierarchy.json").read_bytes(), "boxable")


@pytest.mark.real_data
def test_the_published_hierarchy(published):
    ancestors = find_ancestors(published.parents)
    found = describe_hierarchy(ancestors)
    assert (found["nodes"], found["edges"], found["implied_edges"]) == (602, 647, 3)
    assert (found["nodes_with_several_parents"], found["most_parents"]) == (45, 3)
    assert (found["internal"], found["leaves"]) == (77, 525)
    assert found["depths_of_all"] == [1, 90, 231, 226, 47, 7]
    assert found["roots"] == [{"class": 0, "nodes": 602, "leaves": 525, "longest_path": 5}]
    assert published.ids[0] == "/m/0bl9f"
    without_root = np.diff(ancestors.indptr)[1:] - 1
    assert (without_root.sum(), without_root.max()) == (920, 6)
    assert sum(above == (0,) for above in published.parents) == 90


@pytest.mark.real_data
def test_published_names_fit(published, shared_data):
    folder = shared_data / "openimages" / "v4_2018_04"
    names = parse_names((folder / "class-descriptions-boxable.reconstructed.csv").read_bytes(), "names")
    assert set(published.ids) - set(names) == {"/m/0bl9f"}
    cookie = next(c for c, id in enumerate(published.ids) if names.get(id) == "Cookie")
    assert {names[published.ids[p]] for p in published.parents[cookie]} == {"Dessert", "Snack", "Baked goods"}
    parts = {"Laptop", "Telephone", "Weapon"}  # the file says that a building has them
    building = next(c for c, id in enumerate(published.ids) if names.get(id) == "Building")
    below = {names[published.ids[c]] for c, above in enumerate(published.parents) if building in above}
    assert below and not below & parts
    assert set(chain.from_iterable(published.parents)) <= set(range(602))
