from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from ml_images.errors import InputError
from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.vocabulary import Vocabulary, to_table
from ml_images.report.cooccurrence_figures import choose, heat_map
from ml_images.schemas import COOCCURRENCE

# thing: animal (cat, dog <&>); sofa; an unused class
PARENTS = [(), (0,), (1,), (1,), (0,), ()]
NAMES = [("thing",), ("animal",), ("cat",), ("dog <&>",), ("sofa",), ("unused",)]
VOCABULARY = to_table(Vocabulary(tuple(f"n{c}" for c in range(6)), tuple(NAMES), tuple(PARENTS)))


def counted(*images):
    """The co-occurrence table of images given as sets of classes."""
    labels = np.zeros((len(images), 6), np.int64)
    for row, classes in zip(labels, images, strict=True):
        row[list(classes)] = 1
    together = np.triu(labels.T @ labels)
    a, b = np.nonzero(together)
    columns = [pa.array(a, pa.int32()), pa.array(b, pa.int32()), pa.array(together[a, b])]
    return pa.Table.from_arrays(columns, schema=COOCCURRENCE)


CATS = [{0, 1, 2}] * 3 + [{0, 1, 2, 4}]
TABLE = counted(*CATS, *[{0, 1, 3, 4}] * 2, {0, 4})


def titles(figure):
    root = ElementTree.fromstring(figure.svg)
    return [rect.find("title").text for rect in root.iter("rect") if rect.get("class") == "cell"]


def test_each_cell_is_the_share_of_the_row_in_the_order_of_the_hierarchy():
    figure = heat_map(TABLE, VOCABULARY)
    assert titles(figure) == [
        "cat with sofa: 25.0% (1 of 4)",
        "dog <&> with sofa: 100.0% (2 of 2)",
        "sofa with cat: 25.0% (1 of 4)",
        "sofa with dog <&>: 50.0% (2 of 4)",
    ]
    assert figure.alt.endswith("The highest: 100% of the images with dog <&> have sofa.")
    root = ElementTree.fromstring(figure.svg)
    assert [text.text for text in root.iter("text") if text.get("class") == "column"] == ["cat", "dog <&>", "sofa"]


def test_darker_is_more():
    images = [{2}] * 200 + [{2, 3}] * 1 + [{2, 4}] * 50
    root = ElementTree.fromstring(heat_map(counted(*images), VOCABULARY).svg)
    fills = {rect.find("title").text[:14]: rect.get("fill") for rect in root.iter("rect") if rect.get("class")}
    lightness = {name: sum(bytes.fromhex(fill[1:])) for name, fill in fills.items()}
    assert lightness["cat with dog <"] > lightness["cat with sofa:"] > lightness["dog <&> with c"]


def test_the_most_frequent_classes_without_their_ancestors():
    ancestors = find_ancestors(PARENTS)
    images = np.array([7, 6, 4, 2, 4, 0])
    assert choose(images, ancestors, 10) == [2, 4, 3]
    assert choose(images, ancestors, 2) == [2, 4]
    assert choose(images, ancestors, 1) == [0]


def test_an_ancestor_that_is_no_more_frequent_does_not_come_back():
    assert choose(np.array([2, 1, 3, 0, 0, 0]), find_ancestors(PARENTS), 3) == [2]


def test_equal_tables_give_equal_bytes():
    assert heat_map(TABLE, VOCABULARY).svg == heat_map(TABLE, VOCABULARY).svg


def test_a_table_of_another_vocabulary_and_an_empty_one_are_refused():
    with pytest.raises(InputError, match="class 4, expected classes 0 to 2 of the vocabulary"):
        heat_map(TABLE, VOCABULARY[:3])
    with pytest.raises(InputError, match="no pair"):
        heat_map(TABLE[:0], VOCABULARY)


def test_classes_that_are_never_together_have_no_cell():
    figure = heat_map(counted({2}, {3}), VOCABULARY)
    assert titles(figure) == []
    assert "The highest" not in figure.alt
