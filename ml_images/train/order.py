"""Which row comes at which place of an epoch: a function of (seed, epoch, lanes), whoever reads, and in how many parts.

The row groups are put in a random order, the rows of each of them too, and the sequence of all rows is cut into `lanes`
pieces of equal length. Place p of the epoch is row p // lanes of lane p % lanes, so every stretch of places takes
equally from all lanes. Rank r of R takes the places p with p % R = r: where R divides the lanes those lie in the lanes
l with l % R = r, and nobody else reads them; with any other R all is as exact, but several ranks read a lane.

With replication (replication.py) a row comes as often as the epoch wants it, and counts as so many rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_images.train.chance import shuffled, stream

Int64 = npt.NDArray[np.int64]

_GROUPS, _ROWS = 1, 2  # what a stream of random numbers is for


class Piece(NamedTuple):
    """A run of rows of one row group that a rank needs, at the places from `first` to `last`."""

    group: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class EpochOrder:
    """The order of one epoch. rows: int64 (row groups), of each row group in the order of the files. Without a seed the
    row groups and their rows come as they lie. copies: how often each row of each row group comes, if not once; `rows`
    are their sums."""

    rows: Int64
    lanes: int
    seed: int | None
    epoch: int = 0
    copies: Sequence[npt.NDArray[np.uint16]] | None = None

    @cached_property
    def groups(self) -> Int64:
        """The row groups in the order of this epoch: int64 (row groups)."""
        count = len(self.rows)
        return np.arange(count) if self.seed is None else shuffled(stream(self.seed, self.epoch, _GROUPS), count)

    @cached_property
    def starts(self) -> Int64:
        """Where each of `groups` begins in the sequence of all rows, and the end: int64 (row groups + 1)."""
        return np.concatenate(([0], np.cumsum(self.rows[self.groups])))

    @cached_property
    def lane_starts(self) -> Int64:
        """Where each lane begins in the sequence of all rows, and the end: int64 (lanes + 1); the first ones are longer
        by a row where lanes do not divide the rows."""
        short, longer = divmod(self.total, self.lanes)
        lane = np.arange(self.lanes + 1)
        return lane * short + np.minimum(lane, longer)

    @property
    def total(self) -> int:
        return int(self.rows.sum())

    def at(self, places: Int64) -> tuple[Int64, Int64]:
        """(row group, place among the shuffled rows of it) at each of `places`, 0 to total - 1; int64 as `places`."""
        sequence = self.lane_starts[places % self.lanes] + places // self.lanes
        nth = np.searchsorted(self.starts, sequence, side="right") - 1
        return self.groups[nth], sequence - self.starts[nth]

    def rows_of(self, group: int) -> Int64:
        """The rows of a row group in the order of this epoch, perhaps some several times or never: int64 (rows)."""
        count = int(self.rows[group])
        rows = np.arange(count)
        if self.copies is not None:
            rows = np.repeat(np.arange(len(self.copies[group])), self.copies[group])
        return rows if self.seed is None else rows[shuffled(stream(self.seed, self.epoch, _ROWS, group), count)]

    def pieces(self, rank: int, size: int, start: int, end: int) -> list[Piece]:
        """What rank `rank` of `size` needs for its places in [start, end), sorted by the first place."""
        return sorted(self._pieces(rank, size, start, end), key=lambda piece: piece.first)

    def _pieces(self, rank: int, size: int, start: int, end: int) -> Iterator[Piece]:
        common = gcd(size, self.lanes)
        for lane in range(rank % common, self.lanes, common):
            low, high = self.lane_starts[lane : lane + 2]
            nth = int(np.searchsorted(self.starts, low, side="right")) - 1
            while nth < len(self.groups) and self.starts[nth] < high:
                begin, stop = max(low, self.starts[nth]) - low, min(high, self.starts[nth + 1]) - low
                mine = self._places(lane, int(begin), int(stop), rank, size, start, end)
                if mine:
                    yield Piece(int(self.groups[nth]), *mine)
                nth += 1

    def _places(
        self, lane: int, begin: int, stop: int, rank: int, size: int, start: int, end: int
    ) -> tuple[int, int] | None:
        """The first and the last place in [start, end) of `rank` among rows [begin, stop) of a lane."""
        begin = max(begin, -(-(start - lane) // self.lanes))
        stop = min(stop, -(-(end - lane) // self.lanes))
        period = size // gcd(size, self.lanes)  # of rows of the lane: each period-th is this rank's
        for row in range(begin, min(stop, begin + period)):
            if (lane + self.lanes * row) % size == rank:
                last = row + (stop - 1 - row) // period * period
                return lane + self.lanes * row, lane + self.lanes * last
        return None
