"""Text eight bytes a step, for the loops that would otherwise spend their time on bytes that decide nothing.

A word is a little-endian 64-bit number: the first byte of the text is the lowest one. How a byte is found in a word
without looking at each: https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ml_images.compiled import uncounted

Bytes = npt.NDArray[np.uint8]
Place = int | np.int64

LF = ord("\n")

_ONES = np.uint64(0x0101010101010101)
HIGH_BITS = np.uint64(0x8080808080808080)
_LINE_FEEDS = _ONES * np.uint64(LF)
_ZEROS = _ONES * np.uint64(ord("0"))
_ABOVE_NINE = _ONES * np.uint64(0x80 - 10)
_ABOVE_SPACE = _ONES * np.uint64(ord(" ") + 1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: a bijection of 64 bits
_SHIFT = np.uint64(29)


@uncounted
def whole_word(data: Bytes, at: Place) -> np.uint64:
    """The 8 bytes from `at` on, all of which are there: the compiler makes one load of it."""
    first = np.uint64(at)  # a signed index would be checked for counting from the end
    word = np.uint64(0)
    for i in range(8):
        word |= np.uint64(data[first + np.uint64(i)]) << np.uint64(8 * i)
    return word


@uncounted
def part_word(data: Bytes, at: Place, end: Place) -> np.uint64:
    """The fewer than 8 bytes from `at` to `end`, and zeros."""
    word = np.uint64(0)
    for i in range(end - at):
        word |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return word


@uncounted
def line_feeds(word: np.uint64) -> np.uint64:
    """The high bit of the first line feed in `word`, bits above it that mean nothing, and no other; 0 without one."""
    zeros = word ^ _LINE_FEEDS
    return (zeros - _ONES) & ~zeros & HIGH_BITS


@uncounted
def spaces(word: np.uint64) -> np.uint64:
    """Likewise, of the first byte up to a space: blank, tab, line end or another control character."""
    return (word - _ABOVE_SPACE) & ~word & HIGH_BITS


@uncounted
def other_than_digits(word: np.uint64) -> np.uint64:
    """Likewise, of the first byte that is no digit."""
    numbers = word ^ _ZEROS
    return (numbers | numbers + _ABOVE_NINE) & HIGH_BITS


@uncounted
def decimal(word: np.uint64, digits: int) -> Any:
    """The number that the first bytes of `word` spell, 1 to 8 `digits`: neighbours are added up in pairs."""
    ones = (word ^ _ZEROS) << np.uint64(64 - 8 * digits)
    tens = (ones * np.uint64(10) + (ones >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    hundreds = (tens * np.uint64(100) + (tens >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return np.int64((hundreds * np.uint64(10000) + (hundreds >> np.uint64(32))) & np.uint64(0xFFFFFFFF))


@uncounted
def bits_below(marks: np.uint64) -> np.uint64:
    """All bits of the bytes below the first that `marks`, not 0, has a bit of."""
    first = marks & (~marks + np.uint64(1))
    return (first >> np.uint64(7)) - np.uint64(1)


@uncounted
def bytes_in(bits: np.uint64) -> Any:
    """How many bytes the mask that `bits_below` gives has."""
    return np.int64((bits & _ONES) * _ONES >> np.uint64(56))


@uncounted
def mixed(state: np.uint64, word: np.uint64) -> np.uint64:
    """A step of a hash: xor, multiply, fold the high bits back."""
    state = (state ^ word) * _MULTIPLIER
    return state ^ (state >> _SHIFT)


@uncounted
def find_line_feed(data: Bytes, at: int) -> int:
    """The place of the next line feed, or the end of the data."""
    while at + 8 <= len(data):
        found = line_feeds(whole_word(data, at))
        if found:
            return at + bytes_in(bits_below(found))
        at += 8
    while at < len(data) and data[at] != LF:
        at += 1
    return at


@uncounted
def hash_line(data: Bytes, at: int) -> tuple[int, np.uint64]:
    """(the place of the next line feed or the end of the data, a hash of the bytes before it)."""
    state = np.uint64(0)
    while at + 8 <= len(data):
        word = whole_word(data, at)
        found = line_feeds(word)
        if found:
            below = bits_below(found)
            return at + bytes_in(below), mixed(mixed(state, word & below), np.uint64(0))
        state = mixed(state, word)
        at += 8
    end = find_line_feed(data, at)
    return end, mixed(mixed(state, part_word(data, at, end)), np.uint64(0))


@uncounted
def same_bytes(data: Bytes, one: Place, other: int, count: int) -> bool:
    """Are the `count` bytes from `one` on those from `other` on?"""
    if count < 8:
        return part_word(data, one, one + count) == part_word(data, other, other + count)
    last = count - 8
    for done in range(0, last, 8):
        if whole_word(data, one + done) != whole_word(data, other + done):
            return False
    return whole_word(data, one + last) == whole_word(data, other + last)


@uncounted
def copy_bytes(source: Bytes, start: int, end: int, out: Bytes, at: int) -> None:
    """out[at:] begins with source[start:end]."""
    last = end - start - 8
    if last < 0:
        for i in range(end - start):
            out[at + i] = source[start + i]
        return
    for done in range(0, last, 8):
        _put_word(whole_word(source, start + done), out, at + done)
    _put_word(whole_word(source, start + last), out, at + last)


@uncounted
def _put_word(word: np.uint64, out: Bytes, at: int) -> None:
    first = np.uint64(at)
    for i in range(8):
        out[first + np.uint64(i)] = np.uint8(word >> np.uint64(8 * i) & np.uint64(0xFF))
