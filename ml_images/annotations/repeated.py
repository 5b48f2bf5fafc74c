"""Which keys stand in several rows, out of 64 bits of each: buckets of the hash range, looked at one by one.

A bucket holds a share of the keys of all lists, so its size can be chosen whatever their number: memory does not grow
with the lists.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ml_images.annotations.scanner import Int64, UInt64


def bucket_bounds(ascending: UInt64, num_buckets: int) -> Int64:
    """Where each bucket's hashes begin and the last one's end, in hashes that ascend: int64 (num_buckets + 1)."""
    firsts = np.array([(bucket << 64) // num_buckets for bucket in range(1, num_buckets)], np.uint64)
    return np.concatenate([[0], np.searchsorted(ascending, firsts), [len(ascending)]]).astype(np.int64)


def bucket_of(hashes: UInt64, num_buckets: int) -> Int64:
    """The bucket of each hash, as `bucket_bounds` has it."""
    firsts = np.array([(bucket << 64) // num_buckets for bucket in range(1, num_buckets)], np.uint64)
    return np.searchsorted(firsts, hashes, side="right").astype(np.int64)


def repeated(pieces: Sequence[UInt64]) -> UInt64:
    """The hashes that occur more than once in all `pieces` together, ascending, each once."""
    together = np.sort(np.concatenate([np.empty(0, np.uint64), *pieces]))
    again = together[1:][together[1:] == together[:-1]]
    return np.unique(again)


def is_among(hashes: UInt64, ascending: UInt64) -> npt.NDArray[np.bool_]:
    """For each hash, whether it is among `ascending`."""
    if not len(ascending):
        return np.zeros(len(hashes), bool)
    place = np.minimum(np.searchsorted(ascending, hashes), len(ascending) - 1)
    return ascending[place] == hashes
