"""A tar archive whose bytes depend on names and contents alone: no times, no owners, no order but the given one."""

import tarfile
from typing import Protocol

_BLOCK = tarfile.BLOCKSIZE
_END = 2 * _BLOCK  # zeros


class Stream(Protocol):
    def write(self, data: bytes) -> object: ...


class TarWriter:
    """Writes regular files (pax, mode 0644, time and owners 0) to a stream; `finish` writes the end mark."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._bytes = 0

    def add(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
        self._write(data)
        self._write(bytes(-len(data) % _BLOCK))

    def finish(self) -> None:
        self._write(bytes(_END))
        self._write(bytes(-self._bytes % tarfile.RECORDSIZE))  # as every tar program pads

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._bytes += len(data)
