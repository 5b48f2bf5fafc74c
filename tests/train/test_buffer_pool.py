import os
from pathlib import Path

import pytest

from ml_images.train import buffer_pool
from ml_images.train.buffer_pool import BufferPool


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the buffers that were made."""
    sizes: list[int] = []
    make = buffer_pool.mmap.mmap

    def counted(file: int, size: int, **options: int) -> object:
        sizes.append(size)
        return make(file, size, **options)

    monkeypatch.setattr(buffer_pool.mmap, "mmap", counted)
    return sizes


def test_a_buffer_is_used_again_when_no_part_of_it_is_looked_at(made: list[int]) -> None:
    lent = BufferPool(1000)
    first = lent.copied(memoryview(b"a" * 1000))
    part = first[10:20]
    del first
    second = lent.copied(memoryview(b"b" * 700))
    assert bytes(part) == b"a" * 10 and bytes(second) == b"b" * 700 and made == [1000, 1000]
    del part
    third = lent.copied(memoryview(b"c" * 800))
    assert bytes(third) == b"c" * 800 and bytes(second) == b"b" * 700 and made == [1000, 1000]


@pytest.mark.parametrize("size", [0, 1001])
def test_what_fits_no_buffer_is_copied_nevertheless(size: int, made: list[int]) -> None:
    content = os.urandom(size)
    assert bytes(BufferPool(1000).copied(memoryview(content))) == content and not made


def test_what_is_lent_cannot_be_written() -> None:
    assert BufferPool(8).copied(memoryview(bytearray(b"12345678"))).readonly


def test_buffers_are_gone_with_the_last_of_them() -> None:
    def mapped() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")

    before, size = mapped(), 1 << 28
    lent = BufferPool(size)
    view = lent.copied(memoryview(b"1"))
    assert mapped() - before >= size
    del lent, view
    assert mapped() - before < size
