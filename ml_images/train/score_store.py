"""Where the scores of an evaluation wait until all are there: class by class, in memory, then in a scratch file.

88,739 images with 11,166 classes are 4 GB of float32, and rounding them would change the ranking. Some hundred images
are collected as a tile, turned over so that each class lies in one piece, and put away: what is read later is some
classes of all images. Tiles beyond KEPT_BYTES are written to a file, so that memory does not grow with the images; the
operating system keeps the file in memory, too, as long as nobody else needs that.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray

from ml_images.train.checkpoint import storage_errors

TILE_BYTES = 24 << 20
KEPT_BYTES = 768 << 20  # with torch and what evaluates, a process stays below 2 GiB
_MOST_ROWS = 65_536


class ScoreStore:
    """Scores of one rank's images; `scratch` is the folder of the file, by default the system's."""

    def __init__(self, num_classes: int, scratch: Path | None = None) -> None:
        self._shape = (num_classes, min(_MOST_ROWS, max(1, TILE_BYTES // (4 * num_classes))))
        self._kept: list[NDArray[np.float32]] = []
        self._written = 0  # tiles
        self._scratch = Path(tempfile.gettempdir()) if scratch is None else scratch
        self._file: IO[bytes] | None = None
        self._tile = np.empty(self._shape, np.float32)
        self._used = 0  # rows of the tile

    @property
    def tile_rows(self) -> int:
        return self._shape[1]

    def add(self, scores: NDArray[np.float32]) -> None:
        """Keep `scores` (images, classes). Raises StorageError where the scratch file cannot be written."""
        start = 0
        while start < len(scores):
            end = min(len(scores), start + self.tile_rows - self._used)
            # torch's blocked copy: 0.9 ns a cell, numpy's and a plain loop take 1.8 to 3.8
            place = torch.from_numpy(self._tile)[:, self._used : self._used + end - start]
            place.copy_(torch.from_numpy(scores[start:end]).T)
            self._used += end - start
            if self._used == self.tile_rows:
                self._put_away()
            start = end

    def read(self, first: int, end: int) -> Iterator[tuple[NDArray[np.float32], int]]:
        """(scores, images) of the classes from `first` to `end`, tile by tile: scores (classes, tile_rows), of which
        only the first `images` columns count. The array is used again for the next tile; threads may read at once."""
        for tile in self._kept:
            yield tile[first:end], self.tile_rows
        if self._file is not None:
            part = np.empty((end - first, self.tile_rows), np.float32)
            for number in range(self._written):
                place = number * self._tile.nbytes + first * part.strides[0]
                length = os.preadv(self._file.fileno(), [part.data], place)
                assert length == part.nbytes, f"{length} bytes of a scratch file, {part.nbytes} were written"
                yield part, self.tile_rows
        if self._used:
            yield self._tile[first:end], self._used

    def close(self) -> None:
        """Let go of the scratch file, which vanishes."""
        if self._file is not None:
            self._file.close()

    def _put_away(self) -> None:
        if (len(self._kept) + 1) * self._tile.nbytes <= KEPT_BYTES:
            self._kept.append(self._tile)
            self._tile = np.empty(self._shape, np.float32)
        else:
            self._write()
        self._used = 0

    def _write(self) -> None:
        with storage_errors(self._scratch):
            if self._file is None:
                # Without a name: nothing stays behind, however the process ends.
                self._file = tempfile.TemporaryFile(dir=self._scratch, buffering=0)  # noqa: SIM115 (see close)
            left = self._tile.data.cast("B")
            while left:
                left = left[self._file.write(left) :]
        self._written += 1
