import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml_images.train import thresholds
from ml_images.train.thresholds import count_scores, to_keys, to_thresholds

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
CLOSE = st.sampled_from([-2.0, -0.0, 0.0, 1e-45, 0.5, 0.50000006, 3.0, -3e38, 3e38])


def counted(lists: list[list[float]], scores: list[list[float]]) -> list[list[int]]:
    """For each list and each of its distinct scores, ascending: how many of the list's `scores` reach it."""
    numbers = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
    keys = np.sort(to_keys(numbers, np.array([value for values in lists for value in values], np.float32)))
    found = to_thresholds(keys, len(lists))
    bins = np.zeros(len(found.values), np.int64)
    for number, row in enumerate(scores):
        padded = np.array([[*row, 9e9, 9e9]], np.float32)  # beyond the images, counts for nothing
        count_scores(padded, len(row), number, 1, found, bins)
    parts = np.split(bins, found.offsets[1:-1])
    return [part[:0:-1].cumsum()[::-1].tolist() for part in parts]


def slowly(lists: list[list[float]], scores: list[list[float]]) -> list[list[int]]:
    return [
        [sum(np.float32(score) >= threshold for score in row) for threshold in sorted(set(np.float32(values)))]
        for values, row in zip(lists, scores, strict=True)
    ]


@pytest.mark.parametrize("few", [64, 1, 3])
@given(
    st.lists(st.tuples(st.lists(FINITE | CLOSE), st.lists(FINITE | CLOSE | st.just(np.nan))), min_size=1, max_size=4)
)
def test_every_score_is_counted_where_it_reaches(few: int, pairs: list[tuple[list[float], list[float]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "FEW", few)  # tables are made from so many on
        lists, scores = [a for a, _ in pairs], [b for _, b in pairs]
        assert counted(lists, scores) == slowly(lists, scores)


@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e30])
@pytest.mark.parametrize("number", [63, 64, 65, 3000])
def test_long_lists_are_looked_up_in_tables(number: int, spread: float) -> None:
    chance = np.random.default_rng(number)
    values = (chance.normal(size=number) * spread).astype(np.float32)
    values[0] = -3e38  # far off
    scores = np.concatenate([chance.normal(size=500) * spread, values[:50], [3e38, -3e38, np.nan]]).astype(np.float32)
    assert counted([values.tolist()], [scores.tolist()]) == slowly([values.tolist()], [scores.tolist()])


def test_all_equal_scores_are_one_threshold() -> None:
    assert counted([[1.5] * 200], [[1.5] * 7 + [1.0]]) == [[7]]


def test_keys_are_in_the_order_of_lists_then_of_scores() -> None:
    scores = np.array([3e38, 1e-45, 0.0, -0.0, -1e-45, -2.5], np.float32)
    keys = to_keys(np.zeros(6, np.int64), scores)
    assert (np.diff(keys) <= 0).all()
    assert keys[2] == keys[3]
    assert len(set(keys.tolist())) == 5
    assert (to_keys(np.ones(6, np.int64), scores) > keys.max()).all()


@given(st.lists(FINITE, min_size=1))
def test_thresholds_are_the_scores_themselves_with_their_hits(values: list[float]) -> None:
    scores: NDArray[np.float32] = np.array(values, np.float32)
    found = to_thresholds(np.sort(to_keys(np.zeros(len(scores), np.int64), scores)), 1)
    distinct, hits = np.unique(scores, return_counts=True)
    assert found.values.tolist() == [*distinct.tolist(), np.inf]
    assert found.hits.tolist() == [*hits.tolist(), 0]
