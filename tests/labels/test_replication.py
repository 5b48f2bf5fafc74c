from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.labels.replication import (
    Replicated,
    ReplicationConfig,
    add_weighted,
    class_factors,
    image_factors,
)

ROWS = st.lists(st.dictionaries(st.integers(0, 4), st.sampled_from([1.0, 0.3, 0.0, -1.0]), max_size=4), max_size=12)


def arrays(rows: list[dict[int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.array([label for row in rows for label in row], np.int32),
        np.array([confidence for row in rows for confidence in row.values()], np.float32),
    )


@pytest.mark.parametrize(
    ("kind", "images", "expected"),
    [
        ("sqrt", [1000, 100, 10], [1, 3.162278, 10]),  # f = 0.001, 0.0001, 0.00001 with t = 0.001
        ("uniform", [1000, 100, 10], [1, 10, 100]),
        ("none", [1000, 100, 10], [1, 1, 1]),
        ("sqrt", [0, 900_000], [1, 1]),
    ],
)
def test_factors_of_classes(kind: Literal["none", "uniform", "sqrt"], images: list[int], expected: list[float]) -> None:
    found = class_factors(np.array(images), 1_000_000, ReplicationConfig(kind, 0.001))
    assert found == pytest.approx(expected, abs=1e-6)


@given(ROWS)
def test_an_image_has_the_largest_factor_of_the_labels_that_are_present(rows: list[dict[int, float]]) -> None:
    factors = np.array([1.0, 2.5, 1.5, 7.0, 1.0])
    found = image_factors(*arrays(rows), factors)
    expected = [max([1.0, *(factors[label] for label in row if row[label] > 0)]) for row in rows]
    assert (found.dtype, found.tolist()) == (np.float32, expected)


@given(ROWS)
def test_weights_add_up_on_the_labels_that_are_present(rows: list[dict[int, float]]) -> None:
    weights = np.arange(1, len(rows) + 1, dtype=np.float32)
    sums = np.zeros(5)
    add_weighted(*arrays(rows), weights, sums)
    for label in range(5):
        assert sums[label] == sum(w for w, row in zip(weights, rows, strict=True) if row.get(label, 0) > 0)


def test_realised_shares() -> None:
    """3 images show class 0, one of them also class 1, which is repeated four times; class 2 is never seen."""
    done = Replicated(3, np.array([3, 1, 0]), np.array([1.0, 4.0, 1.0]), np.array([6.0, 4.0, 0.0]), 6.0)
    assert done.summary() == {
        "train_rows": 3,
        "epoch_rows": 6.0,
        "classes_repeated": 1,
        "largest_factor": 4.0,
        "shares": {
            "rarest": {"class": 1, "before": 1 / 3, "after": 4 / 6},
            "median": {"class": 0, "before": 1.0, "after": 1.0},
            "most frequent": {"class": 0, "before": 1.0, "after": 1.0},
        },
    }
    assert done.table().to_pylist()[1] == {
        "class": 1,
        "images": 1,
        "share": pytest.approx(1 / 3),
        "factor": 4.0,
        "epoch_share": pytest.approx(4 / 6),
    }


@pytest.mark.parametrize("threshold", [0, -1, 1.5, float("nan")])
def test_thresholds_that_are_no_share_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"replication\.threshold is a share above 0 and at most 1"):
        ReplicationConfig("sqrt", threshold)


def test_more_copies_than_readers_can_count_are_refused() -> None:
    config = ReplicationConfig("uniform", 1.0)
    assert class_factors(np.array([65_534, 1]), 65_534, config).tolist() == [1, 65_534]
    with pytest.raises(InputError, match=r"class 1 65535 times, at most 65534 is possible"):
        class_factors(np.array([65_535, 1]), 65_535, config)
