"""The frames of a TFRecord file: length, CRC of the length, data, CRC of the data.

    uint64 length, uint32 masked CRC-32C of these 8 bytes, `length` bytes, uint32 masked CRC-32C of them; little-endian

A length is believed only when its CRC fits, the file is long enough and it is no more than MAX_BYTES, so a damaged or
hostile file costs an error of one line and never memory.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from ml_images.errors import InputError
from ml_images.interchange.crc32c import masked_crc32c

MAX_BYTES = (
    256 << 20
)  # of one record; a picture of 50 MiB (extract.max_bytes) and dense labels of a million classes fit

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEADER = _LENGTH.size + _CRC.size


def framed(data: bytes) -> bytes:
    """`data` as one record of a file."""
    length = _LENGTH.pack(len(data))
    pieces = length, _CRC.pack(masked_crc32c(length)), data, _CRC.pack(masked_crc32c(data))
    return b"".join(pieces)


def read_records(file: BinaryIO, size: int, source: str) -> Iterator[tuple[int, bytes]]:
    """(byte where it begins, data) of each record in a file of `size` bytes that `source` names in messages.

    Raises InputError, which names source and byte, where a record is damaged, cut off or too long.
    """
    start = 0
    while start < size:
        header = file.read(_HEADER)
        if len(header) < _HEADER:
            raise InputError(f"'{source}' at byte {start}: the file ends in the header of a record (truncated)")
        length, told = _LENGTH.unpack_from(header)[0], _CRC.unpack_from(header, _LENGTH.size)[0]
        if masked_crc32c(header[: _LENGTH.size]) != told:
            raise InputError(
                f"'{source}' at byte {start}: the length of the record does not fit its CRC (damaged, compressed or no "
                "TFRecord file; uncompressed ones are accepted)"
            )
        left = size - start - _HEADER - _CRC.size
        if length > left:
            raise InputError(
                f"'{source}' at byte {start}: a record of {length} bytes where {max(0, left)} are left (truncated)"
            )
        if length > MAX_BYTES:
            raise InputError(f"'{source}' at byte {start}: a record of {length} bytes, at most {MAX_BYTES} are read")
        data, end = file.read(length), file.read(_CRC.size)
        if len(data) < length or len(end) < _CRC.size:
            raise InputError(f"'{source}' at byte {start}: the file became shorter while it was read")
        if masked_crc32c(data) != _CRC.unpack(end)[0]:
            raise InputError(f"'{source}' at byte {start}: the data of the record do not fit their CRC (damaged)")
        yield start, data
        start += _HEADER + length + _CRC.size
