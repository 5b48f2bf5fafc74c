"""The byte loop over whole lines of an annotation list: keys, tags and the places of what is no label row.

    row        = [ID SEP] key SEP tag { SEP tag }     SEP = any run of tabs and spaces
    tag        = class [":" confidence]               class = digits
    confidence = [sign] (digits ["." [digits]] | "." digits) [("e" | "E") [sign] digits]

Everything is one compiled pass: 0.5 s of CPU per million rows of 9 tags, where plain Python takes 3 to 4 s.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_images.annotations import reasons
from ml_images.compiled import compiled

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]

_TAB, LF, _CR, _SPACE, _COLON, _DOT, _PLUS, _MINUS, _ZERO, _NINE = b"\t\n\r :.+-09"
_E, _UPPER_E, _N, _SLASH, _UNDERSCORE = b"eEn/_"
_TO_LOWER = 0x20

# What the loop writes for a reject; `REASONS[code]` is the name in the rejects table.
REASONS = (
    reasons.BLANK,
    reasons.NO_TAGS,
    reasons.BAD_TAG,
    reasons.CLASS_OUT_OF_RANGE,
    reasons.BAD_CONFIDENCE,
    reasons.BAD_ENCODING,
)
_BLANK, _NO_TAGS, _BAD_TAG, _CLASS_OUT_OF_RANGE, _BAD_CONFIDENCE, _BAD_ENCODING = range(len(REASONS))

_MAX_MANTISSA = 10**18  # 18 digits and one more fit in 63 bits; further ones are below half an ulp of a double
_MAX_EXPONENT = 10_000
_POWERS = np.array([10.0**k for k in range(23)])  # exact doubles, so that m / 10^k is rounded once
_NAMES = (b"nan", b"inf", b"infinity")


class Scanned(NamedTuple):
    """Accepted rows and rejected lines. Row r has the key `key_bytes[key_offsets[r]:key_offsets[r + 1]]`, came from
    line `lines[r]` (0-based) and has the labels `offsets[r]:offsets[r + 1]`, each class once, in source order.
    """

    key_bytes: Bytes
    key_offsets: Int32  # (rows + 1)
    lines: Int64
    offsets: Int64  # (rows + 1)
    classes: Int32
    confidences: Float32
    reject_lines: Int64  # 0-based
    reject_starts: Int64  # of the line's bytes, without its end
    reject_ends: Int64
    reject_codes: npt.NDArray[np.int8]  # index into REASONS
    num_lines: int
    duplicate_tags: int


def scan(data: Bytes, num_classes: int) -> Scanned:
    """Parse whole lines. `data`: (bytes,), fewer than 2^31."""
    assert len(data) < 1 << 31, "Arrow counts the bytes of keys in 32 bits"
    line_ends, separators = _count(data)
    rows, tags = line_ends + 1, separators  # at most; pages never written to cost nothing
    out = Scanned(
        np.empty(len(data), np.uint8),
        np.zeros(rows + 1, np.int32),
        np.empty(rows, np.int64),
        np.zeros(rows + 1, np.int64),
        np.empty(tags, np.int32),
        np.empty(tags, np.float32),
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
        np.empty(rows, np.int8),
        0,
        0,
    )
    rows, tags, key_bytes, rejects, lines, duplicates = _scan(data, num_classes, *out[:10])
    return Scanned(
        out.key_bytes[:key_bytes],
        out.key_offsets[: rows + 1],
        out.lines[:rows],
        out.offsets[: rows + 1],
        out.classes[:tags],
        out.confidences[:tags],
        out.reject_lines[:rejects],
        out.reject_starts[:rejects],
        out.reject_ends[:rejects],
        out.reject_codes[:rejects],
        lines,
        duplicates,
    )


@compiled
def _count(data: Bytes) -> tuple[int, int]:
    """(line feeds, tabs and spaces)."""
    line_ends = separators = 0
    for byte in data:
        line_ends += byte == LF
        separators += (byte == _TAB) | (byte == _SPACE)
    return line_ends, separators


@compiled
def _scan(
    data: Bytes,
    num_classes: int,
    key_bytes: Bytes,
    key_offsets: Int32,
    row_lines: Int64,
    offsets: Int64,
    classes: Int32,
    confidences: Float32,
    reject_lines: Int64,
    reject_starts: Int64,
    reject_ends: Int64,
    reject_codes: npt.NDArray[np.int8],
) -> tuple[int, int, int, int, int, int]:
    """Fill the arrays; (rows, labels, bytes of keys, rejects, lines, tags dropped as duplicates)."""
    n = len(data)
    met = np.full(num_classes, -1, np.int64)  # line << 32 | place of the last label of each class: one table, one miss
    rows = tags = keys_end = rejects = line = duplicates = 0
    at = 0
    while at < n:
        line_start = at
        key_start, key_end, at, not_ascii = find_key(data, at)
        code = -1
        first_tag, row_duplicates = tags, 0
        if key_start == key_end:
            code = _BLANK
        elif _ends_line(data, at):
            code = _NO_TAGS
        else:
            while not _ends_line(data, at):
                at, tag_class, confidence, code = _tag(data, at, num_classes)
                if code >= 0:
                    break
                if met[tag_class] >> 32 == line:
                    place = met[tag_class] & 0xFFFFFFFF
                    confidences[place] = max(confidences[place], np.float32(confidence))
                    row_duplicates += 1
                else:
                    met[tag_class] = line << 32 | tags
                    classes[tags] = tag_class
                    confidences[tags] = confidence
                    tags += 1
                at = _skip_separators(data, at)
            if code < 0 and not_ascii and not is_utf8(data, key_start, key_end):
                code = _BAD_ENCODING

        if code < 0:
            for source in range(key_start, key_end):
                key_bytes[keys_end + source - key_start] = data[source]
            keys_end += key_end - key_start
            row_lines[rows] = line
            rows += 1
            key_offsets[rows] = keys_end
            offsets[rows] = tags
            duplicates += row_duplicates
        else:
            tags = first_tag
            at = find_line_feed(data, at)
            end = at - 1 if at > line_start and data[at - 1] == _CR else at
            if not is_utf8(data, line_start, end):
                code = _BAD_ENCODING
            reject_lines[rejects] = line
            reject_starts[rejects] = line_start
            reject_ends[rejects] = end
            reject_codes[rejects] = code
            rejects += 1
        if at < n and data[at] == _CR:
            at += 1
        at += 1  # the line feed
        line += 1
    return rows, tags, keys_end, rejects, line, duplicates


@compiled
def find_key(data: Bytes, at: int) -> tuple[int, int, int, bool]:
    """(start, end, where the next field or the end of the line is, whether bytes above 127 are in it) of a line's key.

    start == end on a blank line. The old lists with an id before the URL are recognised line by line.
    """
    start = _skip_separators(data, at)
    end, not_ascii = _field_end(data, start)
    at = _skip_separators(data, end)
    if end - start > 9 and data[start] == _N and not _ends_line(data, at) and _is_imagenet_id(data, start, end):
        second_end, second_not_ascii = _field_end(data, at)
        if _has_scheme(data, at, second_end):
            return at, second_end, _skip_separators(data, second_end), second_not_ascii
    return start, end, at, not_ascii


@compiled
def find_line_feed(data: Bytes, at: int) -> int:
    """The place of the next line feed, or the end of the data."""
    while at < len(data) and data[at] != LF:
        at += 1
    return at


@compiled
def _skip_separators(data: Bytes, at: int) -> int:
    while at < len(data) and (data[at] == _TAB or data[at] == _SPACE):
        at += 1
    return at


@compiled
def _ends_line(data: Bytes, at: int) -> bool:
    """Is this the end of the data, a line feed, or a carriage return just before one of them?"""
    if at >= len(data) or data[at] == LF:
        return True
    return data[at] == _CR and (at + 1 == len(data) or data[at + 1] == LF)


@compiled
def _field_end(data: Bytes, at: int) -> tuple[int, bool]:
    """(where the field that begins at `at` ends, whether it has bytes above 127)."""
    bits = np.uint8(0)
    while at < len(data):
        byte = data[at]
        if byte <= _SPACE and (byte == _TAB or byte == _SPACE or _ends_line(data, at)):
            break
        bits |= byte
        at += 1
    return at, bool(bits > 127)


@compiled
def _is_digit(byte: int) -> bool:
    return _ZERO <= byte <= _NINE


@compiled
def _is_imagenet_id(data: Bytes, start: int, end: int) -> bool:
    """n, 8 digits, an underscore, digits: `n03874293_7679`."""
    if end - start < 11 or data[start] != _N or data[start + 9] != _UNDERSCORE:
        return False
    for at in range(start + 1, end):
        if at != start + 9 and not _is_digit(data[at]):
            return False
    return True


@compiled
def _has_scheme(data: Bytes, start: int, end: int) -> bool:
    for at in range(start, end - 2):
        if data[at] == _COLON and data[at + 1] == _SLASH and data[at + 2] == _SLASH:
            return True
    return False


@compiled
def _tag(data: Bytes, at: int, num_classes: int) -> tuple[int, int, float, int]:
    """(end, class, confidence, code) of the tag that begins at `at`; code is -1 for a good one."""
    n = len(data)
    start = at
    tag_class = 0
    while at < n and _is_digit(data[at]):
        if tag_class < num_classes:  # a larger one stays too large, however many digits follow
            tag_class = tag_class * 10 + (data[at] - _ZERO)
        at += 1
    if at == start:
        return at, 0, 0.0, _BAD_TAG
    confidence = 1.0
    if at < n and data[at] == _COLON:
        if _is_one_digit(data, at + 1):
            end, good = at + 2, True
            confidence = float(data[at + 1] - _ZERO)
        elif _is_one_decimal(data, at + 1):
            end, good = at + 4, True
            confidence = ((data[at + 1] - _ZERO) * 10 + (data[at + 3] - _ZERO)) / 10.0
        else:
            end, confidence, good = _number(data, at + 1)
        if not good:
            return at, 0, 0.0, _BAD_CONFIDENCE if _is_not_finite(data, at + 1) else _BAD_TAG
        at = end
    if at < n and data[at] != _TAB and data[at] != _SPACE and not _ends_line(data, at):
        return at, 0, 0.0, _BAD_TAG
    if tag_class >= num_classes:
        return at, 0, 0.0, _CLASS_OUT_OF_RANGE
    if confidence != -1.0 and not 0.0 <= confidence <= 1.0:
        return at, 0, 0.0, _BAD_CONFIDENCE
    return at, tag_class, confidence + 0.0, -1  # -0 becomes 0


@compiled
def _is_one_digit(data: Bytes, at: int) -> bool:
    """Does the line go on with 1 (or 0) and the end of the field?"""
    return at + 1 < len(data) and data[at + 1] <= _SPACE and _is_digit(data[at])


@compiled
def _is_one_decimal(data: Bytes, at: int) -> bool:
    """Does the line go on with 0.8, 0.9, 1.0 and the end of the field, as nearly all that is no plain 1 does?"""
    if at + 3 >= len(data) or data[at + 3] > _SPACE:
        return False
    return data[at + 1] == _DOT and _is_digit(data[at]) and _is_digit(data[at + 2])


@compiled
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
        elif _is_digit(byte):
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
        while at < n and _is_digit(data[at]):
            power = min(power * 10 + (data[at] - _ZERO), _MAX_EXPONENT)
            at += 1
        if at == first:
            return at, 0.0, False
        exponent += -power if below else power
    value = _scaled(mantissa, exponent)
    return at, -value if negative else value, True


@compiled
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


@compiled
def _is_not_finite(data: Bytes, at: int) -> bool:
    """Is the rest of the field nan, inf or infinity, in any case, with a sign or without?"""
    if at < len(data) and (data[at] == _MINUS or data[at] == _PLUS):
        at += 1
    end, _ = _field_end(data, at)
    for name in _NAMES:
        if end - at == len(name):
            same = True
            for i in range(len(name)):
                same &= (data[at + i] | _TO_LOWER) == name[i]
            if same:
                return True
    return False


@compiled
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
