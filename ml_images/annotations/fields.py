"""The fields of a line, apart by any run of tabs and spaces, and which of them is the key."""

import numpy as np

from ml_images.annotations.words import HIGH_BITS, LF, Bytes, bits_below, bytes_in, spaces, whole_word
from ml_images.compiled import uncounted

TAB, CR, SPACE, _COLON, _ZERO, _NINE, _N, _SLASH, _UNDERSCORE = b"\t\r :09n/_"


@uncounted
def find_key(data: Bytes, at: int) -> tuple[int, int, int, bool]:
    """(start, end, where the next field or the end of the line is, whether bytes above 127 are in it) of a line's key.

    start == end on a blank line. The old lists with an id before the URL are recognised line by line.
    """
    start = skip_separators(data, at)
    end, not_ascii = field_end(data, start)
    at = skip_separators(data, end)
    if end - start > 9 and data[start] == _N and not ends_line(data, at) and _is_imagenet_id(data, start, end):
        second_end, second_not_ascii = field_end(data, at)
        if _has_scheme(data, at, second_end):
            return at, second_end, skip_separators(data, second_end), second_not_ascii
    return start, end, at, not_ascii


@uncounted
def skip_separators(data: Bytes, at: int) -> int:
    while at < len(data) and (data[at] == TAB or data[at] == SPACE):
        at += 1
    return at


@uncounted
def ends_line(data: Bytes, at: int) -> bool:
    """Is this the end of the data, a line feed, or a carriage return just before one of them?"""
    if at >= len(data) or data[at] == LF:
        return True
    return data[at] == CR and (at + 1 == len(data) or data[at + 1] == LF)


@uncounted
def field_end(data: Bytes, at: int) -> tuple[int, bool]:
    """(where the field that begins at `at` ends, whether it has bytes above 127)."""
    bits = np.uint64(0)
    while at + 8 <= len(data):
        word = whole_word(data, at)
        found = spaces(word)
        if found == 0:
            bits |= word
            at += 8
            continue
        below = bits_below(found)
        bits |= word & below
        at += bytes_in(below)
        if ends_field(data, at):
            return at, (bits & HIGH_BITS) != 0
        at += 1
    while at < len(data) and not ends_field(data, at):
        bits |= np.uint64(data[at])
        at += 1
    return at, (bits & HIGH_BITS) != 0


@uncounted
def ends_field(data: Bytes, at: int) -> bool:
    """Is this byte a separator or the end of the line?"""
    return data[at] == TAB or data[at] == SPACE or ends_line(data, at)


@uncounted
def is_digit(byte: int) -> bool:
    return _ZERO <= byte <= _NINE


@uncounted
def _is_imagenet_id(data: Bytes, start: int, end: int) -> bool:
    """n, 8 digits, an underscore, digits: `n03874293_7679`."""
    if end - start < 11 or data[start] != _N or data[start + 9] != _UNDERSCORE:
        return False
    for at in range(start + 1, end):
        if at != start + 9 and not is_digit(data[at]):
            return False
    return True


@uncounted
def _has_scheme(data: Bytes, start: int, end: int) -> bool:
    for at in range(start, end - 2):
        if data[at] == _COLON and data[at + 1] == _SLASH and data[at + 2] == _SLASH:
            return True
    return False


@uncounted
def is_utf8(data: Bytes, start: int, end: int) -> bool:
    """Are these bytes well-formed UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong forms, up to U+10FFFF)?"""
    at = start
    while at < end:
        lead = data[at]
        at += 1
        if lead < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            low = 0xA0 if lead == 0xE0 else low
            high = 0x9F if lead == 0xED else high
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            low = 0x90 if lead == 0xF0 else low
            high = 0x8F if lead == 0xF4 else high
        else:
            return False
        for _ in range(more):
            if at >= end or not low <= data[at] <= high:
                return False
            at += 1
            low, high = 0x80, 0xBF
    return True
