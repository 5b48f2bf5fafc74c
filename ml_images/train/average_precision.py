"""Average precision of each class and of all cells together, exact, over rows that are spread over ranks; and, as the
same counts tell it, the best F1 of each class.

AP = sum over thresholds of (R_n - R_n-1) P_n, equal scores entering together, without interpolation: what scikit-learn
computes. Only thresholds that are the score of a positive add to the sum. So ranks tell each other the scores of their
positives, a few for each image, count their own cells against all of them, and add the counts up: 8 bytes for each
positive travel there and 8 back. No rank sees another's other scores, and the scores are never sorted.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ml_images.compiled import compiled
from ml_images.train.best_f1 import BestF1, best_f1
from ml_images.train.comm import Comm
from ml_images.train.score_store import ScoreStore
from ml_images.train.thresholds import Thresholds, count_scores, to_keys, to_thresholds

_CELLS_AT_ONCE = 1 << 15  # 128 KiB of a tile: they stay in the core's cache while they are counted twice


class AveragePrecision(NamedTuple):
    """per_class: float64 (classes,), NaN without positives; pooled: of all cells as one ranking, NaN without any; best:
    F1 of each class."""

    per_class: NDArray[np.float64]
    pooled: float
    best: BestF1


def average_precisions(
    store: ScoreStore,
    classes: NDArray[np.int64],
    scores: NDArray[np.float32],
    num_classes: int,
    comm: Comm,
    threads: int,
) -> AveragePrecision:
    """Of all ranks' rows together, the same on every rank.

    store: all scores of this rank, NaN where unknown; classes, scores: those of its positives, in any order. Memory
    grows by some 80 bytes for each positive of all ranks, and by 8 of them for each further thread.
    """
    keys = comm.gather(torch.from_numpy(to_keys(classes, scores)), "metrics.positives").numpy()
    keys = np.sort(keys)
    per_class = to_thresholds(keys, num_classes)
    pooled = to_thresholds(np.sort(keys & 0xFFFFFFFF), 1)
    bins, pooled_bins = _count(store, per_class, pooled, num_classes, threads)
    bins = comm.sum(torch.from_numpy(bins), "metrics.counts").numpy()
    pooled_bins = comm.sum(torch.from_numpy(pooled_bins), "metrics.pooled_counts").numpy()
    return AveragePrecision(
        _sum_precisions(per_class.offsets, per_class.hits, bins),
        float(_sum_precisions(pooled.offsets, pooled.hits, pooled_bins)[0]),
        best_f1(per_class.offsets, per_class.values, per_class.hits, bins),
    )


def _count(
    store: ScoreStore, per_class: Thresholds, pooled: Thresholds, num_classes: int, threads: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bins of `count_scores` for both."""
    at_once = max(1, _CELLS_AT_ONCE // store.tile_rows)
    blocks = [(first, min(num_classes, first + at_once)) for first in range(0, num_classes, at_once)]
    bins = np.zeros(len(per_class.values), np.int64)

    def count(share: list[tuple[int, int]]) -> NDArray[np.int64]:
        pooled_bins = np.zeros(len(pooled.values), np.int64)
        for first, end in share:
            for scores, images in store.read(first, end):
                count_scores(scores, images, first, 1, per_class, bins)  # no other thread has these classes
                count_scores(scores, images, 0, 0, pooled, pooled_bins)
        return pooled_bins

    with ThreadPoolExecutor(threads, thread_name_prefix="count") as pool:
        shares = pool.map(count, (blocks[thread::threads] for thread in range(threads)))
        return bins, _added(shares)


def _added(parts: Iterator[NDArray[np.int64]]) -> NDArray[np.int64]:
    total = next(parts)
    for part in parts:
        total += part
    return total


@compiled
def _sum_precisions(
    offsets: NDArray[np.int64], hits: NDArray[np.int64], bins: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The average precision of each list: from the highest threshold down, positives found and cells seen."""
    result = np.full(len(offsets) - 1, np.nan)
    for number in range(len(offsets) - 1):
        found, seen, total = 0, 0, 0.0
        for j in range(offsets[number + 1] - 2, offsets[number] - 1, -1):
            found += hits[j]
            seen += bins[j + 1]
            total += hits[j] * (found / seen)
        if found:
            result[number] = total / found
    return result
