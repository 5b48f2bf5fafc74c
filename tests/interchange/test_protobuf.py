import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.interchange.protobuf import BrokenMessage, field, read_fields, read_varint, varint


def test_varints_of_the_documentation() -> None:
    assert varint(150) == b"\x96\x01"
    assert field(2, b"testing") == b"\x12\x07testing"
    assert list(read_fields(memoryview(b"\x08\x96\x01\x12\x07testing"))) == [(1, 0, b"\x96\x01"), (2, 2, b"testing")]


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_varints_come_back(value: int, rest: bytes) -> None:
    data = varint(value)
    assert len(data) <= 10
    assert read_varint(memoryview(b"x" + data + rest), 1) == (value, 1 + len(data))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x80", "has no end"),
        (b"\xff" * 11, "has no end"),
        (b"\x0a\x05abc", "5 bytes where 3 are left"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "bytes where 0 are left"),
        (b"\x09abc", "8 bytes where 3"),
        (b"\x0b", "wire type 3"),
    ],
)
def test_what_is_no_message_is_said(data: bytes, told: str) -> None:
    with pytest.raises(BrokenMessage, match=told):
        list(read_fields(memoryview(data)))
