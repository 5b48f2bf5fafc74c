"""Ranks as threads of one process: exactness over ranks without the seconds that processes take to start."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ml_images.train.comm import LocalComm
from ml_images.train.gradients import Compression, GradientAverage, Wait

Answer = TypeVar("Answer")


class ThreadComm(LocalComm):
    """One of `size` ranks that wait for each other at every sum; ranks that ask for different sums fail."""

    def __init__(
        self,
        rank: int,
        size: int,
        barrier: threading.Barrier,
        table: dict[int, tuple[str, Tensor]],
        bucket_bytes: int = 0,
    ) -> None:
        self.rank, self.size = rank, size
        self._barrier, self._table, self._bucket_bytes = barrier, table, bucket_bytes
        self.sent: list[str] = []  # names of the gradients, in their order

    def __deepcopy__(self, memo: dict[int, Any]) -> "ThreadComm":
        return self

    def sum(self, values: Tensor, name: str) -> Tensor:
        self._table[self.rank] = (name, values.clone())
        self._barrier.wait()
        told = [self._table[rank] for rank in range(self.size)]
        self._barrier.wait()
        assert {asked for asked, _ in told} == {name}
        return torch.stack([part for _, part in told]).sum(dim=0)

    def gather(self, rows: Tensor, name: str) -> Tensor:
        counts = torch.zeros(self.size, dtype=torch.int64)
        counts[self.rank] = len(rows)
        ends = self.sum(counts, f"{name}.counts").cumsum(0)
        all_rows = torch.zeros(int(ends[-1]), *rows.shape[1:], dtype=rows.dtype)
        all_rows[ends[self.rank] - len(rows) : ends[self.rank]] = rows
        return self.sum(all_rows, name)

    def average_gradients(self, model: nn.Module, compression: Compression = "none") -> GradientAverage:
        def start_sum(values: Tensor, name: str) -> Wait:
            self.sent.append(name)

            def wait() -> None:
                values.copy_(self.sum(values, name))

            return wait

        return GradientAverage(model, self.size, start_sum, self._bucket_bytes, compression)


def on_ranks(size: int, work: Callable[[ThreadComm], Answer], bucket_bytes: int = 0) -> list[Answer]:
    """What `work` returns on each of `size` ranks, whose gradients travel in buckets of that many bytes."""
    barrier: threading.Barrier = threading.Barrier(size, timeout=20)
    table: dict[int, tuple[str, Tensor]] = {}

    def run(rank: int) -> Answer:
        try:
            return work(ThreadComm(rank, size, barrier, table, bucket_bytes))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))
