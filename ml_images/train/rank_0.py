"""Rank 0 looks, decides and speaks; the others are told.

What is wrong is wrong on all ranks at once, and a hundred copies of one line hide it: only rank 0 says so.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from ml_images.errors import InputError, StorageError
from ml_images.train.comm import Comm

LET_RANK_0_SPEAK_S = 5.0


def from_rank_0(comm: Comm, make: Callable[[], Any], name: str) -> Any:
    """What `make` returns on rank 0 (JSON), on every rank.

    When it raises InputError or StorageError there, the other ranks leave with exit code 2 and rank 0 alone tells why.
    """
    answer: Any = None
    if comm.rank == 0:
        try:
            answer = {"value": make()}
        except (InputError, StorageError):
            comm.broadcast_json({}, name)
            raise
    answer = comm.broadcast_json(answer, name)
    if "value" not in answer:
        _leave_to_rank_0()
    return answer["value"]


@contextmanager
def said_by_rank_0(rank: int) -> Iterator[None]:
    """Around what raises InputError on all ranks or on none: the others leave with exit code 2, without a word."""
    try:
        yield
    except InputError:
        if rank:
            _leave_to_rank_0()
        raise


def _leave_to_rank_0() -> NoReturn:
    """End this rank, late enough for rank 0 to say why.

    horovodrun ends all ranks as soon as the first one fails, which has to be the one that speaks.
    """
    time.sleep(LET_RANK_0_SPEAK_S)
    raise SystemExit(2)
