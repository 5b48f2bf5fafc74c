import io
import struct
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.interchange.crc32c import masked_crc32c
from ml_images.interchange.records import MAX_BYTES, framed, read_records

RECORDS = [b"one", b"", b"a longer one of more than sixteen bytes"]
FILE = b"".join(map(framed, RECORDS))
STARTS = [0, 16 + 3, 2 * 16 + 3]


def read(data: bytes) -> list[tuple[int, bytes]]:
    return list(read_records(io.BytesIO(data), len(data), "x.tfrecords"))


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_records_come_back_with_their_places(records: list[bytes]) -> None:
    found = read(b"".join(map(framed, records)))
    assert [data for _, data in found] == records
    assert [start for start, _ in found] == [sum(16 + len(r) for r in records[:i]) for i in range(len(records))]


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unseen(at: int, change: int) -> None:
    damaged = bytearray(FILE)
    damaged[at] ^= change
    start = max(start for start in STARTS if start <= at)
    with pytest.raises(InputError, match=rf"^'x.tfrecords' at byte {start}: .*(damaged|truncated)") as caught:
        read(bytes(damaged))
    assert "\n" not in str(caught.value)


@given(st.integers(1, len(FILE) - 1).filter(lambda cut: cut not in STARTS))
def test_a_file_that_is_cut_off_says_where(cut: int) -> None:
    start = max(start for start in STARTS if start <= cut)
    with pytest.raises(InputError, match=rf"^'x.tfrecords' at byte {start}: .*\(truncated\)$"):
        read(FILE[:cut])


class Hole:
    """A file of any length that nobody may read much of."""

    def __init__(self, start: bytes) -> None:
        self._file = io.BytesIO(start)

    def read(self, size: int) -> bytes:
        assert size < 100
        return self._file.read(size)


@pytest.mark.parametrize(
    ("length", "size", "told"),
    [(2**64 - 1, 100, "where 84 are left"), (2**63, 2**62, "are left"), (MAX_BYTES + 1, 2**40, "at most 268435456")],
)
def test_an_absurd_length_takes_no_memory(length: int, size: int, told: str) -> None:
    header = struct.pack("<Q", length)
    file = Hole(header + struct.pack("<I", masked_crc32c(header)))
    with pytest.raises(InputError, match=rf"'x' at byte 0: a record of {length} bytes.*{told}"):
        list(read_records(cast(BinaryIO, file), size, "x"))
