"""Where in a block of lines a text has been met before: most rows of the published lists repeat the tags of another.

An open-addressing table. A slot has the place of the text in the block and the number that it was given; texts are told
apart by their bytes, so two of the same hash cost a little work and nothing else.
"""

import numpy as np
import numpy.typing as npt

from ml_images.annotations.words import LF, Bytes, same_bytes
from ml_images.compiled import uncounted

UInt64 = npt.NDArray[np.uint64]

_PLACE = np.uint64(32)  # slot = place << 32 | number + 1, or 0
_NUMBER = np.uint64(0xFFFFFFFF)


def empty_slots(count: int) -> UInt64:
    """A table for `count` slots, a power of two; up to half of them are to be filled, so that a search stays short."""
    assert count & (count - 1) == 0
    return np.zeros(count, np.uint64)


@uncounted
def find_text(
    data: Bytes, slots: UInt64, start: int, end: int, hash_bits: np.uint64
) -> tuple[np.uint64, int | np.int64]:
    """(slot, number) of data[start:end], what a line ends with; without one the slot where it belongs, and -1."""
    last = np.uint64(len(slots) - 1)
    slot = hash_bits & last
    while slots[slot] != 0:
        first = np.int64(slots[slot] >> _PLACE)
        if data[first + end - start] == LF and same_bytes(data, first, start, end - start):
            return slot, np.int64(slots[slot] & _NUMBER) - 1
        slot = (slot + np.uint64(1)) & last
    return slot, -1


@uncounted
def put_text(slots: UInt64, slot: np.uint64, start: int, number: int) -> None:
    """Remember a text that an earlier line ends with, by where it begins (below 2^31) and its number."""
    slots[slot] = np.uint64(start) << _PLACE | np.uint64(number + 1)
