import re

import numpy as np

from ml_images.hierarchy.vocabulary import Vocabulary, to_table
from ml_images.report.hierarchy_figures import PER_DEPTH, subtree_sizes


def drawn(parents):
    names = tuple((f"class {c}",) for c in range(len(parents)))
    return subtree_sizes(to_table(Vocabulary(tuple(f"n{c}" for c in range(len(parents))), names, tuple(parents))))


def widths(figure):
    paths = re.findall(r'id="subtree-sizes-bar-\d+">\s*<path d="([^"]*)"', figure.svg)
    corners = [np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2) for path in paths]
    return np.array([np.ptp(c[:, 0]) for c in corners])


def test_bars_are_as_long_as_what_is_below_by_depth_and_size():
    # 0 has all; 1 has 3 and 4; 2 has 5; 6 is a second root with 5 below, too.
    figure = drawn([(), (0,), (0,), (1,), (1,), (2, 6), ()])
    assert np.allclose(widths(figure) / 5, np.array([5, 1, 2, 1]) * widths(figure)[0] / 25, rtol=1e-3)
    assert re.findall(r">(class \d)<", figure.svg) == ["class 0", "class 6", "class 1", "class 2"]
    assert figure.alt == "The largest subtrees of each depth, classes below: class 0 5, class 1 2."
    assert re.findall(r">(depth \d)<", figure.svg) == ["depth 0", "depth 1"]


def test_a_hierarchy_without_edges_is_told_in_words():
    figure = drawn([(), ()])
    assert "no class has classes below it" in figure.svg
    assert figure.alt == "No class has classes below it."


def test_only_the_largest_of_a_depth_are_listed():
    roots = PER_DEPTH + 3
    parents = [()] * roots + [(c,) for c in range(roots)] + [(roots - 1,)]
    figure = drawn(parents)
    assert len(widths(figure)) == PER_DEPTH
    assert re.findall(r">(class \d+)<", figure.svg)[0] == f"class {roots - 1}"


def test_equal_vocabularies_give_equal_bytes():
    assert drawn([(), (0,)]).svg == drawn([(), (0,)]).svg
