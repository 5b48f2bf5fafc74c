"""The pages of a column chunk, read: headers in Thrift's compact protocol, contents decompressed.

Of the format there is what ml_images writes: data pages of version 1.
https://parquet.apache.org/docs/file-format/data-pages/
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

DATA_PAGE, DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DETAILS = {DATA_PAGE: 5, DICTIONARY_PAGE: 7}  # page type -> field of PageHeader that tells of such a page


@dataclass(frozen=True, eq=False)
class Page:
    kind: int  # DATA_PAGE or DICTIONARY_PAGE
    values: int  # as Parquet counts them: an empty list is one
    encoding: int
    content: pa.Buffer  # levels, if it has any, and values


class DamagedPart(OSError):
    """The bytes are not those of a page as the writer makes them."""


class OtherVersion(DamagedPart):
    """A data page of version 2, which others may write."""


def read_pages(chunk: memoryview, codec: pa.Codec) -> Iterator[Page]:
    """The pages of a chunk in their order."""
    at = 0
    while at < len(chunk):
        header, at = _struct(chunk, at)
        kind, raw_bytes, stored_bytes = (header.get(number, -1) for number in (1, 2, 3))
        if kind == _DATA_PAGE_V2:
            raise OtherVersion("a data page of version 2")
        details = header.get(_DETAILS.get(kind, 0))
        if not isinstance(details, dict) or not 0 < stored_bytes <= len(chunk) - at or raw_bytes < 0:
            raise DamagedPart(f"page header {header}")
        content = codec.decompress(chunk[at : at + stored_bytes], raw_bytes)
        yield Page(kind, details.get(1, -1), details.get(2, -1), content)
        at += stored_bytes


def _struct(data: memoryview, at: int) -> tuple[dict, int]:
    """(numbers and structs by their field, the place behind them); other fields are passed over."""
    fields: dict = {}
    number = 0
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return fields, at
        step, kind = head >> 4, head & 15
        if not step:
            raise DamagedPart("a field far from the one before")
        number += step
        if kind in (_TRUE, _FALSE):
            continue
        if kind == _STRUCT:
            fields[number], at = _struct(data, at)
        elif kind in (_I16, _I32, _I64):
            zigzag, at = varint(data, at)
            fields[number] = (zigzag >> 1) ^ -(zigzag & 1)
        else:
            raise DamagedPart(f"a field of type {kind}")


def varint(data: memoryview | bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while data[at] & 0x80:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | data[at] << shift, at + 1
