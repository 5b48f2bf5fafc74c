"""How an epoch is dealt out to ranks: as many steps for each, and what is left over said before the first one.

Place p of an epoch (order.py) belongs to step (p - start) // (size x batch_size) and rank p % size, so that a step of
all ranks together is a stretch of places: the same rows for any number of ranks, as long as size x batch_size is.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_images.errors import InputError
from ml_images.train.dataset import Split


@dataclass(frozen=True)
class EpochPlan:
    """How many steps every rank makes in a training epoch, and how many of the rows no step gets to."""

    rows: int
    steps: int
    batch_size: int
    size: int

    @property
    def remainder(self) -> int:
        return self.rows - self.steps * self.rows_per_step

    @property
    def rows_per_step(self) -> int:
        return self.batch_size * self.size

    def steps_from(self, place: int) -> int:
        """The steps that are left when `place` rows of the epoch have been consumed, perhaps by another plan."""
        return max(0, self.rows - place) // self.rows_per_step

    def __str__(self) -> str:
        return (
            f"{self.rows} rows = {self.steps} steps x {self.size} ranks x {self.batch_size} images"
            f" + {self.remainder} left over (others each epoch)"
        )


@dataclass(frozen=True)
class Stretch:
    """The places of an epoch that one rank reads: `steps` batches of `batch_size` from place `start` on."""

    rank: int
    size: int
    batch_size: int
    start: int
    steps: int

    @property
    def end(self) -> int:
        """The first place that no rank reads any more; may lie behind the end of the epoch (evaluation)."""
        return self.start + self.steps * self.batch_size * self.size

    def places(self, step: int) -> npt.NDArray[np.int64]:
        """int64 (batch_size): the places of this rank in its step number `step`."""
        first = self.start + step * self.batch_size * self.size
        # The first place from `first` on that is this rank's: a resumed epoch may start anywhere.
        return first + (self.rank - first) % self.size + np.arange(self.batch_size, dtype=np.int64) * self.size


def plan_epoch(split: Split, batch_size: int, size: int, rows: int | None = None, accumulate: int = 1) -> EpochPlan:
    """The plan of a training epoch over `rows` places (all rows, unless some come several times), in which the
    `accumulate` batches that a step has on each rank count as one.

    Raises InputError when there is not one full step for each rank.
    """
    rows = split.rows if rows is None else rows
    images = batch_size * accumulate
    steps = rows // (images * size)
    if not steps and rows < size:
        raise InputError(f"{split.location} has {rows} rows for {size} ranks: start at most {rows} ranks")
    if not steps:
        pieces = f" x engine.accumulate={accumulate} = {images}" if accumulate > 1 else ""
        raise InputError(
            f"data.batch_size={batch_size}{pieces} on {'one rank' if size == 1 else f'each of {size} ranks'} is more "
            f"than the {rows} rows of {split.location}: choose at most {rows // size}"
        )
    return EpochPlan(rows, steps, images, size)


def times_read(lanes: int, size: int) -> int:
    """How many of `size` ranks read each row group: those whose places fall into its lane (order.py)."""
    return size // math.gcd(lanes, size)


def training_stretch(rows: int, batch_size: int, rank: int, size: int, place: int) -> Stretch:
    """What is left behind `place` of an epoch of `rows` rows, in whole batches, as many for every rank."""
    return Stretch(rank, size, batch_size, place, max(0, rows - place) // (batch_size * size))


def evaluation_stretch(rows: int, batch_size: int, rank: int, size: int) -> Stretch:
    """All rows, over all ranks; places behind the last row are padding, so that all ranks make as many steps."""
    return Stretch(rank, size, batch_size, 0, -(-rows // (batch_size * size)))
