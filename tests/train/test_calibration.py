import numpy as np
import pytest
from dense_labels import labels_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml_images.schemas import UNKNOWN
from ml_images.train.calibration import (
    BINS,
    Activation,
    Calibration,
    add_to_bins,
    bin_of,
    describe_calibration,
    sigmoid,
)


def described(
    scores: NDArray[np.float32], targets: NDArray[np.float32], activation: Activation = "sigmoid"
) -> dict[str, object]:
    labels = labels_of(targets)
    counters = Calibration(activation)
    half = len(scores) // 2
    for part in (slice(half), slice(half, None)):  # batches add up
        part_labels = labels_of(targets[part])
        counters.update(part_labels.hide_unknown(scores[part]), part_labels)
    assert labels.images == len(scores)
    return describe_calibration(counters.totals())


def slow_error(probabilities: NDArray[np.float64], true: NDArray[np.bool_]) -> float:
    """From the definition, bin by bin."""
    error = 0.0
    for number in range(BINS):
        chosen = (probabilities >= number / BINS) & (probabilities < (number + 1) / BINS + (number == BINS - 1))
        if chosen.any():
            error += chosen.mean() * abs(probabilities[chosen].mean() - true[chosen].mean())
    return error


def test_sigmoid_outputs_are_predictions_of_each_known_cell() -> None:
    chance = np.random.default_rng(1)
    scores = (chance.normal(size=(60, 9)) * 3).astype(np.float32)
    targets = chance.choice([0.0, 0.0, 1.0, UNKNOWN], (60, 9)).astype(np.float32)
    known = targets != UNKNOWN
    told = described(scores, targets)
    assert told["predictions"] == known.sum()
    expected = slow_error(1 / (1 + np.exp(-scores[known].astype(np.float64))), targets[known] == 1)
    assert told["expected_error"] == pytest.approx(expected, abs=1e-6)


def test_who_is_right_as_often_as_promised_has_no_error() -> None:
    scores = np.full((10, 1), np.log(0.3 / 0.7), np.float32)
    targets = np.array([[1.0]] * 3 + [[0.0]] * 7, np.float32)
    assert described(scores, targets)["expected_error"] == pytest.approx(0, abs=1e-7)
    assert described(scores, 1 - targets)["expected_error"] == pytest.approx(0.4)


def test_softmax_outputs_are_one_prediction_for_each_image_with_one_positive() -> None:
    scores = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.5, 0.3, 0.2]], np.float32))
    targets = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [UNKNOWN, 1, 0]], np.float32)
    told = described(scores, targets, "softmax")
    assert told["predictions"] == 3  # the third image has two positives
    assert told["expected_error"] == pytest.approx((0.3 + 0.8 + 0.4) / 3)  # 0.3 of the known 0.5 is 0.6, and right


def test_nothing_has_no_error() -> None:
    told = described(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))
    assert told["expected_error"] is None
    assert told["predictions"] == 0


@given(st.lists(st.floats(0, 1, width=32) | st.just(np.nan)))
def test_every_probability_falls_into_its_bin_and_no_number_into_none(values: list[float]) -> None:
    probabilities = np.array(values, np.float32)
    counts, sums = np.zeros(BINS, np.int64), np.zeros(BINS)
    add_to_bins(probabilities, counts, sums)
    known = probabilities[~np.isnan(probabilities)]
    assert counts.tolist() == np.bincount(bin_of(known), minlength=BINS).tolist()
    assert sums.tolist() == pytest.approx(np.bincount(bin_of(known), known.astype(float), BINS).tolist())


def test_the_sigmoid_of_a_far_off_score_is_0_or_1() -> None:
    assert sigmoid(np.array([-1000, -3e38, 0, 3e38], np.float32)).tolist() == [0, 0, 0.5, 1]
