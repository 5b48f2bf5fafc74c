"""A run that outlives its ranks: when some are lost or others come, those that are there go on together.

Every few steps each rank copies the run into its own memory, the commit. When a rank is lost, the others fall back to
the commit of the one that is rank 0 then. What was trained since is undone and trained again, by as many ranks as
there are: each row of an epoch shapes the weights once, but for those that are left over, as ever. When a rank comes,
nothing is undone. Who is rank 0 without a commit, as all others are gone, begins as any run does: at a checkpoint.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ml_images.errors import InputError
from ml_images.options import option
from ml_images.train.checkpoint import Position
from ml_images.train.comm import Comm, RanksLost
from ml_images.train.run_state import RunState

MOST_LOSSES = 5  # in a row behind one commit: a row on which every rank fails would otherwise be tried for ever

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ElasticConfig:
    commit_every_steps: int = option(
        50, "with horovodrun --min-np: steps between copies of the run in memory, to which a lost rank throws it back"
    )

    def __post_init__(self) -> None:
        if self.commit_every_steps < 1:
            raise ValueError(f"elastic.commit_every_steps must be >= 1, got {self.commit_every_steps}")


class Commit:
    """A copy of a run in the memory of this process, of the tensors that a checkpoint holds and of the place."""

    def __init__(self, every_steps: int) -> None:
        self._every_steps = every_steps
        self._tensors: dict[str, Tensor] = {}
        self._position: Position | None = None
        self._losses = 0  # of ranks, since there is this commit

    @property
    def position(self) -> Position | None:
        """None where there was no commit yet. Raises InputError when too many ranks were lost behind it."""
        if self._position and self._losses > MOST_LOSSES:
            raise InputError(
                f"ranks were lost {self._losses} times behind step {self._position.step}, and the run came no further: "
                "what they said before they ended is above"
            )
        return self._position

    def take_if_due(self, state: RunState, position: Position) -> None:
        """A step or an epoch is done."""
        if position.step % self._every_steps == 0 or position.step_in_epoch == 0:
            self.take(state, position)

    def take(self, state: RunState, position: Position) -> None:
        """Copy `state`, at `position`, over what was copied before."""
        if self._position is None or position.step > self._position.step:
            self._losses = 0
        self._tensors = {name: _copy(tensor, self._tensors.get(name)) for name, tensor in state.tensors().items()}
        self._position = position

    def restore(self, state: RunState) -> None:
        """Put `state` back where the copy was taken."""
        state.load(self._tensors)

    def count_loss(self) -> None:
        """A rank was lost."""
        self._losses += 1


def _copy(tensor: Tensor, room: Tensor | None) -> Tensor:
    """`tensor` in host memory; in `room`, if that is as large, which saves the pages."""
    if room is None or room.shape != tensor.shape:
        return tensor.detach().to("cpu", copy=True)
    return room.copy_(tensor.detach())


@runtime_checkable
class ChangingComm(Comm, Protocol):
    """The processes of a run that may be lost, and others that may come: comm.ElasticComm."""

    def is_changing(self) -> bool:
        """Whether `regroup` would make another group of ranks; may be known to rank 0 alone."""

    def regroup(self) -> None:
        """Leave this group and wait for the next one. Raises RanksLost when one is lost meanwhile."""


def through_changes(
    train: Callable[[Callable[[], bool]], bool], comm: ChangingComm, stopped: Callable[[], bool], commit: Commit
) -> None:
    """Call `train(stop)`, and again with other ranks whenever ranks were lost or have come, until the run is over.

    `train` goes on at `commit`, ends early when `stop()` is true on any rank, and says whether the run is done. It is
    over, too, when `stopped()` is true on any rank then.
    """
    while True:
        try:
            if train(lambda: stopped() or comm.is_changing()):
                return
            if comm.sum(torch.tensor([stopped()], dtype=torch.int32), "stopped"):
                return
        except RanksLost as error:
            log.warning("%s; going on with those that are left", error)
            commit.count_loss()
        while not _meet(comm, commit):
            pass


def _meet(comm: ChangingComm, commit: Commit) -> bool:
    """Wait for the next group of ranks; whether all of them were there."""
    try:
        comm.regroup()
    except RanksLost as error:
        log.warning("%s; trying again", error)
        commit.count_loss()
        return False
    return True
