import math

import numpy as np
import pytest

from ml_images import schemas
from ml_images.labels.association import measure
from ml_images.labels.sums import Sums

IMAGES = np.array([50, 20, 10, 0], np.int64)


def sums(*cells: tuple[int, int, int]) -> Sums:
    a, b, n = zip(*cells, strict=True)
    return Sums(np.array(a, np.int32), np.array(b, np.int32), np.array(n, np.int64))


def test_measures_are_those_of_the_definitions() -> None:
    table = measure(sums((0, 0, 50), (0, 1, 10), (0, 2, 10), (1, 1, 20), (1, 2, 1), (2, 2, 10)), IMAGES, 100, 1)
    assert table.schema.equals(schemas.PAIRS)
    first, second, third = table.to_pylist()
    assert (first["class_a"], first["class_b"], first["count"]) == (0, 1, 10)
    assert first["a_given_b"] == pytest.approx(10 / 20)
    assert first["b_given_a"] == pytest.approx(10 / 50)
    assert first["lift"] == pytest.approx(1.0) and first["pmi"] == pytest.approx(0.0, abs=1e-6)  # independent
    assert second["a_given_b"] == 1.0 and second["lift"] == pytest.approx(2.0) and second["pmi"] == pytest.approx(1.0)
    assert third["pmi"] == pytest.approx(math.log2(1 * 100 / (20 * 10)), rel=1e-6)


def test_pairs_below_min_count_are_left_out_and_those_on_it_are_not() -> None:
    table = measure(sums((0, 1, 10), (0, 2, 9)), IMAGES, 100, 10)
    assert table.column("class_b").to_pylist() == [1]


def test_large_counts_do_not_overflow() -> None:
    many = np.array([6_000_000_000, 5_000_000_000], np.int64)  # their product is above 2^63
    row = measure(sums((0, 1, 4_000_000_000)), many, 17_000_000_000, 1).to_pylist()[0]
    assert row["lift"] == pytest.approx(4 * 17 / 30, rel=1e-6)
