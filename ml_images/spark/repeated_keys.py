"""A first pass over the lists: how many lines each piece has, and which keys stand in several rows.

Workers leave 64 bits of each key in the staging folder, sorted; the driver compares them, a bucket of the hash range at
a time (0.5 s for 17.6 million keys). What it finds lies there, too, for the workers that parse.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from ml_images.annotations.keys import hash_lines
from ml_images.annotations.repeated import bucket_bounds, bucket_of, is_among, repeated
from ml_images.annotations.rows import line_bytes
from ml_images.annotations.scanner import Int64, UInt64
from ml_images.spark import work
from ml_images.storage.lines import Slice, read_blocks
from ml_images.storage.paths import join
from ml_images.storage.tables import read_array, write_array

BUCKET_BYTES = 128 << 20  # of the lists; were all rows repeated, a worker would hold some 500 MB to merge a bucket

SLICES_AT_ONCE = 16  # of a worker, some 15 s to parse

RUN_KEYS = 1 << 20  # 8 MB; a slice of a plain list is one run, a compressed list has many

SLICE = [pa.field("number", pa.int64()), pa.field("source", pa.string()), pa.field("location", pa.string())]
SLICE += [pa.field("start", pa.int64()), pa.field("end", pa.int64())]
_SCANNED = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("run", pa.int64()),
        pa.field("lines", pa.int64()),
        pa.field("bounds", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True)
class RepeatedKeys:
    """Where a parsing worker learns whether a key may stand in several rows. `buckets`: those that have such keys."""

    folder: str
    num_buckets: int
    buckets: tuple[int, ...]

    def bucket_of_rows(self, hashes: UInt64) -> Int64:
        """The bucket of each row whose key may stand in another row, too; -1 for all others."""
        found = np.full(len(hashes), -1, np.int64)
        of_row = bucket_of(hashes, self.num_buckets)
        for bucket in self.buckets:
            rows = np.flatnonzero(of_row == bucket)
            known = read_array(_found(self.folder, bucket), np.uint64)
            found[rows[is_among(hashes[rows], known)]] = bucket
        return found


def scan_lists(
    spark: SparkSession, slices: Sequence[Slice], list_bytes: int, folder: str
) -> tuple[list[int], RepeatedKeys]:
    """(the 1-based number of the first line of each slice, the keys in several rows); `folder` is for staging."""
    num_buckets = 1 + list_bytes // BUCKET_BYTES
    rows = [{"number": number, **asdict(piece)} for number, piece in enumerate(slices)]
    scan = partial(_scan_slices, folder=folder, num_buckets=num_buckets)
    scanned = work.run(work.units(spark, rows, pa.schema(SLICE), at_once=SLICES_AT_ONCE), scan, _SCANNED, "scan")
    scanned.sort(key=lambda row: (row["number"], row["run"]))

    lines = [0] * len(slices)
    for row in scanned:
        lines[row["number"]] += row["lines"]
    first, first_lines = 1, []
    for piece, count in zip(slices, lines, strict=True):
        first = 1 if piece.start == 0 else first
        first_lines.append(first)
        first += count
    return first_lines, _find_repeated(scanned, folder, num_buckets)


def _scan_slices(batches: Iterable[pa.RecordBatch], *, folder: str, num_buckets: int) -> Iterable[pa.RecordBatch]:
    for row in (row for batch in batches for row in batch.to_pylist()):
        piece = Slice(row["source"], row["location"], row["start"], row["end"])
        for number, (hashes, lines) in enumerate(_hash_slice(piece)):
            hashes.sort()
            write_array(_hashes(folder, row["number"], number), hashes)
            bounds = bucket_bounds(hashes, num_buckets).tolist()
            scanned = {"number": row["number"], "run": number, "lines": lines, "bounds": bounds}
            yield pa.RecordBatch.from_pylist([scanned], schema=_SCANNED)


def _hash_slice(piece: Slice) -> Iterator[tuple[UInt64, int]]:
    """(hashes of the keys, number of lines) of the slice, or of some RUN_KEYS lines of it at a time."""
    first_line = 1 if piece.start == 0 else 2
    held: list[UInt64] = []
    lines = 0
    for block in read_blocks(piece):
        hashes, more = hash_lines(line_bytes(block, first_line))
        held.append(hashes)
        lines += more
        first_line += more
        if lines >= RUN_KEYS:
            yield np.concatenate(held), lines
            held, lines = [], 0
    if held:
        yield np.concatenate(held), lines


def _find_repeated(scanned: list[dict[str, Any]], folder: str, num_buckets: int) -> RepeatedKeys:
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy sorts without Python's lock
        has_any = pool.map(partial(_look_into, scanned, folder), range(num_buckets))
        return RepeatedKeys(folder, num_buckets, tuple(itertools.compress(range(num_buckets), has_any)))


def _look_into(scanned: list[dict[str, Any]], folder: str, bucket: int) -> bool:
    """Are there repeated keys in this bucket? They are written down for the workers."""
    pieces = [
        read_array(_hashes(folder, row["number"], row["run"]), np.uint64, *row["bounds"][bucket : bucket + 2])
        for row in scanned
    ]
    found = repeated(pieces)
    if len(found):
        write_array(_found(folder, bucket), found)
    return len(found) > 0


def _hashes(folder: str, number: int, block: int) -> str:
    return join(folder, "_keys", f"{number:06d}-{block:06d}.uint64")


def _found(folder: str, bucket: int) -> str:
    return join(folder, "_repeated", f"{bucket:06d}.uint64")
