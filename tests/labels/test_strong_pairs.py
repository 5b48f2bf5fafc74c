from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images import schemas
from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.labels.strong_pairs import SeenCounts, StrongPairsConfig, select_strong
from ml_images.labels.sums import Sums

# animal 0 > snake 1 > sea snake 2; water 3 > sea 4
ANCESTORS = find_ancestors([[], [0], [1], [], [3]])
IMAGES = np.array([40, 20, 10, 0, 0], np.int64)


def select(*cells: tuple[int, int, int], share_above: float = 0.5) -> list[tuple[int, int]]:
    a, b, n = zip(*cells, strict=True)
    table = select_strong(
        Sums(np.array(a, np.int32), np.array(b, np.int32), np.array(n, np.int64)), IMAGES, ANCESTORS, share_above
    )
    assert table.schema.equals(schemas.STRONG_PAIRS)
    return list(zip(table.column("class").to_pylist(), table.column("implied").to_pylist(), strict=True))


def test_more_than_half_of_the_images_makes_a_pair_and_half_does_not() -> None:
    assert select((2, 3, 5), (2, 4, 6), (1, 4, 11), (1, 3, 10)) == [(2, 4), (1, 4)]


def test_the_class_itself_its_ancestors_and_its_descendants_are_no_news() -> None:
    assert select((2, 2, 10), (2, 1, 10), (2, 0, 10), (0, 2, 40), (1, 2, 20), (0, 4, 40)) == [(0, 4)]


def test_what_a_pair_rests_on_is_told() -> None:
    table = select_strong(
        Sums(np.array([2], np.int32), np.array([4], np.int32), np.array([7], np.int64)), IMAGES, ANCESTORS, 0.5
    )
    assert table.to_pylist() == [{"class": 2, "implied": 4, "count": 7, "images": 10, "share": 0.7}]


@pytest.mark.parametrize("option", ["score_above", "share_above"])
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_thresholds_are_shares(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"strong.{option} is a share"):
        StrongPairsConfig(**{option: value})


LISTS = st.lists(st.tuples(st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4))), max_size=10)


@given(LISTS, st.integers(0, 4))
def test_seen_counts_are_those_of_the_obvious_loops(rows: list[tuple[set[int], set[int]]], cut: int) -> None:
    wanted = Counter((i, j) for classes, seen in rows for i in classes for j in seen)
    found = {}
    for first, end in ((0, cut), (cut, 5)):
        counts = SeenCounts(5, first, end)
        for start in range(0, len(rows), 3):
            columns = [[sorted(row[side]) for row in rows[start : start + 3]] for side in (0, 1)]
            arrays = [pa.array(column, pa.list_(pa.int32())) for column in columns]
            counts.add(pa.RecordBatch.from_arrays(arrays, ["classes", "seen"]))
        for i, j, n in counts.cells():
            found.update(dict(zip(zip(i.tolist(), j.tolist(), strict=True), n.tolist(), strict=True)))
    assert found == dict(wanted)
