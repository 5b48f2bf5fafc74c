import numpy as np
import pyarrow as pa

from ml_images.hierarchy.vocabulary import Vocabulary, to_table
from ml_images.labels.association import measure
from ml_images.labels.sums import Sums
from ml_images.labels.surprising import surprising_pairs

#           0 thing: 1 animal: (2 snake: 3 sea snake); 4 water: 5 sea; 6 sofa
PARENTS = ((), (0,), (1,), (2,), (0,), (4,), (0,))
NAMES = (("thing",), ("animal",), ("snake", "serpent"), ("sea snake",), ("water",), ("sea",), ("sofa",))
VOCABULARY = to_table(Vocabulary(tuple(f"n{c}" for c in range(7)), NAMES, PARENTS))
IMAGES = np.array([10_000, 3_000, 1_000, 100, 2_000, 900, 500])


def pairs(*counted: tuple[int, int, int]) -> pa.Table:
    """(class_a, class_b, count) among 10,000 images."""
    a, b, counts = zip(*counted, strict=True)
    return measure(Sums(np.array(a, np.int32), np.array(b, np.int32), np.array(counts)), IMAGES, 10_000, 1)


def found(table: pa.Table, **options: int) -> list[tuple[str, str]]:
    rows = surprising_pairs(table, VOCABULARY, **options)
    return list(zip(rows["name_a"].to_pylist(), rows["name_b"].to_pylist(), strict=True))


def test_the_highest_lift_comes_first_with_its_numbers() -> None:
    table = surprising_pairs(pairs((5, 6, 90), (3, 5, 81)), VOCABULARY)
    first, second = table.to_pylist()
    assert (first["name_a"], first["name_b"], first["class_a"], first["class_b"]) == ("sea snake", "sea", 3, 5)
    assert first["count"] == 81
    assert np.isclose(first["lift"], 9) and np.isclose(first["b_given_a"], 0.81)
    assert np.isclose(first["lift_at_least"], 9 * (81 - 2 * 9) / 81)
    assert (second["name_a"], second["name_b"]) == ("sea", "sofa")


def test_a_class_and_its_ancestor_are_no_surprise() -> None:
    assert found(pairs((1, 3, 100), (2, 3, 100), (0, 3, 100))) == []


def test_what_is_expected_by_chance_is_no_surprise_and_two_deviations_are_chance() -> None:
    assert found(pairs((5, 6, 45))) == []  # lift 1
    assert found(pairs((5, 6, 58))) == []  # 58 - 2 * 7.6 is below 45
    assert found(pairs((5, 6, 62))) == [("sea", "sofa")]


def test_a_few_lucky_images_do_not_lead_the_list() -> None:
    assert found(pairs((3, 6, 20), (3, 5, 40)), min_count=1) == [("sea snake", "sea"), ("sea snake", "sofa")]
    assert found(pairs((3, 6, 20), (3, 5, 40)), min_count=21) == [("sea snake", "sea")]


def test_relatives_of_a_pair_higher_up_are_left_out() -> None:
    table = pairs((3, 5, 81), (2, 5, 500), (3, 4, 82), (2, 4, 400), (4, 6, 400))
    assert found(table) == [("sea snake", "sea"), ("water", "sofa")]


def test_as_many_as_asked_for() -> None:
    table = pairs((3, 5, 81), (4, 6, 400), (2, 6, 300))
    assert len(found(table)) == 3
    assert len(found(table, num_pairs=2)) == 2
    assert found(table[:0]) == []
