"""One column of one row group as it lies in the file: a page with the dictionary, pages of values, and their metadata.

Data pages are of version 1, which every reader knows. https://parquet.apache.org/docs/file-format/metadata/
"""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from ml_images.storage.label_parquet.thrift import Value, binary, i32, i64, listing, string, struct

BYTE_ARRAY, INT32, FLOAT = 6, 1, 4  # physical types
PLAIN, RLE, RLE_DICTIONARY = 0, 3, 8  # encodings
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_ZSTD = 6


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest value, as PLAIN bytes without a length."""

    least: bytes
    greatest: bytes


@dataclass
class Chunk:
    """Pages are added in the order of the file, a dictionary first."""

    path: tuple[str, ...]
    physical_type: int
    codec: pa.Codec
    pieces: list[bytes | pa.Buffer] = field(default_factory=list)  # what goes into the file
    stored_bytes: int = 0
    raw_bytes: int = 0  # before compression, with page headers
    values: int = 0  # as Parquet counts them: an empty list is one
    nulls: int = 0  # likewise
    bounds: Bounds | None = None
    dictionary_bytes: int = 0  # stored, with its header; 0 without one
    encodings: Counter[tuple[int, int]] = field(default_factory=Counter)  # (page type, encoding) -> pages

    def add_dictionary(self, plain: bytes, entries: int) -> None:
        """The distinct values, PLAIN."""
        assert not self.pieces
        self._add(plain, _DICTIONARY_PAGE, PLAIN, {7: struct({1: i32(entries), 2: i32(PLAIN)})})
        self.dictionary_bytes = self.stored_bytes

    def add_page(self, levels: list[bytes], content: bytes, values: int, nulls: int, encoding: int) -> None:
        """Levels (repetition, definition) if there are any, and values in `encoding`."""
        sized = [part for level in levels for part in (len(level).to_bytes(4, "little"), level)]
        head = struct({1: i32(values), 2: i32(encoding), 3: i32(RLE), 4: i32(RLE)})
        self._add(b"".join([*sized, content]), _DATA_PAGE, encoding, {5: head})
        self.values += values
        self.nulls += nulls

    def metadata(self, start: int) -> Value:
        """ColumnChunk of the footer, for a chunk whose first byte is byte `start` of the file."""
        encodings = sorted({encoding for _, encoding in self.encodings} | {RLE})
        pages = [
            struct({1: i32(kind), 2: i32(encoding), 3: i32(count)})
            for (kind, encoding), count in self.encodings.items()
        ]
        statistics = struct(
            {
                3: i64(self.nulls),
                5: binary(self.bounds.greatest) if self.bounds else None,
                6: binary(self.bounds.least) if self.bounds else None,
            }
        )
        column = struct(
            {
                1: i32(self.physical_type),
                2: listing([i32(encoding) for encoding in encodings]),
                3: listing([string(name) for name in self.path]),
                4: i32(_ZSTD),
                5: i64(self.values),
                6: i64(self.raw_bytes),
                7: i64(self.stored_bytes),
                9: i64(start + self.dictionary_bytes),
                11: i64(start) if self.dictionary_bytes else None,
                12: statistics,
                13: listing(pages),
            }
        )
        return struct({2: i64(0), 3: column})

    def _add(self, raw: bytes, kind: int, encoding: int, head: dict[int, Value]) -> None:
        stored = self.codec.compress(raw)
        header = struct({1: i32(kind), 2: i32(len(raw)), 3: i32(len(stored)), **head}).payload
        self.pieces += [header, stored]
        self.raw_bytes += len(header) + len(raw)
        self.stored_bytes += len(header) + len(stored)
        self.encodings[kind, encoding] += 1
