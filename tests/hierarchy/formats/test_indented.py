import pytest
from hierarchies import dags, mistake_in, named_relations
from hypothesis import given

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.describe import describe_hierarchy
from ml_images.hierarchy.formats.indented import parse_indented
from ml_images.hierarchy.formats.pairs import parse_parent_child
from ml_images.hierarchy.names import parse_names


def test_two_dashes_a_level_several_roots_and_blank_lines():
    found = parse_indented(
        b"thing\n\n-- living thing \r\n---- dog\n---- all-round cat ?\n-- stone\nidea\n--  plan\n", "h"
    )
    assert found.ids == ("thing", "living thing", "dog", "all-round cat ?", "stone", "idea", "plan")
    assert found.names == tuple((id,) for id in found.ids)
    assert found.parents == ((), (0,), (1,), (1,), (0,), (), (5,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n \n", "h.txt:1: no classes"),
        ("-- a\n", "h.txt:1: 2 dashes, but at most 0 can follow the line before"),
        ("a\n---- b\n", "h.txt:2: 4 dashes, but at most 2 can"),
        ("a\n-- b\nc\n---- d\n", "h.txt:4: 4 dashes, but at most 2 can"),
        ("a\n- b\n", "h.txt:2: expected two dashes a level, a space"),
        ("a\n--- b\n", "h.txt:2: expected two dashes"),
        ("a\n--b\n", "h.txt:2: expected two dashes"),
        ("a\n-- \n", "h.txt:2: expected two dashes"),
        ("a\n--\n", "h.txt:2: expected two dashes"),
        ("a\n  b\n", "h.txt:2: expected two dashes"),
        ("a\n-- b\n-- c\n---- b\n", "h.txt:4: 'b' is repeated, first on line 2"),
        (b"a\n-- \xff\n", "h.txt:2: not UTF-8"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_line(text, expected):
    assert mistake_in(parse_indented, text).startswith(expected)


@given(dags())
def test_any_forest_comes_back(parents):
    forest = [above[:1] for above in parents]

    def lines(c: int, level: int) -> list[str]:
        below = [line for child, above in enumerate(forest) if above == [c] for line in lines(child, level + 1)]
        return [f"{'--' * level}{' ' * (level > 0)}class {c}\n", *below]

    text = "".join(line for c, above in enumerate(forest) if not above for line in lines(c, 0))
    found = parse_indented(text.encode(), "h")
    assert named_relations(found) == {(f"class {c}", f"class {p}") for c, above in enumerate(forest) for p in above}
    assert list(found.ids) == [line.strip("- ") for line in text.splitlines()]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "nodes", "height"), [("cub_flat", 368, 4), ("cub_balanced", 421, 7), ("cub_wikispecies", 383, 6)]
)
def test_published_text_has_the_shape_of_the_pairs_beside_it(shared_data, name, nodes, height):
    folder = shared_data / "hierarchies"
    text = parse_indented((folder / f"{name}.indented.txt").read_bytes(), name)
    pairs = parse_parent_child((folder / f"{name}.parent-child.txt").read_bytes(), name)
    found, other = (describe_hierarchy(find_ancestors(vocabulary.parents)) for vocabulary in (text, pairs))
    assert (found["nodes"], found["leaves"], found["longest_path"]) == (nodes, 200, height)
    assert (found["depths_of_all"], found["depths_of_leaves"]) == (other["depths_of_all"], other["depths_of_leaves"])


@pytest.mark.real_data
def test_published_text_of_cifar_says_the_same_as_pairs_and_names(shared_data):
    folder = shared_data / "hierarchies"
    text = parse_indented((folder / "cifar.indented.txt").read_bytes(), "text")
    pairs = parse_parent_child((folder / "cifar.parent-child.txt").read_bytes(), "pairs")
    names = parse_names((folder / "cifar.class_names.txt").read_bytes(), "names")
    assert named_relations(text) == {(names[child], names[parent]) for child, parent in named_relations(pairs)}
