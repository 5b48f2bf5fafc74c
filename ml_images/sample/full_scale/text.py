"""Generated rows as bytes: keys of the two published forms, then whole lines in any dialect."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled
from ml_images.sample.full_scale.chance import below, bits
from ml_images.sample.full_scale.dialect import KEY, NOTHING, SPACES, SPELLINGS, TAB, Dialect
from ml_images.sample.full_scale.draw import Tags

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
UInt8 = npt.NDArray[np.uint8]

# Flickr's photo numbers: 9 or 10 digits. A multiplier without a common factor with PHOTOS makes them all distinct.
_FIRST_PHOTO = 100_000_000
PHOTOS = 9_800_000_000
MULTIPLIER = 618_033_989  # odd, and a multiple of neither 5 nor 7

_LONGEST_URL = 80
_LONGEST_RUN = 8
_LF, _TAB, _SPACE, _SLASH, _UNDERSCORE = b"\n\t /_"
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_CDN, _FARM, _DOMAIN = (np.frombuffer(t, np.uint8) for t in (b"https://c", b"https://farm", b".staticflickr.com/"))
_END_OF_URL = np.frombuffer(b"_o.jpg", np.uint8)
_END_OF_NAME = np.frombuffer(b".JPEG", np.uint8)


@dataclass(frozen=True, eq=False)
class Texts:
    """Text t is `data[offsets[t]:offsets[t + 1]]`."""

    offsets: Int64
    data: UInt8


def texts(items: Sequence[bytes]) -> Texts:
    offsets = np.zeros(len(items) + 1, np.int64)
    np.cumsum([len(item) for item in items], out=offsets[1:])
    return Texts(offsets, np.frombuffer(bytearray(b"".join(items)), np.uint8))


def folder_names(ids: Sequence[str]) -> Texts:
    """Class ids as parts of keys; whatever is not a letter, a digit or a hyphen (MIDs have a slash) becomes `_`."""
    return texts([re.sub(r"[^0-9A-Za-z-]", "_", id).encode() for id in ids])


def imagenet_keys(folders: Texts, classes: Int32, first: int) -> Texts:
    """`n04310904/n04310904_8388.JPEG` for the rows first, first + 1, ... of these classes.

    The number is the row's, from 1, so that keys are distinct; it has up to 8 digits, the published ones up to 6."""
    return Texts(*_imagenet_keys(folders.offsets, folders.data, classes, first))


def flickr_urls(key: np.uint64, first: int, rows: int) -> Texts:
    """URLs such as `https://farm2.staticflickr.com/2034/1557324960_1ae893fed8_o.jpg`, on the 16 published hosts."""
    return Texts(*_flickr_urls(key, first, rows))


class Writer:
    """Puts keys and tags into lines; `dialects` are what the number of a line's dialect means."""

    def __init__(self, dialects: Sequence[Dialect], num_classes: int) -> None:
        self._classes = texts([str(c).encode() for c in range(num_classes)])
        self._spelled = texts([confidence.encode() for spelling in SPELLINGS for confidence in spelling])
        self._prefixes = texts([dialect.prefix for dialect in dialects])
        self._suffixes = texts([dialect.suffix for dialect in dialects])
        self._left = np.array([dialect.left for dialect in dialects], np.int64)
        self._separators = np.array([dialect.separator for dialect in dialects], np.int64)
        self._spellings = np.array([dialect.spelling for dialect in dialects], np.int64)

    def lines(self, keys: Texts, tags: Tags, dialects: Int64, key: np.uint64, first: int) -> UInt8:
        """The bytes of all lines. dialects: (rows) positions in the writer's dialects; `key` draws runs of spaces."""
        widest = int(np.diff(self._classes.offsets).max() + np.diff(self._spelled.offsets).max())
        plain = not self._separators[dialects].any()
        widest += 1 if plain else 1 + _LONGEST_RUN
        affixes = int(np.diff(self._prefixes.offsets).max() + np.diff(self._suffixes.offsets).max()) + 1
        room = len(keys.data) + len(tags.classes) * widest + len(dialects) * affixes
        return _write_lines(
            np.empty(room, np.uint8),
            *(keys.offsets, keys.data, tags.offsets, tags.classes, tags.literals, dialects, key, first),
            *(self._classes.offsets, self._classes.data, self._spelled.offsets, self._spelled.data),
            *(self._prefixes.offsets, self._prefixes.data, self._suffixes.offsets, self._suffixes.data),
            *(self._left, self._separators, self._spellings),
        )


@compiled
def _put(out: UInt8, at: int, data: UInt8, start: int, end: int) -> int:
    for i in range(start, end):
        out[at] = data[i]
        at += 1
    return at


@compiled
def _put_number(out: UInt8, at: int, number: int | np.int64) -> int:
    digits = 1
    power = 10
    while number >= power:
        digits += 1
        power *= 10
    for i in range(at + digits - 1, at - 1, -1):
        out[i] = 48 + number % 10
        number //= 10
    return at + digits


@compiled
def _imagenet_keys(folder_offsets: Int64, folder_data: UInt8, classes: Int32, first: int) -> tuple[Int64, UInt8]:
    rows = len(classes)
    room = 0
    for r in range(rows):
        room += 2 * (folder_offsets[classes[r] + 1] - folder_offsets[classes[r]]) + 30
    offsets = np.empty(rows + 1, np.int64)
    out = np.empty(room, np.uint8)
    offsets[0] = 0
    at = 0
    for r in range(rows):
        start, end = folder_offsets[classes[r]], folder_offsets[classes[r] + 1]
        at = _put(out, at, folder_data, start, end)
        out[at] = _SLASH
        at = _put(out, at + 1, folder_data, start, end)
        out[at] = _UNDERSCORE
        at = _put_number(out, at + 1, first + r + 1)
        at = _put(out, at, _END_OF_NAME, 0, len(_END_OF_NAME))
        offsets[r + 1] = at
    return offsets, out[:at].copy()


@compiled
def _flickr_urls(key: np.uint64, first: int, rows: int) -> tuple[Int64, UInt8]:
    offsets = np.empty(rows + 1, np.int64)
    out = np.empty(rows * _LONGEST_URL, np.uint8)
    start_photo = np.int64(bits(key, 0, 0) >> np.uint64(32))
    offsets[0] = 0
    at = 0
    for r in range(rows):
        host = below(key, first + r, 1, 16)
        at = _put(out, at, _CDN, 0, len(_CDN)) if host < 8 else _put(out, at, _FARM, 0, len(_FARM))
        at = _put_number(out, at, host % 8 + 1)
        at = _put(out, at, _DOMAIN, 0, len(_DOMAIN))
        if host < 8:
            at = _put_number(out, at, below(key, first + r, 2, 9) + 1)
            out[at] = _SLASH
            at += 1
        at = _put_number(out, at, below(key, first + r, 3, 9000) + 1)
        out[at] = _SLASH
        photo = _FIRST_PHOTO + (start_photo + (first + r) % PHOTOS * MULTIPLIER) % PHOTOS
        at = _put_number(out, at + 1, photo)
        out[at] = _UNDERSCORE
        at += 1
        secret = bits(key, first + r, 4)
        for _ in range(10):
            out[at] = _HEX[np.int64(secret & np.uint64(15))]
            secret >>= np.uint64(4)
            at += 1
        at = _put(out, at, _END_OF_URL, 0, len(_END_OF_URL))
        offsets[r + 1] = at
    return offsets, out[:at].copy()


@compiled
def _write_lines(
    out: UInt8,
    key_offsets: Int64,
    key_data: UInt8,
    tag_offsets: Int64,
    classes: Int32,
    literals: UInt8,
    dialects: Int64,
    key: np.uint64,
    first: int,
    class_offsets: Int64,
    class_data: UInt8,
    spelled_offsets: Int64,
    spelled_data: UInt8,
    prefix_offsets: Int64,
    prefix_data: UInt8,
    suffix_offsets: Int64,
    suffix_data: UInt8,
    left: Int64,
    separators: Int64,
    spellings: Int64,
) -> UInt8:
    at = 0
    for r in range(len(dialects)):
        d = dialects[r]
        at = _put(out, at, prefix_data, prefix_offsets[d], prefix_offsets[d + 1])
        if left[d] != NOTHING:
            at = _put(out, at, key_data, key_offsets[r], key_offsets[r + 1])
        if left[d] != NOTHING and left[d] != KEY:
            for t in range(tag_offsets[r], tag_offsets[r + 1]):
                if separators[d] != SPACES:
                    out[at] = _TAB
                    at += 1
                if separators[d] != TAB:
                    for _ in range(1 + below(key, first + r, t - tag_offsets[r], _LONGEST_RUN)):
                        out[at] = _SPACE
                        at += 1
                c = classes[t]
                at = _put(out, at, class_data, class_offsets[c], class_offsets[c + 1])
                s = spellings[d] * 4 + literals[t]
                at = _put(out, at, spelled_data, spelled_offsets[s], spelled_offsets[s + 1])
        at = _put(out, at, suffix_data, suffix_offsets[d], suffix_offsets[d + 1])
        out[at] = _LF
        at += 1
    return out[:at].copy()
