"""Cuts text files into slices of whole lines that workers read on their own.

A line belongs to the slice in which its first byte lies, so slices need no agreement and lose or double nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.storage.paths import open_location, resolve

# By the ending of a name in small letters; read as a stream from the start: one slice.
_CODECS = {".gz": "gzip", ".gzip": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zstd": "zstd"}
# Arrays of a block stay below 32 MiB, the most that glibc reuses without giving it back to the kernel: with blocks of
# 32 MiB parsing and closing took half as long again, for page faults alone.
BLOCK_BYTES = 16 << 20
_MAX_BLOCK = 1 << 31
_READ = 1 << 16

Block: TypeAlias = bytes | pa.Buffer


@dataclass(frozen=True)
class Slice:
    source: str  # the file, as the user spelled it
    location: str  # where any process finds it
    start: int  # byte offsets; [0, -1) is the whole of a compressed file
    end: int


def plan_slices(files: list[tuple[str, int]], slice_bytes: int) -> list[Slice]:
    """Slices of about `slice_bytes` covering `files` ((location, bytes) pairs) in order."""
    slices: list[Slice] = []
    for source, size in files:
        location = resolve(source)
        if codec_of(source):
            slices.append(Slice(source, location, 0, -1))
        else:
            starts = range(0, size, slice_bytes)
            slices.extend(Slice(source, location, start, min(size, start + slice_bytes)) for start in starts)
    return slices


def codec_of(name: str) -> str | None:
    """How a file of this name is compressed: gzip, bz2, zstd, or not at all."""
    return next((codec for ending, codec in _CODECS.items() if name.lower().endswith(ending)), None)


def read_blocks(piece: Slice) -> Iterator[Block]:
    """The lines of `piece` in blocks of about BLOCK_BYTES, whole and with their line ends; no block is empty.

    Raises InputError for a compressed file that is damaged, and for a line that no block can hold.
    """
    filesystem, path = open_location(piece.location)
    is_compressed = piece.end < 0
    for block in _decompressed(filesystem, path, piece.source) if is_compressed else _plain(filesystem, path, piece):
        if len(block) >= _MAX_BLOCK:
            raise InputError(f"annotation list '{piece.source}' has a line of more than {_MAX_BLOCK >> 30} GiB")
        yield block


def _plain(filesystem: fs.FileSystem, path: str, piece: Slice) -> Iterator[Block]:
    if isinstance(filesystem, fs.LocalFileSystem):
        filesystem = fs.LocalFileSystem(use_mmap=True)  # no copy: that was a tenth of the time to parse a list
    with filesystem.open_input_file(path) as file:
        size = file.size()
        start = _next_line(file, piece.start, size) if piece.start else 0
        while start < min(piece.end, size):
            wanted = min(start + BLOCK_BYTES, piece.end)
            end = _next_line(file, wanted, size) if wanted < size else size
            file.seek(start)
            yield file.read_buffer(end - start)
            start = end


def _decompressed(filesystem: fs.FileSystem, path: str, source: str) -> Iterator[bytes]:
    begun: list[bytes] = []  # of the line that the last block ends in
    try:
        with filesystem.open_input_stream(path, compression=codec_of(source)) as stream:
            while block := stream.read(BLOCK_BYTES):
                end = block.rfind(b"\n") + 1
                if end:
                    yield b"".join([*begun, block[:end]])
                    begun = []
                begun.append(block[end:])
    except (OSError, pa.ArrowException) as error:  # the second: an empty bzip2 stream between others
        told = " ".join(str(error).split())
        raise InputError(f"annotation list '{source}' cannot be decompressed: {told}") from error
    if any(begun):
        yield b"".join(begun)


def _next_line(file: pa.NativeFile, offset: int, size: int) -> int:
    """Offset of the first line that begins at or after `offset`."""
    position = offset - 1  # a line begins at `offset` when the byte before it ends one
    while position < size:
        block = file.read_at(min(_READ, size - position), position)
        found = block.find(b"\n")
        if found >= 0:
            return position + int(found) + 1
        position += len(block)
    return size
