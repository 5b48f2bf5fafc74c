"""The most bytes that reading takes on any rank, in any epoch and from any place of it: from the footers alone.

What counts is what Arrow's memory pool and Python count: row groups, the reading of the next ones, batches, and what is
known of the order. Pixels of the picture that each thread decodes come on top, and vary with the file.
"""

import numpy as np
from numpy.typing import NDArray

from ml_images.train.dataset import Split
from ml_images.train.footers import KEPT
from ml_images.train.reader import BATCHES_AHEAD, Reader, lanes_of_rank
from ml_images.train.replication import rows_of_groups

_ROW = 1024  # the objects of a row of a batch: its number, its labels, its key, and its place in some lists
# 12 of the batch that was given, 8 of each one that is ready, and 20 of the next one while it is put together.
_LABEL_OF_BATCH = 48
_PIECE = 384  # order.Piece and its three numbers, kept and while they are sorted
_GROUP = 64  # arrays of the order
_COPIED_ROW, _COPIED_GROUP = 14, 512  # with replication: hash, factor and copies of each row, in arrays of each group
_COPY = 40  # the order of the rows of a row group, and making it
_FOOTER = 4096  # of a row group, in the footers that are kept
_FIXED = 1 << 20  # threads, queues, files that are open


def most_bytes(reader: Reader, split: Split, batch_size: int, size: int) -> int:
    """Bytes on each of `size` ranks, with batches of `batch_size`."""
    least, most = rows_of_groups(split)
    lanes, largest = lanes_of_rank(split.lanes, size), split.largest
    held = most_held_ever(least, split.lanes, batch_size, size)
    # Rows of a batch differ, so they have the labels of the row groups that are held at most, unless rows come again.
    groups = batch_size if split.replicated else min(held, batch_size)
    labels = min(batch_size * split.num_classes, groups * largest.labels)
    pieces = lanes * _touched(least, -(-int(most.sum()) // split.lanes))
    return (
        held * (largest.kept + _COPY * int(most.max(initial=0)))
        + min(held, reader.groups.at_once) * reader.groups.beside(largest)
        + (BATCHES_AHEAD + 1) * batch_size * (3 * reader.side**2 + _ROW)
        + BATCHES_AHEAD * groups * largest.keys
        + labels * _LABEL_OF_BATCH
        + reader.threads * largest.pictures  # each thread has the bytes of one; at worst it is a whole row group
        + pieces * _PIECE
        + len(least) * (_GROUP + split.replicated * _COPIED_GROUP)
        + split.rows * split.replicated * _COPIED_ROW
        + KEPT * max(split.groups_per_file, default=0) * _FOOTER
        + _FIXED
    )


def most_held_ever(least: NDArray[np.int64], lanes: int, batch_size: int, size: int) -> int:
    """No rank's reader.most_held is larger, whatever the order of row groups that have at least so many rows each."""
    mine = lanes_of_rank(lanes, size)
    rows = -(-BATCHES_AHEAD * batch_size * size // lanes)  # of a lane, in the steps for which row groups are held
    return min(len(least), mine * max(2, _touched(least, rows)))


def _touched(least: NDArray[np.int64], rows: int) -> int:
    """How many row groups `rows` rows in turn can belong to: one at either end, and between them the smallest ones."""
    between = int(np.searchsorted(np.cumsum(np.sort(np.maximum(least, 1))), rows - 2, side="right"))
    return min(rows, 2 + between)
