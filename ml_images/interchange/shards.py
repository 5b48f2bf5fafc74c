"""How a data set is cut into shards: about equal bytes, equal rows, numbered through each split.

All of it follows from the manifest, so every shard is a piece of work of its own whose name and rows are known before
anything is read, and a task that runs twice writes the same bytes under the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from ml_images.schemas import SPLITS
from ml_images.storage.manifest import FilePromise


@dataclass(frozen=True)
class Piece:
    """Rows [start, end) of one file of the data set."""

    file: str
    start: int
    end: int


@dataclass(frozen=True)
class Shard:
    split: str
    number: int  # within the split
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        return sum(piece.end - piece.start for piece in self.pieces)


def plan_shards(promises: Mapping[str, FilePromise], shard_bytes: int, more_bytes: int) -> list[Shard]:
    """The shards of each split, of about `shard_bytes`; more_bytes: what a row takes beyond its bytes in Parquet."""
    shards = []
    for split in SPLITS:
        files = [(name, promises[name]) for name in sorted(promises) if name.startswith(f"split={split}/")]
        ends = [0, *accumulate(promise.rows for _, promise in files)]
        total = sum(promise.bytes for _, promise in files) + more_bytes * ends[-1]
        count = min(ends[-1], max(1, round(total / shard_bytes)))
        bounds = np.arange(count + 1, dtype=np.int64) * ends[-1] // max(1, count)
        for number in range(count):
            pieces = _pieces([name for name, _ in files], ends, int(bounds[number]), int(bounds[number + 1]))
            shards.append(Shard(split, number, pieces))
    return shards


def _pieces(names: list[str], ends: list[int], start: int, end: int) -> tuple[Piece, ...]:
    """Rows [start, end) of all files in a row; file i has the rows ends[i] to ends[i + 1]."""
    first, last = np.searchsorted(ends, start, "right") - 1, np.searchsorted(ends, end, "left")
    cut = [
        Piece(names[i], max(start, ends[i]) - ends[i], min(end, ends[i + 1]) - ends[i])
        for i in range(int(first), int(last))
    ]
    return tuple(piece for piece in cut if piece.start < piece.end)
