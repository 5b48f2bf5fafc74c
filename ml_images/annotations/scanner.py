"""Splits a block of lines into keys and labels, byte by byte, and takes notes of what is no label row.

    row = [ID SEP] key SEP tag { SEP tag }     SEP = any run of tabs and spaces

Four fifths of the published rows repeat the tags of another, an ImageNet row those of its class. A text behind a key
that the block has had before is looked up, not parsed; so labels come as the distinct sets of the block, and of each
row which set it has. One compiled pass: 0.1 s of CPU per million rows of 9 tags that all repeat, 0.4 s for others,
where plain Python takes 3 to 4 s.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_images.annotations import reasons
from ml_images.annotations.fields import CR, SPACE, TAB, ends_line, find_key, is_utf8, skip_separators
from ml_images.annotations.tags import parse_tag, short_tag
from ml_images.annotations.texts import empty_slots, find_text, put_text
from ml_images.annotations.words import LF, Bytes, copy_bytes, find_line_feed, hash_line
from ml_images.compiled import uncounted

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]

# Of texts in a block: twice the rows of 16 MiB of the published lists; 2 MiB. What comes when half are taken is parsed.
SLOTS = 1 << 18

_BLANK = reasons.OF_LINES.index(reasons.BLANK)
_NO_TAGS = reasons.OF_LINES.index(reasons.NO_TAGS)
_BAD_ENCODING = reasons.OF_LINES.index(reasons.BAD_ENCODING)


class Scanned(NamedTuple):
    """Accepted rows and rejected lines. Row r has the key `key_bytes[key_offsets[r]:key_offsets[r + 1]]`, came from
    line `lines[r]` (0-based) and has the labels of set s = `sets[r]`: `offsets[s]:offsets[s + 1]`, each class once, in
    source order.
    """

    key_bytes: Bytes
    key_offsets: Int32  # (rows + 1)
    lines: Int64
    sets: Int32  # (rows)
    offsets: Int64  # (sets + 1)
    classes: Int32
    confidences: Float32  # the highest that the line gives the class
    absent: Int8  # 1: the line gives the class the confidence 0, beside that or as the only one
    reject_lines: Int64  # 0-based
    reject_starts: Int64  # of the line's bytes, without its end
    reject_ends: Int64
    reject_codes: Int8  # index into reasons.OF_LINES
    num_lines: int
    duplicate_tags: int


def scan(data: Bytes, num_classes: int) -> Scanned:
    """Parse whole lines. `data`: (bytes,), fewer than 2^31."""
    assert len(data) < 1 << 31, "Arrow counts the bytes of keys in 32 bits, and so do the slots of texts"
    line_ends, separators = _count(data)
    rows, tags = line_ends + 1, separators  # at most; pages never written to cost nothing
    out = Scanned(
        np.empty(len(data), np.uint8),
        np.zeros(rows + 1, np.int32),
        np.empty(rows, np.int64),
        np.empty(rows, np.int32),
        np.zeros(rows + 1, np.int64),
        np.empty(tags, np.int32),
        np.empty(tags, np.float32),
        np.empty(tags, np.int8),
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
        np.empty(rows, np.int8),
        0,
        0,
    )
    met = np.full(num_classes, -1, np.int64)
    dropped = np.empty(rows, np.int32)
    rows, sets, key_bytes, rejects, lines, duplicates = _scan(data, empty_slots(SLOTS), met, dropped, *out[:12])
    tags = int(out.offsets[sets])
    return Scanned(
        out.key_bytes[:key_bytes],
        out.key_offsets[: rows + 1],
        out.lines[:rows],
        out.sets[:rows],
        out.offsets[: sets + 1],
        out.classes[:tags],
        out.confidences[:tags],
        out.absent[:tags],
        out.reject_lines[:rejects],
        out.reject_starts[:rejects],
        out.reject_ends[:rejects],
        out.reject_codes[:rejects],
        lines,
        duplicates,
    )


@uncounted
def _count(data: Bytes) -> tuple[int, int]:
    """(line feeds, tabs and spaces)."""
    line_ends = separators = 0
    for byte in data:
        line_ends += byte == LF
        separators += (byte == TAB) | (byte == SPACE)
    return line_ends, separators


@uncounted
def _scan(
    data: Bytes,
    slots: UInt64,
    met: Int64,
    dropped: Int32,
    key_bytes: Bytes,
    key_offsets: Int32,
    row_lines: Int64,
    row_sets: Int32,
    offsets: Int64,
    classes: Int32,
    confidences: Float32,
    absent: Int8,
    reject_lines: Int64,
    reject_starts: Int64,
    reject_ends: Int64,
    reject_codes: Int8,
) -> tuple[int, int, int, int, int, int]:
    """Fill the arrays; (rows, sets, bytes of keys, rejects, lines, tags dropped as duplicates)."""
    rows = sets = keys_end = rejects = line = duplicates = 0
    at = 0
    while at < len(data):
        line_start = at
        key_start, key_end, at, not_ascii = find_key(data, at)
        if key_start == key_end or ends_line(data, at):
            code = _BLANK if key_start == key_end else _NO_TAGS
            line_end = find_line_feed(data, at)
        else:
            line_end, hash_bits = hash_line(data, at)
            slot, this = find_text(data, slots, at, line_end, hash_bits)
            code = -1
            if this < 0:
                tags = offsets[sets]
                code, end, dropped[sets] = _scan_tags(data, at, line, met, classes, confidences, absent, tags)
            if code < 0 and not_ascii and not is_utf8(data, key_start, key_end):
                code = _BAD_ENCODING
            if code < 0 and this < 0:
                this = sets
                sets += 1
                offsets[sets] = end
                if sets <= len(slots) // 2:
                    put_text(slots, slot, at, this)

        if code < 0:
            copy_bytes(data, key_start, key_end, key_bytes, keys_end)
            keys_end += key_end - key_start
            row_lines[rows] = line
            row_sets[rows] = this
            rows += 1
            key_offsets[rows] = keys_end
            duplicates += dropped[this]
        else:
            end = line_end - 1 if line_end > line_start and data[line_end - 1] == CR else line_end
            if not is_utf8(data, line_start, end):
                code = _BAD_ENCODING
            reject_lines[rejects] = line
            reject_starts[rejects] = line_start
            reject_ends[rejects] = end
            reject_codes[rejects] = code
            rejects += 1
        at = line_end + 1
        line += 1
    return rows, sets, keys_end, rejects, line, duplicates


@uncounted
def _scan_tags(
    data: Bytes, at: int, line: int, met: Int64, classes: Int32, confidences: Float32, absent: Int8, tags: int
) -> tuple[int, int, int]:
    """Write the tags of a line, the first of which begins at `at`, as labels from `tags` on; (code, where they end,
    tags dropped as duplicates)."""
    code, duplicates = -1, 0
    while not ends_line(data, at):
        end, tag_class, tenths = short_tag(data, at)
        confidence = tenths / 10.0
        if tenths > 10 or tag_class >= len(met):
            end, tag_class, confidence, code = parse_tag(data, at, len(met))
            if code >= 0:
                break
        if met[tag_class] >> 32 == line:
            place = met[tag_class] & 0xFFFFFFFF
            confidences[place] = max(confidences[place], np.float32(confidence))
            absent[place] |= confidence == 0
            duplicates += 1
        else:
            met[tag_class] = line << 32 | tags
            classes[tags] = tag_class
            confidences[tags] = confidence
            absent[tags] = confidence == 0
            tags += 1
        at = skip_separators(data, end)
    return code, tags, duplicates
