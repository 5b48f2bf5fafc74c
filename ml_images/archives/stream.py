"""Bytes in order with a position: of a file, where skipping is a seek, or of what a decompressor makes of one.

How far a member reaches is told by headers, which may lie; so nothing is read or skipped beyond what is there without
an error that says so.
"""

import bz2
import io
import lzma
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
from pyarrow import fs

from ml_images.archives.damage import Damaged
from ml_images.storage.paths import open_location

_LOCAL_BUFFER = 1 << 13  # a skipped picture costs a seek and one such read
_REMOTE_BUFFER = 1 << 20  # each read is a request of tens of milliseconds
_DROP = 1 << 20
_ARROWS = {"gz": "gzip", "zst": "zstd"}
_FREE_BYTES = 64 << 20  # unpacked bytes before the ratio is looked at


class Stream(Protocol):
    position: int

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end."""

    def skip_to(self, position: int, end: int | None = None) -> None:
        """Go on at `position`, which is not behind the present one; what lies at `end` and behind does not count as
        there. Raises Damaged (truncated) if the stream ends before."""


class FileStream:
    """A file that can be sought."""

    def __init__(self, file: BinaryIO, size: int, start: int = 0) -> None:
        self._file, self._size = file, size
        self.position = start
        file.seek(start)

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, max(0, self._size - self.position)))
        self.position += len(data)
        return data

    def skip_to(self, position: int, end: int | None = None) -> None:
        if position > (self._size if end is None else min(end, self._size)):
            raise Damaged("truncated", f"the archive ends before byte {position}")
        self._file.seek(position)
        self.position = position


class UnpackedStream:
    """What a decompressor gives, as long as it is in proportion to what it was given."""

    def __init__(self, unpacked: BinaryIO, packed: BinaryIO, max_ratio: float) -> None:
        self._unpacked, self._packed, self._max_ratio = unpacked, packed, max_ratio
        self.position = 0

    def read(self, size: int) -> bytes:
        if size <= _DROP:
            return self._read(size)
        pieces = []
        while size and (piece := self._read(min(size, _DROP))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def skip_to(self, position: int, end: int | None = None) -> None:
        while self.position < position:
            if not self._read(min(_DROP, position - self.position)):
                break
        if self.position < position or (end is not None and position > end):
            raise Damaged("truncated", f"the archive ends before byte {position}")

    def _read(self, size: int) -> bytes:
        data = b""
        with _unpacking_errors():
            while len(data) < size and (piece := self._unpacked.read(size - len(data))):
                data = data + piece if data else piece
        self.position += len(data)
        if self.position > _FREE_BYTES and self.position > self._max_ratio * self._packed.tell():
            raise Damaged("bomb", f"it unpacks to more than {self._max_ratio:g} times its bytes")
        return data


class Window(io.RawIOBase):
    """Bytes [position, end) of a stream as a file, for a decompressor; the stream moves along."""

    def __init__(self, stream: Stream, end: int) -> None:
        self._stream, self._end, self._start = stream, end, stream.position

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), self._end - self._stream.position))
        buffer[: len(data)] = data
        return len(data)

    def tell(self) -> int:
        return self._stream.position - self._start


@contextmanager
def open_file(location: str) -> Iterator[tuple[BinaryIO, int]]:
    """(buffered file, bytes)."""
    with open_path(*open_location(location)) as opened:
        yield opened


@contextmanager
def open_path(filesystem: fs.FileSystem, path: str) -> Iterator[tuple[BinaryIO, int]]:
    """(buffered file, bytes). A local one by Python, as Arrow opens no path that is not UTF-8."""
    if isinstance(filesystem, fs.LocalFileSystem):
        with Path(path).open("rb", buffering=_LOCAL_BUFFER) as local:
            yield local, os.fstat(local.fileno()).st_size
        return
    with filesystem.open_input_file(path) as file, io.BufferedReader(file, _REMOTE_BUFFER) as buffered:
        yield buffered, file.size()


@contextmanager
def unpacked(packed: BinaryIO, compression: str, max_ratio: float) -> Iterator[UnpackedStream]:
    """`packed` through the decompressor gz, bz2, xz or zst."""
    with _unpacking_errors():
        file = _open_unpacked(packed, compression)
    with file:
        yield UnpackedStream(file, packed, max_ratio)


def _open_unpacked(packed: BinaryIO, compression: str) -> Any:
    if compression in _ARROWS:  # 120 us of CPU for the 110 kB of a picture; Python's gzip takes 170
        return pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), _ARROWS[compression])
    return bz2.open(packed) if compression == "bz2" else lzma.open(packed)


@contextmanager
def _unpacking_errors() -> Iterator[None]:
    """What decompressors raise becomes Damaged; an error of the disk below stays what it is."""
    try:
        yield
    except EOFError as error:
        raise Damaged("truncated", "the compressed data end too early") from error
    except (lzma.LZMAError, pa.ArrowInvalid) as error:
        raise Damaged("corrupt", f"the compressed data are broken ({error})") from error
    except OSError as error:
        if error.errno:
            raise
        kind = "truncated" if "runcated" in str(error) else "corrupt"  # bz2 and Arrow tell it in words only
        raise Damaged(kind, f"the compressed data are broken ({error})") from error
