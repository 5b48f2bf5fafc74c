import pytest

from ml_images.errors import InputError
from ml_images.hierarchy.formats.edges import assemble
from ml_images.hierarchy.vocabulary import Vocabulary

NAMES = [("a", "A"), ("b",), ("c",)]


def test_parents_keep_the_order_of_the_relations():
    expected = Vocabulary(("a", "b", "c"), (("a", "A"), ("b",), ("c",)), ((2, 1), (), ()))
    assert assemble(["a", "b", "c"], NAMES, {(0, 2): "h:1", (0, 1): "h:2"}) == expected


def test_a_class_below_itself_is_named_with_its_place():
    with pytest.raises(InputError, match=r"^h:2: 'b' is its own parent$"):
        assemble(["a", "b", "c"], NAMES, {(0, 1): "h:1", (1, 1): "h:2"})


def test_a_cycle_is_named_with_the_place_of_a_relation_in_it():
    edges = {(0, 1): "h:1", (2, 1): "h:2", (1, 2): "h:3"}
    with pytest.raises(InputError, match=r"^h:3: cycle of parents: b -> c -> b$"):
        assemble(["a", "b", "c"], NAMES, edges)
