"""The little of the protobuf wire format that tf.train.Example needs: varints and fields with a length.

Format: protobuf.dev, "Encoding". What is read is trusted in nothing: every length is checked against what is there.
"""

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT = 10  # bytes of 64 bits, 7 a byte


class BrokenMessage(ValueError):
    """Bytes that are no message, or not the one that was expected. Says what in one line, without the place."""


def varint(value: int) -> bytes:
    """0 <= value < 2^64 in 7 bits a byte, low ones first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    """A field with a length: bytes, text, a message or packed numbers."""
    return b"".join((varint(number << 3 | LENGTH), varint(len(data)), data))


def read_varint(data: memoryview, start: int) -> tuple[int, int]:
    """(value below 2^64, where the next byte is). Raises BrokenMessage."""
    value = 0
    for place in range(min(_MAX_VARINT, len(data) - start)):
        byte = data[start + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, start + place + 1
    raise BrokenMessage("a number of a protobuf message has no end")


def read_fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """(field number, wire type, content) of each field; a varint as its own bytes. Raises BrokenMessage."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            _, end = read_varint(data, at)
        elif kind in _FIXED_BYTES:
            end = at + _FIXED_BYTES[kind]
        elif kind == LENGTH:
            length, at = read_varint(data, at)
            end = at + length
        else:
            raise BrokenMessage(f"a protobuf message with a field of wire type {kind}")
        if end > len(data):
            raise BrokenMessage(f"a protobuf field of {end - at} bytes where {len(data) - at} are left")
        yield number, kind, data[at:end]
        at = end
