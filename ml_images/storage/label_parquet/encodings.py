"""Levels, dictionary indices and strings as the bytes of Parquet's encodings RLE and PLAIN.

Of the RLE hybrid only its two simple forms are written: one run of a value, or one of bits packed from the lowest bit
on, whatever its length. https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled
from ml_images.storage.label_parquet.thrift import varint

UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]
UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]

MOST_FLOATS = 256  # distinct values for which floats get a dictionary: their indices fit in a byte
_SLOTS = 1024


def repeated(value: int, count: int, width: int) -> bytes:
    """`count` times `value` in `width` bits each."""
    return varint(count << 1) + value.to_bytes((width + 7) // 8, "little")


def packed(numbers: UInt32, width: int) -> bytes:
    """`numbers` below 2^width, width in 1..32."""
    groups = (len(numbers) + 7) // 8
    words = np.zeros((groups * width + 7) // 8, np.uint64)
    _pack(frozen(numbers), width, words)
    return varint(groups << 1 | 1) + words.view(np.uint8)[: groups * width].tobytes()


def repetitions(positions: Int64) -> bytes:
    """Levels 0 where a row begins, 1 elsewhere. positions: of the first level of each row, ascending, and the end."""
    levels = int(positions[-1] - positions[0])
    groups = (levels + 7) // 8
    bits = np.full(groups, 0xFF, np.uint8)
    _clear_bits(frozen(positions), bits)
    return varint(groups << 1 | 1) + bits.tobytes()


def definitions(positions: Int64, sizes: Int64) -> bytes:
    """Levels 2 for a label, 0 for an empty list. positions as for `repetitions`, sizes: (rows) labels of each."""
    levels = int(positions[-1] - positions[0])
    if sizes.all():
        return repeated(2, levels, 2)
    numbers = np.full(levels, 2, np.uint32)
    numbers[(positions[:-1] - positions[0])[sizes == 0]] = 0
    return packed(numbers, 2)


def strings(offsets: Int32, data: UInt8) -> UInt8:
    """PLAIN: each string behind its length in 4 bytes. String i is data[offsets[i]:offsets[i + 1]]."""
    out = np.empty(int(offsets[-1] - offsets[0]) + 4 * (len(offsets) - 1), np.uint8)
    _interleave(frozen(offsets), frozen(data), out)
    return out


def distinct_numbers(numbers: Int32) -> tuple[Int32, UInt32]:
    """(the values ascending, the index of each value by the value) of `numbers`, one or more and none negative."""
    assert numbers.min() >= 0
    indices = np.zeros(int(numbers.max()) + 1, np.uint32)
    _mark(frozen(numbers), indices)
    values = np.flatnonzero(indices).astype(np.int32)
    indices[values] = np.arange(len(values), dtype=np.uint32)
    return values, indices


def look_up(numbers: Int32, indices: UInt32) -> UInt32:
    """indices[numbers]; no number is negative."""
    out = np.empty(len(numbers), np.uint32)
    _look_up(frozen(numbers), frozen(indices), out)
    return out


def places(starts: Int64, ends: Int64) -> Int32:
    """starts[r], starts[r] + 1, .. ends[r] - 1, for one r after the other."""
    out = np.empty(int((ends - starts).sum()), np.int32)
    _fill_places(frozen(starts), frozen(ends), out)
    return out


def distinct_floats(bits: UInt32) -> tuple[UInt32, UInt32] | None:
    """(the values as they come, the index of each element) of float32 by their bits; None for over MOST_FLOATS."""
    values, indices = np.empty(MOST_FLOATS, np.uint32), np.empty(len(bits), np.uint32)
    count = _number_floats(frozen(bits), np.zeros(_SLOTS, np.int32), values, indices)
    return (values[:count], indices) if count >= 0 else None


def frozen(array: npt.NDArray) -> npt.NDArray:
    """`array` read-only and contiguous, so that loops are compiled for one type, whether it comes from Arrow or not."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@compiled
def _pack(numbers: UInt32, width: int, words: UInt64) -> None:
    word, used, k = np.uint64(0), np.uint64(0), 0
    size, wide = np.uint64(width), np.uint64(64)
    for i in range(len(numbers)):
        number = np.uint64(numbers[i])
        word |= number << used
        used += size
        if used >= wide:
            words[k] = word
            k += 1
            used -= wide
            word = number >> (size - used)
    if used > np.uint64(0):
        words[k] = word


@compiled
def _clear_bits(positions: Int64, bits: UInt8) -> None:
    start = positions[0]
    for row in range(len(positions) - 1):
        at = np.uint64(positions[row] - start)
        bits[at >> np.uint64(3)] &= ~(np.uint8(1) << np.uint8(at & np.uint64(7)))


@compiled
def _interleave(offsets: Int32, data: UInt8, out: UInt8) -> None:
    k = np.uint64(0)
    for i in range(len(offsets) - 1):
        start, size = np.uint64(offsets[i]), np.uint64(offsets[i + 1] - offsets[i])
        for byte in range(4):
            out[k + np.uint64(byte)] = (size >> np.uint64(8 * byte)) & np.uint64(0xFF)
        k += np.uint64(4)
        for j in range(size):
            out[k + j] = data[start + j]
        k += size


@compiled
def _fill_places(starts: Int64, ends: Int64, out: Int32) -> None:
    k = 0
    for row in range(len(starts)):
        for place in range(starts[row], ends[row]):
            out[k] = place
            k += 1


@compiled
def _mark(numbers: Int32, marks: UInt32) -> None:
    for i in range(len(numbers)):
        marks[np.uint32(numbers[i])] = 1


@compiled
def _look_up(numbers: Int32, indices: UInt32, out: UInt32) -> None:
    for i in range(len(numbers)):
        out[i] = indices[np.uint32(numbers[i])]


@compiled
def _number_floats(bits: UInt32, slots: Int32, values: UInt32, indices: UInt32) -> int:
    """How many distinct values there are, -1 for more than `values` holds. slots: 0 or index + 1, a hash table."""
    count = 0
    for i in range(len(bits)):
        b = bits[i]
        slot = (np.uint64(b) * np.uint64(0x9E3779B1) >> np.uint64(16)) & np.uint64(_SLOTS - 1)
        while slots[slot] != 0 and values[slots[slot] - 1] != b:
            slot = (slot + np.uint64(1)) & np.uint64(_SLOTS - 1)
        if slots[slot] == 0:
            if count == len(values):
                return -1
            values[count] = b
            count += 1
            slots[slot] = count
        indices[i] = slots[slot] - 1
    return count
