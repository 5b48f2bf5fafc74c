"""One tag as a class and a confidence, or the reason why not.

tag        = class [":" confidence]               class = digits
confidence = [sign] (digits ["." [digits]] | "." digits) [("e" | "E") [sign] digits]
"""

from typing import Any

import numpy as np

from ml_images.annotations import reasons
from ml_images.annotations.fields import ends_field, field_end, is_digit
from ml_images.annotations.words import Bytes, bits_below, bytes_in, decimal, other_than_digits, spaces, whole_word
from ml_images.compiled import uncounted

_COLON, _DOT, _PLUS, _MINUS, _ZERO, _E, _UPPER_E = b":.+-0eE"
_TO_LOWER = 0x20

_BAD_TAG = reasons.OF_LINES.index(reasons.BAD_TAG)
_CLASS_OUT_OF_RANGE = reasons.OF_LINES.index(reasons.CLASS_OUT_OF_RANGE)
_BAD_CONFIDENCE = reasons.OF_LINES.index(reasons.BAD_CONFIDENCE)

_MAX_MANTISSA = 10**17  # 17 digits and one more fit in 63 bits (19 do not); further ones are below what a double has
_SMALLEST = 2.0**-149  # of float32: what is seen at all must not become a verified absence
_MAX_EXPONENT = 10**17  # more than any line has digits that could make up for it, and one more digit fits in 63 bits
_POWERS = np.array([10.0**k for k in range(23)])  # exact doubles, so that m / 10^k is rounded once
_BYTE = np.uint64(0xFF)
NOT_SHORT = 99  # tenths
_NAMES = (b"nan", b"inf", b"infinity")


@uncounted
def short_tag(data: Bytes, at: int) -> tuple[int, int, Any]:
    """(end, class, tenths) of the tag that begins at `at`, if it is one like 7, 7:1 or 7:0.9, as nearly all are; with
    more than 10 tenths it is for `parse_tag`.

    The class has up to 7 digits. Where the next tag begins does not wait for what this one says: 17 ns instead of 40.
    """
    if at + 16 > len(data):
        return at, 0, NOT_SHORT
    word = whole_word(data, at)
    others, ends = other_than_digits(word), spaces(word)
    end = at + bytes_in(bits_below(ends))
    if ends == 0:
        ends = spaces(whole_word(data, at + 8))
        end = at + 8 + bytes_in(bits_below(ends))
    digits = bytes_in(bits_below(others))
    if others == 0 or digits == 0 or ends == 0 or not ends_field(data, end):
        return at, 0, NOT_SHORT
    tag_class, size = decimal(word, digits), end - at - digits
    if size == 0:
        return end, tag_class, 10
    rest = whole_word(data, at + digits)  # ":1" or ":0.9"
    ones = np.int64(rest >> np.uint64(8) & _BYTE) - _ZERO
    tenths = np.int64(rest >> np.uint64(24) & _BYTE) - _ZERO if size == 4 else 0
    is_form = size == 2 or (size == 4 and rest >> np.uint64(16) & _BYTE == _DOT)
    if not is_form or rest & _BYTE != _COLON or not 0 <= ones <= 9 or not 0 <= tenths <= 9:
        return at, 0, NOT_SHORT
    return end, tag_class, ones * 10 + tenths


@uncounted
def parse_tag(data: Bytes, at: int, num_classes: int) -> tuple[int, int, float, int]:
    """(end, class, confidence, code) of the tag that begins at `at`; the code is a place in reasons.OF_LINES, or -1."""
    n = len(data)
    start = at
    tag_class = 0
    while at < n and is_digit(data[at]):
        if tag_class < num_classes:  # a larger one stays too large, however many digits follow
            tag_class = tag_class * 10 + (data[at] - _ZERO)
        at += 1
    if at == start:
        return at, 0, 0.0, _BAD_TAG
    confidence = 1.0
    if at < n and data[at] == _COLON:
        end, confidence, good = _number(data, at + 1)
        if not good:
            return at, 0, 0.0, _BAD_CONFIDENCE if _is_not_finite(data, at + 1) else _BAD_TAG
        at = end
    if at < n and not ends_field(data, at):
        return at, 0, 0.0, _BAD_TAG
    if tag_class >= num_classes:
        return at, 0, 0.0, _CLASS_OUT_OF_RANGE
    if 0.0 < confidence < _SMALLEST:
        confidence = _SMALLEST
    if confidence != -1.0 and not 0.0 <= confidence <= 1.0:
        return at, 0, 0.0, _BAD_CONFIDENCE
    return at, tag_class, confidence + 0.0, -1  # -0 becomes 0


@uncounted
def _number(data: Bytes, at: int) -> tuple[int, float, bool]:
    """(end, value, whether there is a number) of the decimal that begins at `at`.

    Up to 15 digits the value is the double nearest to it, as m and 10^k are exact then and one operation rounds; with
    more it is within 2 units in the last place of the double, far below the float32 that is kept.
    """
    n = len(data)
    negative = at < n and data[at] == _MINUS
    if at < n and (data[at] == _MINUS or data[at] == _PLUS):
        at += 1
    mantissa, exponent = 0, 0
    digits, after_dot = 0, False
    while at < n:
        byte = data[at]
        if byte == _DOT and not after_dot:
            after_dot = True
        elif is_digit(byte):
            digits += 1
            if mantissa < _MAX_MANTISSA:
                mantissa = mantissa * 10 + (byte - _ZERO)
                exponent -= after_dot
            else:
                exponent += not after_dot
        else:
            break
        at += 1
    if digits == 0:
        return at, 0.0, False
    if at < n and (data[at] == _E or data[at] == _UPPER_E):
        at += 1
        below = at < n and data[at] == _MINUS
        if at < n and (data[at] == _MINUS or data[at] == _PLUS):
            at += 1
        first, power = at, 0
        while at < n and is_digit(data[at]):
            power = min(power * 10 + (data[at] - _ZERO), _MAX_EXPONENT)
            at += 1
        if at == first:
            return at, 0.0, False
        exponent += -power if below else power
    value = _scaled(mantissa, exponent)
    if mantissa > 0 and value == 0.0:
        value = _SMALLEST
    return at, -value if negative else value, True


@uncounted
def _scaled(mantissa: int, exponent: int) -> float:
    """mantissa * 10^exponent; inf where that is too large."""
    value = float(mantissa)
    while exponent < 0 and value > 0.0:
        step = min(-exponent, 22)
        value /= _POWERS[step]
        exponent += step
    while exponent > 0 and 0.0 < value < np.inf:
        step = min(exponent, 22)
        value *= _POWERS[step]
        exponent -= step
    return value


@uncounted
def _is_not_finite(data: Bytes, at: int) -> bool:
    """Is the rest of the field nan, inf or infinity, in any case, with a sign or without?"""
    if at < len(data) and (data[at] == _MINUS or data[at] == _PLUS):
        at += 1
    end, _ = field_end(data, at)
    for name in _NAMES:
        if end - at == len(name):
            same = True
            for i in range(len(name)):
                same &= (data[at + i] | _TO_LOWER) == name[i]
            if same:
                return True
    return False
