import re

from ml_images.sample.hierarchy import CLASSES, INDEX, ancestors, closed_max, vocabulary_text, vocabulary_text_3_columns


def slow_ancestors(klass: int) -> set[int]:
    return {a for parent in CLASSES[klass].parents for a in (parent, *slow_ancestors(parent))}


def depth(klass: int) -> int:
    return max((1 + depth(parent) for parent in CLASSES[klass].parents), default=0)


def test_the_hierarchy_has_three_roots_six_levels_and_classes_with_two_parents() -> None:
    assert 30 <= len(CLASSES) <= 60
    assert sum(not row.parents for row in CLASSES) == 3
    assert max(map(depth, range(len(CLASSES)))) == 5
    assert sum(len(row.parents) == 2 for row in CLASSES) == 14


def test_exactly_one_class_stands_before_its_parent() -> None:
    forward = [i for i, row in enumerate(CLASSES) if any(parent > i for parent in row.parents)]
    assert forward == [INDEX["triangle"]]


def test_ids_look_like_wordnet_ids_and_differ() -> None:
    assert all(re.fullmatch(r"n9\d{7}", row.id) for row in CLASSES)
    assert len({row.id for row in CLASSES}) == len(CLASSES)


def test_ancestors_are_those_of_the_recursive_definition_each_once() -> None:
    for klass in range(len(CLASSES)):
        assert set(ancestors(klass)) == slow_ancestors(klass)
        assert len(set(ancestors(klass))) == len(ancestors(klass))


def test_a_fir_tree_is_a_triangle_and_green_nearest_first() -> None:
    names = [CLASSES[klass].names[0] for klass in ancestors(INDEX["fir tree"])]
    assert names[:2] == ["triangle", "green"]
    assert set(names) == {
        *("triangle", "pointed figure", "angular figure", "figure", "thing"),
        *("green", "cool colour", "colour"),
    }


def test_closing_raises_ancestors_to_the_surest_descendant() -> None:
    closed = closed_max([(INDEX["sun"], 0.8), (INDEX["yellow"], 0.9), (INDEX["thing"], 0.5)])
    assert closed[INDEX["sun"]] == closed[INDEX["circle"]] == closed[INDEX["thing"]] == 0.8
    assert closed[INDEX["yellow"]] == closed[INDEX["colour"]] == 0.9
    assert list(closed) == sorted(closed)


def test_both_vocabulary_files_say_the_same() -> None:
    header, *rows = vocabulary_text().splitlines()
    assert header == "category_index\tcategory_id\tindex_of_parent_category\tcategory name"
    fields = [row.split("\t") for row in rows]
    assert [int(f[0]) for f in fields] == list(range(len(CLASSES)))
    assert fields[0][2] == "-1"
    assert fields[INDEX["sun"]][2] == f"{INDEX['circle']},{INDEX['yellow']}"
    assert fields[INDEX["sun"]][3] == "sun, yellow disc"
    assert [f[1:] for f in fields] == [row.split("\t") for row in vocabulary_text_3_columns().splitlines()]
