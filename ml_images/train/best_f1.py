"""Where to cut the scores of a class so that what is kept has the best F1: 2 P R / (P + R), of precision and recall.

The network's scores of a rare class stay low for its own images, too; one threshold for all classes would keep none of
them. Only scores of positives can be best: between two of them a lower threshold adds negatives alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_images.compiled import compiled


class BestF1(NamedTuple):
    """For each class, NaN without positives: the best F1, float64 (classes,), and the score, float32 (classes,), from
    which on an image has to be kept for it; the highest such score, where several are as good."""

    f1: NDArray[np.float64]
    scores: NDArray[np.float32]


def best_f1(
    offsets: NDArray[np.int64], values: NDArray[np.float32], hits: NDArray[np.int64], bins: NDArray[np.int64]
) -> BestF1:
    """Of the lists of thresholds.Thresholds, and what thresholds.count_scores counted for them over all images."""
    return BestF1(*_best_f1(offsets, values, hits, bins))


@compiled
def _best_f1(
    offsets: NDArray[np.int64], values: NDArray[np.float32], hits: NDArray[np.int64], bins: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    f1 = np.full(len(offsets) - 1, np.nan)
    scores = np.full(len(offsets) - 1, np.nan, np.float32)
    for number in range(len(offsets) - 1):
        positives = 0
        for j in range(offsets[number], offsets[number + 1] - 1):
            positives += hits[j]
        found, seen, best = 0, 0, 0.0
        for j in range(offsets[number + 1] - 2, offsets[number] - 1, -1):
            found += hits[j]
            seen += bins[j + 1]
            reached = 2.0 * found / (seen + positives)
            if reached > best:
                best = reached
                f1[number], scores[number] = reached, values[j]
    return f1, scores
