import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from ml_images.hierarchy.vocabulary import Vocabulary, parse_vocabulary, to_table
from ml_images.report.radial_layout import lay_out, on_circle
from ml_images.report.radial_tree import RIM, radial_tree, sections


def vocabulary(parents, names=None):
    names = names or [(f"class {c}",) for c in range(len(parents))]
    return to_table(Vocabulary(tuple(f"n{c}" for c in range(len(parents))), tuple(names), tuple(parents)))


SMALL = [(), (0,), (0,), (1,), (1,), (2, 1), ()]


def edges(path):
    """(start, end) of each curve, in pixels: float (edges, 2, 2)."""
    found = re.findall(r"M(-?\d+) (-?\d+)c(-?\d+) (-?\d+) (-?\d+) (-?\d+) (-?\d+) (-?\d+)", path)
    numbers = np.array(found, float).reshape(-1, 8) / 10
    return np.stack([numbers[:, :2], numbers[:, :2] + numbers[:, 6:]], axis=1)


def test_every_edge_runs_from_the_parent_to_its_child():
    table = vocabulary(SMALL)
    root = ElementTree.fromstring(radial_tree(table).svg)
    drawn = edges("".join(path.attrib["d"] for path in root.iter("path") if "scale" not in path.attrib))
    layout = lay_out(SMALL)
    radius = RIM * np.sqrt((table["depth"].to_numpy() + 1) / 3)
    places = np.column_stack(on_circle(layout.position, radius))
    expected = [[places[parent], places[child]] for child, above in enumerate(SMALL) for parent in above]
    order = [np.lexsort(np.rint(ends.reshape(-1, 4)).T) for ends in (drawn, np.array(expected))]
    assert drawn[order[0]] == pytest.approx(np.array(expected)[order[1]], abs=0.11)


def test_edges_beyond_the_first_parent_are_apart():
    root = ElementTree.fromstring(radial_tree(vocabulary(SMALL)).svg)
    (dropped,) = (path for path in root.iter("path") if path.get("class") == "dropped")
    assert len(edges(dropped.attrib["d"])) == 1
    assert "1 edges beyond the first parent" in root.attrib["aria-label"]
    tree = ElementTree.fromstring(radial_tree(vocabulary([(), (0,)])).svg)
    assert not [path for path in tree.iter("path") if path.get("class") == "dropped"]


def test_inner_classes_and_marks_tell_their_names_and_names_are_escaped():
    names = [("<b>&\"'",), *((f"class {c}",) for c in range(1, 7))]
    figure = radial_tree(vocabulary(SMALL, names), marked=[4])
    root = ElementTree.fromstring(figure.svg)
    titles = [title.text for title in root.iter("title")]
    assert titles == ["<b>&\"': 5 below", "class 1: 3 below", "class 2: 1 below", "class 4"]
    assert "1 classes are marked." in figure.alt
    assert "7 classes: 2 roots, 4 leaves" in figure.alt


def test_every_leaf_of_a_small_tree_is_named():
    root = ElementTree.fromstring(radial_tree(vocabulary(SMALL)).svg)
    assert [text.text for text in root.iter("text") if text.get("class") == "section"] == [
        "class 3", "class 4", "class 5", "class 6",
    ]  # fmt: skip


def test_sections_do_not_overlap_and_have_no_large_child():
    parents = [(), (0,), (0,), *[(1,)] * 20, *[(2,)] * 80]
    assert sections(lay_out(parents), 0.1) == [1, 2]
    assert sections(lay_out(parents), 0.5) == [2]
    assert sections(lay_out(parents), 0.9) == [0]


def test_equal_vocabularies_give_equal_bytes():
    assert radial_tree(vocabulary(SMALL)).svg == radial_tree(vocabulary(SMALL)).svg


def test_a_single_class_is_drawn():
    figure = radial_tree(vocabulary([()]))
    assert "1 classes: 1 roots, 1 leaves" in figure.alt
    ElementTree.fromstring(figure.svg)


@pytest.mark.real_data
def test_the_published_vocabulary_is_small_and_says_its_numbers(shared_data: Path):
    path = shared_data / "ml-images" / "dictionary_and_semantic_hierarchy.txt"
    table = to_table(parse_vocabulary(path.read_bytes(), path.name))
    figure = radial_tree(table)
    assert figure.alt == (
        "Radial tree of 11,166 classes: 4 roots, 9,219 leaves, 0 edges beyond the first parent, greatest depth 16, "
        "mean depth 7.47."
    )
    assert len(figure.svg) < 1_000_000
    root = ElementTree.fromstring(figure.svg)
    assert sum(len(edges(path.attrib["d"])) for path in root.iter("path")) == 11166 - 4
    assert len(list(root.iter("circle"))) == 1947
    assert 20 < sum(text.get("class") == "section" for text in root.iter("text")) < 60
    inner = [text.text for text in root.iter("text") if text.get("class") == "inner"]
    assert inner[:3] == ["object", "whole", "artifact"] and "animal" in inner
