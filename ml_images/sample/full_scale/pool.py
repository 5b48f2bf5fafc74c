"""Blocks made by several processes and given in order, a few in memory at a time."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ml_images.sample.full_scale.blocks import Block, Facts, Maker

Made: TypeAlias = tuple[npt.NDArray[np.uint8], Facts]  # the bytes of a block's lines, what is in them
Making: TypeAlias = Callable[[Iterable[Block]], Iterator[Made]]


@contextmanager
def making(maker: Maker, processes: int) -> Iterator[Making]:
    """A function that makes blocks with `maker`, in this process or, for more than one, in as many others."""
    if processes == 1:
        yield lambda blocks: map(maker.make, blocks)
        return
    # Spawned: a fork of a process that has threads (numba's, a notebook's) may hang.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _start, (maker,))
    try:
        yield lambda blocks: _in_order(pool, blocks, processes + 1)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, blocks: Iterable[Block], at_once: int) -> Iterator[Made]:
    under_way: deque[Future[Made]] = deque()
    for block in blocks:
        under_way.append(pool.submit(_make, block))
        if len(under_way) == at_once:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


_makers: list[Maker] = []  # of a process of the pool: the one that makes all its blocks


def _start(maker: Maker) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    _makers[:] = [maker]


def _make(block: Block) -> Made:
    return _makers[0].make(block)
