import gzip

import pytest
from hierarchies import dags, mistake_in, named_relations
from hypothesis import given
from hypothesis import strategies as st

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.describe import describe_hierarchy
from ml_images.hierarchy.formats.pairs import parse_child_parent, parse_parent_child


def test_each_line_is_a_parent_and_a_child():
    found = parse_parent_child(b"animal dog\nthing animal\n\n  pet\tdog \r\n", "h")
    assert found.ids == ("animal", "dog", "thing", "pet")  # as they appear
    assert found.names == (("animal",), ("dog",), ("thing",), ("pet",))
    assert found.parents == ((2,), (0, 3), (), ())


def test_is_a_text_is_the_other_way_round():
    assert parse_child_parent(b"dog animal\nanimal thing\n", "h").parents == ((1,), (2,), ())


def test_numbers_are_classes_in_ascending_order_so_that_a_dense_range_is_the_classes():
    found = parse_parent_child(b"10 2\n10 0\n3 10\n3 1\n4 3\n5 4\n6 5\n7 6\n8 7\n9 8\n", "h")
    assert found.ids == tuple(map(str, range(11)))
    assert found.parents == ((10,), (3,), (10,), (4,), (5,), (6,), (7,), (8,), (9,), (), (3,))
    assert parse_parent_child(b"700 30\n9 700\n", "h").ids == ("9", "30", "700")


def test_one_id_that_is_no_number_makes_all_of_them_names():
    assert parse_parent_child(b"10 9\n9 x\n", "h").ids == ("10", "9", "x")
    assert parse_parent_child(b"x y\nx 3\n4 5\n", "h").ids == ("x", "y", "3", "4", "5")  # no header: x has a relation
    assert parse_parent_child("10 ²\n".encode(), "h").ids == ("10", "²")
    assert parse_parent_child(b"10 " + b"1" * 5000 + b"\n", "h").ids == ("10", "1" * 5000)


def test_a_relation_given_twice_counts_once():
    assert parse_parent_child(b"a b\nb c\na b\n", "h") == parse_parent_child(b"a b\nb c\n", "h")


def test_ids_may_hold_spaces_where_a_tab_stands_between():
    assert parse_parent_child(b"Old World\tNew  York\n", "h").ids == ("Old World", "New  York")
    assert parse_parent_child(b"\ta b\na c\t\n", "h").ids == ("a", "b", "c")  # a tab at either end is none between


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "h.txt:1: no classes"),
        (" \n\n", "h.txt:1: no classes"),
        ("a b\nc\n", "h.txt:2: expected two ids, parent and child, with a tab or"),
        ("\na b c\n", "h.txt:2: expected two ids, parent and child, "),
        ("a\tb\tc\n", "h.txt:1: expected two ids"),
        ("a\t\tb\n", "h.txt:1: expected two ids"),
        ("a b\nb b\nb b\n", "h.txt:2: 'b' is its own parent"),
        ("x a\na b\nb c\nc a\n", "h.txt:4: cycle of parents: a -> c -> b -> a"),
        ("1 7\n2 07\n", "h.txt:2: the number 7 is spelled '07', but '7' on line 1"),
        (b"a b\n\xff c\n", "h.txt:2: not UTF-8"),
        ("parent child\n3 2\n3 0\n", "h.txt:1: 'parent' is no number, which all other ids are: a header"),
        ("3 2\n-1 3\n", "h.txt:2: '-1' is no number, which all other ids are: a header is not expected, nor a mark"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_line(text, expected):
    assert mistake_in(parse_parent_child, text).startswith(expected)


def test_the_message_names_the_columns_of_the_form():
    assert "two ids, child and parent" in mistake_in(parse_child_parent, "a\n")


@given(dags(), st.randoms(), st.booleans())
def test_any_hierarchy_comes_back_from_its_lines_in_any_order(parents, random, as_numbers):
    name = str if as_numbers else (lambda c: f"n{c}")
    relations = {(name(c), name(p)) for c, above in enumerate(parents) for p in above}
    if not relations:
        return
    lines = random.sample(sorted(relations), len(relations))
    found = parse_child_parent("".join(f"{child} {parent}\n" for child, parent in lines).encode(), "h")
    turned = parse_parent_child("".join(f"{parent}\t{child}\n" for child, parent in lines).encode(), "h")
    assert named_relations(found) == named_relations(turned) == relations
    appearing = list(dict.fromkeys(id for line in lines for id in line))
    assert list(found.ids) == (sorted(appearing, key=int) if as_numbers else appearing)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "parse", "nodes", "leaves", "height"),
    [
        ("cifar.parent-child.txt", parse_parent_child, 163, 100, 8),
        ("nab.is_a.txt", parse_child_parent, 1_011, 555, 4),
        ("cub_flat.parent-child.txt", parse_parent_child, 368, 200, 4),
        ("cub_balanced.parent-child.txt", parse_parent_child, 421, 200, 7),
        ("cub_wikispecies.parent-child.txt", parse_parent_child, 383, 200, 6),
        ("wordnet.parent-child.mintree.txt", parse_parent_child, 1_785, 1_000, 18),
    ],
)
def test_published_trees(shared_data, file, parse, nodes, leaves, height):
    found = describe_hierarchy(find_ancestors(parse((shared_data / "hierarchies" / file).read_bytes(), file).parents))
    assert (found["nodes"], found["leaves"], found["longest_path"]) == (nodes, leaves, height)
    assert (len(found["roots"]), found["most_parents"]) == (1, 1)


@pytest.mark.real_data
def test_labels_of_cifar_and_cub_are_leaves(shared_data):
    cifar = parse_parent_child((shared_data / "hierarchies" / "cifar.parent-child.txt").read_bytes(), "cifar")
    assert cifar.ids == tuple(map(str, range(163)))
    assert set(range(163)).difference(*cifar.parents) == set(range(100))
    assert cifar.parents.index(()) == 108
    cub = parse_parent_child((shared_data / "hierarchies" / "cub_flat.parent-child.txt").read_bytes(), "cub")
    assert {cub.ids[c] for c in set(range(368)).difference(*cub.parents)} == set(map(str, range(1, 201)))


@pytest.mark.real_data
def test_the_published_graph_of_wordnet_with_many_roots(shared_data):
    data = gzip.decompress((shared_data / "hierarchies" / "wordnet.parent-child.pruned.txt.gz").read_bytes())
    found = describe_hierarchy(find_ancestors(parse_parent_child(data, "wordnet").parents))
    assert (found["nodes"], found["edges"], len(found["roots"]), found["longest_path"]) == (73_473, 74_780, 129, 19)
    assert found["most_parents"] > 1
