"""Which encoding each column of `labels` gets, and where its pages end: always between two rows.

classes, origins, source and confidences of few values have a dictionary of the row group's values; one value alone is
a single run, nearly free to write and to read. Keys and confidences of many values are PLAIN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images.storage.label_parquet import encodings
from ml_images.storage.label_parquet.chunks import BYTE_ARRAY, FLOAT, INT32, PLAIN, RLE_DICTIONARY, Bounds, Chunk

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
UInt32 = npt.NDArray[np.uint32]
Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]

# From 1<<17 to 1<<20 levels writing and reading differ by less than 10 %; pages of this size stay in the cache.
PAGE_LEVELS = 1 << 18
PAGE_BYTES = 1 << 20


@dataclass(frozen=True)
class Page:
    """A page of a list column, without its values: labels[places]."""

    places: Int32
    values: int  # as Parquet counts them: an empty list is one
    levels: list[bytes]


def page_ends(offsets: Int64, most: int) -> list[int]:
    """The row behind each page: pages have at most `most` of what `offsets` (rows + 1) counts, or a single row."""
    ends, row = [], 0
    while row < len(offsets) - 1:
        row = max(row + 1, int(np.searchsorted(offsets, offsets[row] + most, "right")) - 1)
        ends.append(row)
    return ends


def list_pages(starts: Int64, ends: Int64) -> list[Page]:
    """The pages that the three list columns have in common. starts, ends: (rows) where the labels of each row are."""
    sizes = ends - starts
    positions = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(np.maximum(sizes, 1), out=positions[1:])
    pages, first = [], 0
    for end in page_ends(positions, PAGE_LEVELS):
        rows, here = slice(first, end), positions[first : end + 1]
        levels = [encodings.repetitions(here), encodings.definitions(here, sizes[rows])]
        pages.append(Page(encodings.places(starts[rows], ends[rows]), int(here[-1] - here[0]), levels))
        first = end
    return pages


def add_keys(chunk: Chunk, keys: pa.StringArray) -> None:
    """PLAIN; without bounds, which for keys in the order of a list say nothing."""
    offsets, data = _string_buffers(keys)
    first = 0
    for end in page_ends(offsets + 4 * np.arange(len(offsets)), PAGE_BYTES):
        chunk.add_page([], encodings.strings(offsets[first : end + 1], data).tobytes(), end - first, 0, PLAIN)
        first = end


def add_sources(chunk: Chunk, sources: str | pa.StringArray, rows: int) -> None:
    """One page of indices: sources are few. A single source stands for all rows."""
    if isinstance(sources, str):
        names, indices = [sources.encode()], np.empty(0, np.uint32)
    else:
        encoded = sources.dictionary_encode()
        names = [name.encode() for name in encoded.dictionary.to_pylist()]
        indices = encoded.indices.to_numpy().view(np.uint32)
    chunk.add_dictionary(b"".join(len(name).to_bytes(4, "little") + name for name in names), len(names))
    chunk.add_page([], _indices(indices, len(names), rows), rows, 0, RLE_DICTIONARY)
    chunk.bounds = Bounds(min(names), max(names))


def add_numbers(chunk: Chunk, numbers: Int32 | Int8, pages: Sequence[Page]) -> None:
    """classes or origins, with the dictionary in ascending order."""
    whole = numbers.astype(np.int32, copy=False)
    if not len(whole):
        return _add_pages(chunk, pages, PLAIN, lambda page: b"")
    values, places = encodings.distinct_numbers(whole)
    chunk.add_dictionary(values.tobytes(), len(values))
    chunk.bounds = Bounds(values[0].tobytes(), values[-1].tobytes())
    indices = encodings.look_up(whole, places)

    return _add_pages(chunk, pages, RLE_DICTIONARY, lambda page: _page_indices(page, indices, len(values)))


def add_floats(chunk: Chunk, floats: Float32, pages: Sequence[Page]) -> None:
    """confidences, none of them NaN."""
    if len(floats):
        chunk.bounds = _float_bounds(floats.min(), floats.max())
    bits = floats.view(np.uint32)
    found = encodings.distinct_floats(bits) if len(floats) else None
    if found is None:
        return _add_pages(chunk, pages, PLAIN, lambda page: encodings.look_up(page.places, bits).tobytes())
    values, indices = found
    chunk.add_dictionary(values.tobytes(), len(values))

    return _add_pages(chunk, pages, RLE_DICTIONARY, lambda page: _page_indices(page, indices, len(values)))


def _add_pages(chunk: Chunk, pages: Sequence[Page], encoding: int, content: Callable[[Page], bytes]) -> None:
    for page in pages:
        chunk.add_page(page.levels, content(page), page.values, page.values - len(page.places), encoding)


def _page_indices(page: Page, indices: UInt32, entries: int) -> bytes:
    count = len(page.places)
    return _indices(encodings.look_up(page.places, indices) if entries > 1 else indices, entries, count)


def _indices(indices: UInt32, entries: int, count: int) -> bytes:
    """RLE_DICTIONARY of `count` indices, which are not looked at where there is one entry only: the width in bits
    (never 0, which not every reader takes), then one run."""
    width = max(1, (entries - 1).bit_length())
    run = encodings.packed(indices, width) if entries > 1 else encodings.repeated(0, count, width)
    return bytes([width]) + run


def _float_bounds(least: np.float32, greatest: np.float32) -> Bounds:
    """By the specification a bound of zero must hold for both zeros: -0.0 is the least one, +0.0 the greatest."""
    least = np.float32(-0.0) if least == 0 else least
    greatest = np.float32(0.0) if greatest == 0 else greatest
    return Bounds(least.tobytes(), greatest.tobytes())


def _string_buffers(strings: pa.StringArray) -> tuple[Int32, npt.NDArray[np.uint8]]:
    """(offsets (rows + 1), bytes) of an array that may be a slice."""
    _, places, data = strings.buffers()
    offsets = np.frombuffer(places, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return offsets, np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)


COLUMNS = {
    ("key",): BYTE_ARRAY,
    ("source",): BYTE_ARRAY,
    ("classes", "list", "element"): INT32,
    ("confidences", "list", "element"): FLOAT,
    ("origins", "list", "element"): INT32,
}
