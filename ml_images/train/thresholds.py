"""How many scores reach each of many thresholds, exactly, without sorting the scores.

Average precision asks, for the score of each positive, how many cells score at least as much. A class of ML-Images has
some 70 positives in 88,739 images, most have 6: comparing the whole column with each of them takes 0.05 ns a cell and
threshold (16 comparisons an instruction), where a sort takes 4 ns a cell. Beyond FEW thresholds a table says between
which two a score lies, 3 ns.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_images.compiled import compiled

FEW = 64  # as many comparisons take as long as a look-up
_MOST_BUCKETS = 1 << 19  # 2 MiB
_FEW_LEFT = 8  # thresholds of a bucket that are gone through one by one
_OUTLIERS = 1e-3  # share of thresholds at each end that may not make a table more than three times as coarse


class Thresholds(NamedTuple):
    """Several lists: list l has values[offsets[l]:offsets[l + 1]], ascending without repeats; its last is infinite.

    hits: how many positives have exactly that score.
    A list of more than FEW has a table, tables[table_offsets[l]:table_offsets[l + 1]]: how many thresholds come before
    each bucket, and at the end how many there are. A score x falls into bucket (x - lows[l]) * scales[l], or into the
    first or the last one.
    """

    offsets: NDArray[np.int64]  # (lists + 1)
    values: NDArray[np.float32]
    hits: NDArray[np.int64]
    table_offsets: NDArray[np.int64]  # (lists + 1)
    tables: NDArray[np.int32]
    lows: NDArray[np.float64]  # (lists)
    scales: NDArray[np.float64]  # (lists)


def to_keys(lists: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """One number for a list and a finite score, in the order of lists, then of scores; 0.0 and -0.0 are equal."""
    bits = scores.view(np.int32).astype(np.int64)
    ordered = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) + (1 << 31)
    return (lists.astype(np.int64) << 32) + ordered


def _to_scores(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    ordered = (keys & 0xFFFFFFFF) - (1 << 31)
    return np.where(ordered < 0, -ordered | (1 << 31), ordered).astype(np.uint32).view(np.float32)


def to_thresholds(keys: NDArray[np.int64], lists: int) -> Thresholds:
    """The distinct scores of each of `lists` lists, of ascending `keys`."""
    fresh = np.ones(len(keys), np.bool_)
    fresh[1:] = keys[1:] != keys[:-1]
    places = np.flatnonzero(fresh)
    hits = np.diff(np.append(places, len(keys)))
    distinct = keys[places]
    of_list = distinct >> 32
    lengths = np.bincount(of_list, minlength=lists)
    offsets = np.concatenate(([0], np.cumsum(lengths + 1)))
    values = np.full(offsets[-1], np.inf, np.float32)
    all_hits = np.zeros(offsets[-1], np.int64)
    places = np.arange(len(distinct)) + of_list
    values[places] = _to_scores(distinct)
    all_hits[places] = hits
    return Thresholds(offsets, values, all_hits, *_make_tables(offsets, values))


def _make_tables(
    offsets: NDArray[np.int64], values: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    lengths = np.diff(offsets) - 1
    buckets = np.minimum(_MOST_BUCKETS, 4 * lengths)
    table_offsets = np.concatenate(([0], np.cumsum(np.where(lengths > FEW, buckets + 1, 0))))
    tables = np.zeros(table_offsets[-1], np.int32)
    lows, scales = np.zeros(len(lengths)), np.zeros(len(lengths))
    for number in np.flatnonzero(lengths > FEW):
        own = values[offsets[number] : offsets[number + 1] - 1]
        tail = int(len(own) * _OUTLIERS)
        span = float(own[-1 - tail]) - float(own[tail])  # of two different ones
        lows[number] = max(float(own[0]), float(own[tail]) - span)
        high = min(float(own[-1]), float(own[-1 - tail]) + span)
        scales[number] = buckets[number] / (high - lows[number])
        _fill_table(own, lows[number], scales[number], tables[table_offsets[number] : table_offsets[number + 1]])
    return table_offsets, tables, lows, scales


@compiled
def _find_buckets(
    scores: NDArray[np.float32], images: int, low: float, scale: float, last: int, buckets: NDArray[np.int32]
) -> None:
    """The bucket, 0 to `last`, of each of the first `images` scores; 0 for NaN. A loop that compiles to vectors."""
    highest = float(last)
    for i in range(images):
        place = (scores[i] - low) * scale  # float64: no score overflows it, and it never falls while scores rise
        if not place > 0.0:
            place = 0.0
        if place > highest:
            place = highest
        buckets[i] = np.int32(place)


@compiled
def _fill_table(values: NDArray[np.float32], low: float, scale: float, table: NDArray[np.int32]) -> None:
    buckets = np.empty(len(values), np.int32)
    _find_buckets(values, len(values), low, scale, len(table) - 2, buckets)
    for bucket in buckets:
        table[bucket + 1] += 1
    for bucket in range(len(table) - 1):
        table[bucket + 1] += table[bucket]


@compiled
def count_scores(
    scores: NDArray[np.float32], images: int, first: int, step: int, thresholds: Thresholds, bins: NDArray[np.int64]
) -> None:
    """Add the first `images` columns of each row of `scores` to the bins of its list, which is first + row * step.

    bins: int64, as long as the thresholds' values; bin j of a list counts the scores that reach j of its thresholds
    and no more. NaN reaches none. What is in bin 0 means nothing.
    """
    buckets, reached = np.empty(images, np.int32), np.empty(images, np.int32)
    for row in range(scores.shape[0]):
        number = first + row * step
        start, end = thresholds.offsets[number], thresholds.offsets[number + 1]
        own = bins[start:end]
        values = thresholds.values[start:end]
        table = thresholds.tables[thresholds.table_offsets[number] : thresholds.table_offsets[number + 1]]
        if len(table) == 0:
            _compare_with_each(scores[row], images, values, own)
        else:
            _find_buckets(
                scores[row], images, thresholds.lows[number], thresholds.scales[number], len(table) - 2, buckets
            )
            _look_up(scores[row], images, values, table, buckets, reached, own)


@compiled
def _compare_with_each(
    scores: NDArray[np.float32], images: int, values: NDArray[np.float32], bins: NDArray[np.int64]
) -> None:
    above = 0
    for j in range(len(values) - 2, -1, -1):
        reached = 0
        for i in range(images):
            reached += scores[i] >= values[j]
        bins[j + 1] += reached - above
        above = reached


@compiled
def _look_up(
    scores: NDArray[np.float32],
    images: int,
    values: NDArray[np.float32],
    table: NDArray[np.int32],
    buckets: NDArray[np.int32],
    reached: NDArray[np.int32],
    bins: NDArray[np.int64],
) -> None:
    for i in range(images):  # apart from what follows, so that many loads are under way at once: 3 ns instead of 5
        reached[i] = table[buckets[i]]
    for i in range(images):
        score, count = scores[i], reached[i]
        if values[count] <= score:
            end = table[buckets[i] + 1]  # thresholds of later buckets are above the score
            if end - count < _FEW_LEFT:
                while values[count] <= score:
                    count += 1
            else:
                while count < end:
                    middle = (count + end) >> 1
                    if values[middle] <= score:
                        count = middle + 1
                    else:
                        end = middle
        bins[count] += 1
