"""Ranks as threads that can also gather."""

from collections.abc import Callable
from typing import TypeVar

import rank_threads
import torch
from torch import Tensor

from ml_images.train.comm import LocalComm

Answer = TypeVar("Answer")


class GatheringComm(LocalComm):
    """`sum` of a rank that is a thread, and a `gather` made of sums."""

    def __init__(self, comm: rank_threads.ThreadComm) -> None:
        self.rank, self.size, self._comm = comm.rank, comm.size, comm

    def sum(self, values: Tensor, name: str) -> Tensor:
        return self._comm.sum(values, name)

    def gather(self, rows: Tensor, name: str) -> Tensor:
        counts = torch.zeros(self.size, dtype=torch.int64)
        counts[self.rank] = len(rows)
        ends = self.sum(counts, f"{name}.counts").cumsum(0)
        all_rows = torch.zeros(int(ends[-1]), *rows.shape[1:], dtype=rows.dtype)
        all_rows[ends[self.rank] - len(rows) : ends[self.rank]] = rows
        return self.sum(all_rows, name)


def on_ranks(size: int, work: Callable[[GatheringComm], Answer]) -> list[Answer]:
    """What `work` returns on each of `size` ranks."""
    return rank_threads.on_ranks(size, lambda comm: work(GatheringComm(comm)))
