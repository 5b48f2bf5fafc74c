"""The little of Thrift's compact protocol that Parquet headers and footers are made of.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Value(NamedTuple):
    kind: int  # the protocol's type, as in a field header
    payload: bytes


_TRUE, _FALSE, _I8, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 2, 3, 5, 6, 8, 9, 12


def varint(number: int) -> bytes:
    """ULEB128 of a number that isn't negative."""
    assert number >= 0
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def boolean(value: bool) -> Value:
    """As a field of a struct; in a list it would have a byte of its own."""
    return Value(_TRUE if value else _FALSE, b"")


def i8(number: int) -> Value:
    return Value(_I8, number.to_bytes(1, "little", signed=True))


def i32(number: int) -> Value:
    assert -(1 << 31) <= number < 1 << 31
    return Value(_I32, _zigzag(number))


def i64(number: int) -> Value:
    return Value(_I64, _zigzag(number))


def binary(data: bytes) -> Value:
    return Value(_BINARY, varint(len(data)) + data)


def string(text: str) -> Value:
    return binary(text.encode())


def listing(values: Sequence[Value]) -> Value:
    """A list of values of one kind, which isn't boolean; there is at least one."""
    (kind,) = {value.kind for value in values}
    size = len(values)
    head = bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + varint(size)
    return Value(_LIST, head + b"".join(value.payload for value in values))


def struct(fields: Mapping[int, Value | None]) -> Value:
    """Fields by their id, ascending and at most 15 apart; None leaves one out."""
    out, last = bytearray(), 0
    for number, value in fields.items():
        if value is not None:
            assert 0 < number - last <= 15
            out.append((number - last) << 4 | value.kind)
            out += value.payload
            last = number
    return Value(_STRUCT, bytes(out) + b"\0")


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)
