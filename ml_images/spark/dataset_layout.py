"""How the rows of a split lie in row groups and files: row groups of about equal bytes, a multiple of the ranks, also
together with those that the split has already.

With G row groups and T bytes of pictures, group g ends after the picture whose end lies nearest to (g+1)*T/G. So the
bytes of a group differ from T/G by the largest picture at most, wherever it is not `row_group_rows` that limits it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled
from ml_images.labels.splits import SEEDS
from ml_images.options import option

_Ints = npt.NDArray[np.int64]

_MAX_GROUP_BYTES = 1 << 30  # Arrow counts the bytes of a batch of pictures with 32 bits
_MORE_GROUPS = 1.02


@dataclass(frozen=True)
class LayoutConfig:
    ranks: int = option(
        8,
        "row groups of a split are a multiple of this, if it has as many rows; with this many ranks, or a divisor of "
        "it, each row group is read by one of them, with R others by R / gcd(R, ranks)",
    )
    row_group_bytes: int = option(4 << 20, "bytes of the pictures of a row group, on average, at most")
    row_group_rows: int = option(256, "rows of a row group, at most")
    file_rows: int = option(4096, "rows of a file, about")
    seed: int = option(0, "of the order within the data set; at least 0")

    def __post_init__(self) -> None:
        for name in ("ranks", "row_group_bytes", "row_group_rows", "file_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"layout.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < SEEDS:
            raise ValueError(f"layout.seed must be in 0..2^64-1, got {self.seed}")
        if self.row_group_bytes > _MAX_GROUP_BYTES:
            raise ValueError(f"layout.row_group_bytes is {_MAX_GROUP_BYTES} at most, got {self.row_group_bytes}")


@dataclass(frozen=True, eq=False)
class SplitLayout:
    """bounds: int64 (row groups + 1), the first row of each row group and the number of rows."""

    bounds: _Ints
    groups_per_file: int

    @property
    def rows(self) -> int:
        return int(self.bounds[-1])

    @property
    def row_groups(self) -> int:
        return len(self.bounds) - 1

    @property
    def files(self) -> int:
        return -(-self.row_groups // self.groups_per_file)

    def groups_of(self, file: int) -> _Ints:
        """Bounds of the row groups of a file, counted from its own first row."""
        first = file * self.groups_per_file
        bounds: _Ints = self.bounds[first : first + self.groups_per_file + 1]
        return bounds - bounds[0]

    def first_rows(self) -> _Ints:
        """The first row of each file: int64 (files)."""
        return self.bounds[: -1 : self.groups_per_file]


def lay_out(sizes: npt.NDArray[np.integer], cfg: LayoutConfig, existing: int = 0) -> SplitLayout:
    """The layout of rows whose pictures have `sizes` bytes, in this order, behind `existing` row groups of the split.

    There are as few row groups as the two limits allow, with the existing ones a multiple of `ranks`; none is empty.
    Where only more row groups than rows would keep to the limits, the multiple comes first: the largest one that is not
    more than the rows. Where there are too few rows for any multiple, each is a row group; but behind existing ones, as
    few row groups are added as the limits allow.
    """
    rows = len(sizes)
    lacking = -existing % cfg.ranks
    most = rows - (rows - lacking) % cfg.ranks
    step = cfg.ranks
    if most <= 0 and not existing:
        return SplitLayout(np.arange(rows + 1, dtype=np.int64), max(1, cfg.file_rows))
    if most <= 0:
        lacking, most, step = 0, rows, 1
    ends = np.cumsum(sizes, dtype=np.int64)
    least = max(-(-int(ends[-1]) // cfg.row_group_bytes), -(-rows // cfg.row_group_rows))

    def allowed(wanted: int) -> int:
        return min(most, wanted + (lacking - wanted) % step)

    groups = allowed(least)
    # By bytes some groups get more rows than others, so up to twice the least number keeps to the rows' limit, too.
    for _ in range(40):
        bounds = _by_bytes(ends, groups)
        if np.diff(bounds).max() <= cfg.row_group_rows or groups == most:
            break
        groups = allowed(int(groups * _MORE_GROUPS + 1))
    limit = max(cfg.row_group_rows, -(-rows // groups))
    return SplitLayout(_within(bounds, limit), max(1, cfg.file_rows * (len(bounds) - 1) // rows))


def _by_bytes(ends: _Ints, groups: int) -> _Ints:
    """Bounds of `groups` groups that end nearest to equal bytes; some may be empty, or descend to be so."""
    targets = np.arange(1, groups, dtype=np.float64) * (float(ends[-1]) / groups)
    after = np.searchsorted(ends, targets)  # the picture in which a target lies
    before = np.where(after > 0, ends[after - 1], 0)
    nearest = after + (ends[after] - targets < targets - before)
    return np.concatenate([[0], nearest, [len(ends)]]).astype(np.int64)


def uneven(splits: Mapping[str, Mapping[str, int]], ranks: int) -> list[str]:
    """A line for each split to which so few rows were appended that its row groups are no multiple of `ranks`."""
    return [
        f"split {name} has {told['row_groups']} row groups now, no multiple of layout.ranks={ranks}, for which too few "
        "rows were appended: every row still comes once, a few row groups are read by two ranks, and later additions "
        "make up for it"
        for name, told in splits.items()
        if told["row_groups"] % ranks
    ]


@compiled
def _within(bounds: _Ints, limit: int) -> _Ints:
    """The bounds moved as little as groups of 1 to `limit` rows ask for, from the first on."""
    groups = len(bounds) - 1
    rows = bounds[groups]
    moved = np.zeros(groups + 1, np.int64)
    for group in range(1, groups + 1):
        left = groups - group
        least = max(moved[group - 1] + 1, rows - left * limit)
        most = min(moved[group - 1] + limit, rows - left)
        moved[group] = min(max(bounds[group], least), most)
    return moved
