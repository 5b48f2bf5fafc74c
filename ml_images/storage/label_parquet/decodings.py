"""The bytes of Parquet's encodings RLE and PLAIN as arrays: the way back from encodings.py.

The RLE hybrid is read whole: any number of runs of one value and of packed bits.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]


def words_of(content: bytes | memoryview) -> UInt64:
    """A copy of `content` as whole words, with one more word than the last bit needs."""
    words = np.zeros(len(content) // 8 + 2, np.uint64)
    words.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
    return words


@compiled
def decode(words: UInt64, start: int, end: int, width: int, dictionary: npt.NDArray, out: npt.NDArray) -> bool:
    """Fill `out` with entries of `dictionary`, whose indices of `width` bits are the bytes [start, end) of `words`.

    False where these are no such indices: the bytes end too early, or an index is not in the dictionary.
    """
    data = words.view(np.uint8)
    mask, bits = (np.uint64(1) << np.uint64(width)) - np.uint64(1), np.uint64(width)
    entries = np.uint64(len(dictionary))
    at: Any = start
    filled: Any = 0
    strange: Any = False
    if len(dictionary) == 0 or not 0 < width <= 32:
        return len(out) == 0
    while filled < len(out):
        head, shift, byte = np.uint64(0), np.uint64(0), np.uint64(128)
        while byte > np.uint64(127):
            if at >= end or shift > np.uint64(28):
                return False
            byte = np.uint64(data[np.uint64(at)])
            head |= (byte & np.uint64(127)) << shift
            shift += np.uint64(7)
            at += 1
        count = np.int64(head >> np.uint64(1))
        if head & np.uint64(1):  # groups of eight values, bit by bit
            size = count * width
            last = min(8 * count, len(out) - filled) + filled
            if count == 0 or size > end - at:
                return False
            bit = np.uint64(8 * at)
            for i in range(np.uint64(filled), np.uint64(last)):
                k, used = bit >> np.uint64(6), bit & np.uint64(63)
                index = (words[k] >> used | words[k + np.uint64(1)] << np.uint64(1) << (np.uint64(63) - used)) & mask
                strange |= index >= entries
                out[i] = dictionary[index if index < entries else np.uint64(0)]
                bit += bits
        else:  # one value
            size = np.int64((width + 7) // 8)
            last = min(count, len(out) - filled) + filled
            if count == 0 or size > end - at:
                return False
            index = np.uint64(0)
            for place in range(size):
                index |= np.uint64(data[np.uint64(at + place)]) << np.uint64(8 * place)
            if index >= entries:
                return False
            value = dictionary[index]
            for i in range(np.uint64(filled), np.uint64(last)):
                out[i] = value
        at += size
        filled = last
    return not strange


def row_starts(words: UInt64, start: int, count: int) -> Int64:
    """Where repetition levels are 0, the first of them at byte `start` of `words`, and behind all of them `count`."""
    places = np.empty(count + 1, np.int64)
    return places[: _find_zeros(words, start, count, places) + 1]


@compiled
def _find_zeros(words: UInt64, start: int, count: int, places: Int64) -> np.int64:
    """Without a branch, as nobody can tell from one level what the next one is: a third of the time."""
    data, found = words.view(np.uint8), np.uint64(0)
    for i in range(np.uint64(count)):
        places[found] = i
        bits = np.uint64(data[np.uint64(start) + (i >> np.uint64(3))])
        found += np.uint64(1) ^ (bits >> (i & np.uint64(7)) & np.uint64(1))
    places[found] = count
    return np.int64(found)
