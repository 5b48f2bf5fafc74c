"""64 bits of each key, to find the keys that stand in several rows without moving the keys themselves.

Two different keys with the same bits are looked at together and then told apart by their bytes, so a collision costs a
little work and never a row.
"""

import numpy as np
import pyarrow as pa

from ml_images.annotations.fields import find_key
from ml_images.annotations.scanner import Int32, UInt64
from ml_images.annotations.words import LF, Bytes, find_line_feed, mixed, part_word, whole_word
from ml_images.compiled import uncounted


def hash_lines(data: Bytes) -> tuple[UInt64, int]:
    """(hash of the key of each line that has one, number of lines) of whole lines: a light pass before parsing."""
    hashes = np.empty(int(np.count_nonzero(data == LF)) + 1, np.uint64)
    keys, lines = _hash_lines(data, hashes)
    return hashes[:keys], lines


def hash_keys(keys: pa.StringArray) -> UInt64:
    """The hash of each key, as `hash_lines` has it. `keys`: no slice of a longer array, no nulls."""
    assert keys.offset == 0
    _, offsets, text = keys.buffers()
    hashes = np.empty(len(keys), np.uint64)
    _hash_keys(np.frombuffer(text, np.uint8), np.frombuffer(offsets, np.int32), hashes)
    return hashes


@uncounted
def _hash_lines(data: Bytes, hashes: UInt64) -> tuple[int, int]:
    keys = lines = at = 0
    while at < len(data):
        start, end, at, _ = find_key(data, at)
        if start < end:
            hashes[keys] = _hash(data, start, end)
            keys += 1
        at = find_line_feed(data, at) + 1
        lines += 1
    return keys, lines


@uncounted
def _hash_keys(key_bytes: Bytes, key_offsets: Int32, hashes: UInt64) -> None:
    for row in range(len(hashes)):
        hashes[row] = _hash(key_bytes, key_offsets[row], key_offsets[row + 1])


@uncounted
def _hash(data: Bytes, start: int, end: int) -> np.uint64:
    state = np.uint64(end - start)
    at = start
    while at + 8 <= end:
        state = mixed(state, whole_word(data, at))
        at += 8
    if at < end:
        state = mixed(state, part_word(data, at, end))
    return mixed(state, np.uint64(0))
