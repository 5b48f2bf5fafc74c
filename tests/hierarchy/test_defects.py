from pathlib import Path

import pyarrow as pa
import pytest

from ml_images.hierarchy.defects import KINDS, Defect, defects_table, find_defects, of_kind, shallow_leaves
from ml_images.hierarchy.vocabulary import Vocabulary, parse_vocabulary, to_table


def defects(kind: str, *rows: tuple[str, int]) -> list[Defect]:
    """Of a vocabulary of (names, parent)."""
    names = [tuple(names.split(", ")) for names, _ in rows]
    parents = [() if parent < 0 else (parent,) for _, parent in rows]
    return [defect for defect in find_defects(names, parents) if defect.kind == kind]


CHAIN = [("animal", -1), ("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 4), ("f", 5), ("cat", 6), ("dog", 6)]


def test_a_leaf_beside_a_deep_subtree_is_shallow() -> None:
    (defect,) = defects("shallow_leaves", *CHAIN, ("pet", 0))
    assert defect == Defect("shallow_leaves", 0, pytest.approx((7 + 7 + 1) / 3), (9,))


def test_leaves_at_the_end_of_a_deep_chain_are_not_shallow() -> None:
    assert defects("shallow_leaves", *CHAIN) == []


def test_a_leaf_is_not_shallow_where_leaves_are_usual() -> None:
    usual = [(f"pet {number}", 0) for number in range(3)]  # (7 + 7 + 3) / 5 edges
    assert defects("shallow_leaves", *CHAIN, *usual) == []


def test_leaves_are_counted_on_every_way_down_to_them() -> None:
    names = [(name,) for name in "rabcdefgx"]
    # r - a - ... - g are 7 edges, r - g is one; x is right below r.
    parents = [(), (0,), (1,), (2,), (3,), (4,), (5,), (6, 0), (0,)]
    found = [defect for defect in find_defects(names, parents) if defect.kind == "shallow_leaves"]
    assert found == []  # (7 + 1 + 1) / 3 = 3
    parents[7] = (6,)
    (defect,) = (defect for defect in find_defects(names, parents) if defect.kind == "shallow_leaves")
    assert defect == Defect("shallow_leaves", 0, 4.0, (8,))


def test_a_leaf_whose_kinds_stand_beside_it() -> None:
    rows = [("object", -1), ("snake, serpent", 0), ("reptile", 0), ("Sea Snake", 2), ("viper, rock serpent", 2)]
    rows += [("shop", -1), ("plumber's snake", 5), ("snakes", 2)]
    assert defects("named_after", *rows) == [Defect("named_after", 1, 2, (3, 4))]


def test_a_class_above_its_namesakes_is_right() -> None:
    assert defects("named_after", ("object", -1), ("snake", 0), ("sea snake", 1)) == []


def test_a_class_claims_what_is_named_like_it_below_the_same_class() -> None:
    rows = [("animal", -1), ("domestic animal", 0), ("stray", 1), ("mammal", 0), ("domestic cat", 3), ("dog", 3)]
    rows += [("kitty, domestic ass", 3), ("thing", -1), ("domestic partner", 7), ("domestic fowl", 1)]
    assert defects("claimed", *rows) == [Defect("claimed", 1, 2, (4, 6))]


def test_one_namesake_may_be_chance_and_equal_names_claim_nothing() -> None:
    rows = [("tree", -1), ("fern tree", 0), ("palm", 0), ("fern palm", 2), ("fern tree", 0), ("fern tree", 0)]
    assert defects("claimed", *rows) == []


def test_equal_names_and_only_children() -> None:
    rows = [("jack, jenny", -1), ("jack", 0), ("jack, jenny", 1), ("jack, jenny", 1)]
    assert defects("same_names", *rows) == [Defect("same_names", 0, 2, (2, 3))]
    assert defects("only_child", *rows) == [Defect("only_child", 0, 3, (1,))]


def test_the_table_names_the_classes_and_each_kind_has_its_part() -> None:
    vocabulary = to_table(Vocabulary(("n0", "n1"), (("bait", "lure"), ("fly",)), ((), (0,))))
    table = defects_table(vocabulary)
    (row,) = of_kind(table, "only_child").to_pylist()
    assert row["name"] == "bait, lure" and row["others"] == "fly" and row["classes_below"] == 1
    assert row["finding"] == "the only child of bait is fly"
    assert of_kind(table, "claimed").num_rows == 0
    with pytest.raises(ValueError, match=r"kind must be one of shallow_leaves, .* got 'fun'"):
        of_kind(table, "fun")


@pytest.fixture(scope="module")
def real(shared_data: Path) -> pa.Table:
    path = shared_data / "ml-images" / "dictionary_and_semantic_hierarchy.txt"
    return to_table(parse_vocabulary(path.read_bytes(), path.name))


@pytest.mark.real_data
def test_the_known_defects_of_ml_images_are_among_the_first(real: pa.Table) -> None:
    table = defects_table(real)
    shallow = of_kind(table, "shallow_leaves").to_pylist()
    assert "pet" in shallow[1]["others"].split(", ") and shallow[1]["name"].startswith("animal")
    assert any("livestock" in row["others"].split(", ") for row in shallow[:10])
    assert {6460, 6773} <= set(shallow_leaves(real))
    assert len(shallow_leaves(real)) < 9219 * 0.02
    claimed = of_kind(table, "claimed").to_pylist()
    rank = [row["class"] for row in claimed].index(6459)
    assert rank < 10 and {"dog", "domestic cat"} <= set(claimed[rank]["others"].split(", "))
    first = of_kind(table, "named_after").to_pylist()[0]
    assert first["name"] == "snake" and first["score"] == 33


@pytest.mark.real_data
def test_counts_of_the_real_vocabulary_that_are_known(real: pa.Table) -> None:
    table = defects_table(real)
    assert of_kind(table, "only_child").num_rows == 124
    shared = of_kind(table, "same_names")["score"].to_pylist()
    # 10,873 distinct names; `Pinot noir` and `pinot noir` are the same here, so one can only be more.
    assert sum(shared) >= 11166 - 10873
    assert set(table["kind"].to_pylist()) == set(KINDS)
