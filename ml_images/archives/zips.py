"""Reads zip archives: the directory at the end, then entries one by one; only stored and deflated ones.

Own code, as Python's zipfile keeps an object for each entry of an archive (1 GB for ImageNet's 1.3 million), where a
piece needs its slice of the directory. Format: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16, 4.5.3.
"""

import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ml_images.archives.damage import Damaged
from ml_images.archives.names import text_of

_END = struct.Struct("<4s4H2LH")
_END_64_PLACE = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_MARK, _END_64_PLACE_MARK, _END_64_MARK, _ENTRY_MARK = b"PK\5\6", b"PK\6\7", b"PK\6\6", b"PK\1\2"
_MAX_COMMENT = 1 << 16
_STORED, _DEFLATED = 0, 8
_UTF_8 = 0x800  # a flag
_ZIP64, _UNICODE_PATH = 1, 0x7075  # extra fields
_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class ZipEntry:
    name: str  # bytes that are no UTF-8 as \xNN
    place: int  # of its entry in the directory, bytes from the beginning of the file
    special: str | None  # what it is, if no regular file that can be read; "directory" for a folder
    method: int
    crc: int
    packed: int  # bytes
    size: int  # bytes unpacked, as the directory says
    header: int  # where its local header begins, bytes from the beginning of the file


def find_directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """(start, end, before): the directory lies in the bytes [start, end) of the file, and in front of the archive stand
    `before` bytes that its offsets do not count (a program that unpacks it). Raises Damaged."""
    tail_start = max(0, size - _END.size - _MAX_COMMENT)
    file.seek(tail_start)
    tail = file.read(size - tail_start)
    place, ends_file = _find_end(tail)
    if place < 0 or len(tail) - place < _END.size:
        raise Damaged("truncated", "the archive has no zip directory at its end")
    *_, length, start, _ = _END.unpack_from(tail, place)
    directory_end = tail_start + place
    locator = place - _END_64_PLACE.size
    if locator >= 0 and tail[locator : locator + 4] == _END_64_PLACE_MARK:
        _, _, told, _ = _END_64_PLACE.unpack_from(tail, locator)
        for directory_end in (told, max(0, tail_start + locator - _END_64.size)):  # the second if bytes are in front
            file.seek(min(directory_end, size))
            block = file.read(_END_64.size)
            if len(block) == _END_64.size and block[:4] == _END_64_MARK:
                break
        else:
            raise Damaged("corrupt", "the zip64 directory is not where the archive says")
        *_, length, start = _END_64.unpack(block)
    before = directory_end - start - length
    if before < 0:
        raise Damaged("corrupt", "the zip directory is not where the archive says")
    # Not where bytes follow: what is left of a cut archive may end so, with the directory of a zip inside.
    if before and not (ends_file and _is_entry_at(file, start + before)):
        before = 0
    return start + before, start + before + length, before


def _find_end(tail: bytes) -> tuple[int, bool]:
    """Where the record that ends a directory begins, -1 for none, and whether its comment ends with the file: the last
    one of which that holds, as comments may hold the mark, or else the last one, as bytes may follow an archive."""
    place = last = tail.rfind(_END_MARK)
    while place >= 0:
        if len(tail) - place >= _END.size and place + _END.size + _END.unpack_from(tail, place)[-1] == len(tail):
            return place, True
        place = tail.rfind(_END_MARK, 0, place)
    return last, False


def _is_entry_at(file: BinaryIO, place: int) -> bool:
    file.seek(place)
    return file.read(4) == _ENTRY_MARK


def read_entries(file: BinaryIO, start: int, end: int, before: int) -> Iterator[ZipEntry]:
    """The entries of the directory's bytes [start, end), of an archive that begins `before` bytes into the file; it may
    not be sought in meanwhile. Raises Damaged."""
    file.seek(start)
    place = start
    while place < end:
        block = file.read(_ENTRY.size)
        if len(block) < _ENTRY.size or block[:4] != _ENTRY_MARK:
            raise Damaged("corrupt", f"no entry of a zip directory at byte {place}")
        fields = _ENTRY.unpack(block)
        flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
        name_length, extra_length, comment_length = fields[10:13]
        mode, header = fields[15] >> 16, fields[16]
        rest = file.read(name_length + extra_length + comment_length)
        extra = rest[name_length : name_length + extra_length]
        name = _name(rest[:name_length], flags, extra)
        size, packed, header = _wide(extra, size, packed, header)
        special = _special(name, flags, mode, method)
        yield ZipEntry(name, place, special, method, crc, packed, size, before + header)
        place += _ENTRY.size + len(rest)


def read_entry(file: BinaryIO, entry: ZipEntry) -> bytes:
    """The bytes of a stored or deflated entry, unpacking no more than the directory announces.

    Raises Damaged: truncated, corrupt (also where the CRC differs), bomb where there is more than announced.
    """
    # Told are numbers of 64 bits; data lie before their directory, and so before their entry in it.
    if entry.header + _LOCAL.size > entry.place:
        raise Damaged("corrupt", f"no local header at byte {entry.header}")
    file.seek(entry.header)
    local = file.read(_LOCAL.size)
    if len(local) < _LOCAL.size or local[:4] != b"PK\3\4":
        raise Damaged("corrupt", f"no local header at byte {entry.header}")
    name_length, extra_length = _LOCAL.unpack(local)[-2:]
    start = file.seek(name_length + extra_length, 1)
    packed = min(entry.packed, max(0, entry.place - start))
    data = _inflate(file, entry, packed) if entry.method == _DEFLATED else file.read(min(packed, entry.size))
    if len(data) < entry.size:
        raise Damaged("truncated", f"{len(data)} of {entry.size} bytes are there")
    if zlib.crc32(data) != entry.crc:
        raise Damaged("corrupt", "its CRC-32 differs")
    return data


def _inflate(file: BinaryIO, entry: ZipEntry, packed_bytes: int) -> bytes:
    inflater, left, pieces, room = zlib.decompressobj(-zlib.MAX_WBITS), packed_bytes, [], entry.size + 1
    try:
        while room and not inflater.eof:
            packed = inflater.unconsumed_tail or file.read(min(_READ, left))
            if not packed:
                break
            left -= 0 if inflater.unconsumed_tail else len(packed)
            pieces.append(inflater.decompress(packed, min(room, sys.maxsize)))
            room -= len(pieces[-1])
    except zlib.error as error:
        raise Damaged("corrupt", f"its data are broken ({error})") from error
    if not room:
        raise Damaged("bomb", f"it unpacks to more than the {entry.size} bytes announced")
    return b"".join(pieces)


def _name(raw: bytes, flags: int, extra: bytes) -> str:
    """In UTF-8 where the entry says so, in its flags or by another field (4.6.9), and where it can be: Info-ZIP's zip
    says so in neither way. Else as DOS has it."""
    for kind, field in _extra_fields(extra):
        is_of_name = len(field) > 5 and field[:1] == b"\1" and field[1:5] == zlib.crc32(raw).to_bytes(4, "little")
        if kind == _UNICODE_PATH and is_of_name:
            raw, flags = field[5:], flags | _UTF_8
    raw = raw.replace(b"\\", b"/")
    if flags & _UTF_8:
        return text_of(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _special(name: str, flags: int, mode: int, method: int) -> str | None:
    if name.endswith("/"):
        return "directory"
    kind = mode & 0o170000
    if kind == 0o120000:
        return "symbolic link"
    if kind not in (0, 0o100000):
        return "no regular file"
    if flags & 0x2041:  # encrypted, strongly, or with a masked directory
        return "encrypted"
    return None if method in (_STORED, _DEFLATED) else f"packed by method {method}"


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """The three numbers with those from the zip64 field in the place of ones that did not fit."""
    for kind, field in _extra_fields(extra):
        if kind == _ZIP64:  # holds those that did not fit, in this order
            wide = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            size, packed, header = (next(wide, told) if told == 0xFFFFFFFF else told for told in (size, packed, header))
            break
    return size, packed, header


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        yield kind, extra[place + 4 : place + 4 + length]
        place += 4 + length
