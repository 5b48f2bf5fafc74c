"""How far predicted probabilities are from what comes true: the expected calibration error, and the bins behind it.

Predictions fall into BINS bins of equal width; the error is the sum over bins of its share of the predictions times
|mean probability - share that came true| (Naeini et al. 2015, Guo et al. 2017). For sigmoid outputs each known cell is
a prediction that its class is there. Nearly all cells of a long vocabulary are negatives that nobody doubts, so the
error is small whatever the model does: look at the bins. For softmax outputs the prediction is the best class of an
image that has exactly one positive.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml_images.compiled import compiled
from ml_images.train.known_labels import KnownLabels

BINS = 15  # as Guo et al.
_AT_ONCE = 1 << 17  # cells: their probabilities stay in the core's cache

Activation = Literal["sigmoid", "softmax"]


class Calibration:
    """Counters; those of ranks add up."""

    def __init__(self, activation: Activation = "sigmoid") -> None:
        self._activation = activation
        self._predictions = np.zeros(BINS, np.int64)
        self._probability = np.zeros(BINS)
        self._true = np.zeros(BINS, np.int64)

    def update(self, scores: NDArray[np.float32], labels: KnownLabels) -> None:
        """Count some images: logits (images, classes), NaN where unknown."""
        if self._activation == "softmax":
            probabilities, right = _best_classes(scores, labels)
            add_to_bins(probabilities, self._predictions, self._probability)
            self._true += np.bincount(bin_of(probabilities[right]), minlength=BINS)
            return
        rows = max(1, _AT_ONCE // max(1, scores.shape[1]))
        for start in range(0, len(scores), rows):
            add_to_bins(sigmoid(scores[start : start + rows]).ravel(), self._predictions, self._probability)
        self._true += np.bincount(bin_of(sigmoid(scores[labels.rows, labels.positives])), minlength=BINS)

    def totals(self) -> NDArray[np.float64]:
        """What ranks add up."""
        return np.concatenate((self._predictions, self._probability, self._true))


def describe_calibration(totals: NDArray[np.float64]) -> dict[str, Any]:
    """The error and its bins, of the `totals` of all ranks; None where there is nothing to take the mean of."""
    predictions, probability, true = np.split(totals, 3)
    count = float(predictions.sum())
    return {
        "predictions": int(count),
        "expected_error": float(np.abs(probability - true).sum()) / count if count else None,
        "bins": [
            {
                "from": number / BINS,
                "predictions": int(predictions[number]),
                "mean_probability": float(probability[number] / predictions[number]) if predictions[number] else None,
                "share_true": float(true[number] / predictions[number]) if predictions[number] else None,
            }
            for number in range(BINS)
        ],
    }


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32, NaN where the logit is."""
    result = np.negative(logits)
    with np.errstate(over="ignore"):  # 1 / infinity is the 0 that it should be
        np.exp(result, out=result)
    result += 1
    return np.reciprocal(result, out=result)


def bin_of(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each probability, 0 to BINS - 1; 1 is in the last."""
    return np.minimum((probabilities * np.float32(BINS)).astype(np.int64), BINS - 1)


@compiled
def add_to_bins(probabilities: NDArray[np.float32], counts: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
    """Count each probability, and add it up, in its bin as `bin_of` says; NaN is left out."""
    low_count, low_sum = 0, 0.0
    for probability in probabilities:
        place = probability * np.float32(BINS)
        if place < 1:  # nearly all of them
            low_count += 1
            low_sum += probability
        elif place >= 1:
            number = min(int(place), BINS - 1)
            counts[number] += 1
            sums[number] += probability
    counts[0] += low_count
    sums[0] += low_sum


def _best_classes(scores: NDArray[np.float32], labels: KnownLabels) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(probability of the best class, whether it is the right one) of the images with exactly one positive."""
    chosen = np.flatnonzero(np.diff(labels.offsets) == 1)
    known = scores[chosen]
    known = np.where(np.isnan(known), np.float32(-np.inf), known)
    best = known.argmax(axis=1)
    top = known.max(axis=1, keepdims=True)
    share = 1 / np.exp(known - top).sum(axis=1, dtype=np.float64)
    return share.astype(np.float32), best == labels.positives[labels.offsets[chosen]]
