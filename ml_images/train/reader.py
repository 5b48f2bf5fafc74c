"""Rows in the order of an epoch as batches of pixels and targets: what comes is a function of the plan, not of timing.

Some threads read row groups, in the order in which these are first needed and only as far ahead as memory was promised;
others decode pictures into batches that exist already. The caller gets the batches in their order, and what is done
ahead of him ends where BATCHES_AHEAD are ready.
"""

import collections
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from math import gcd
from typing import Literal, NamedTuple, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_images.errors import InputError
from ml_images.schemas import UNKNOWN
from ml_images.train.decode import BadImage
from ml_images.train.order import EpochOrder, Piece
from ml_images.train.plan import Stretch
from ml_images.train.row_groups import Row, RowGroup, RowGroups

BATCHES_AHEAD = 2  # being decoded, or ready, while a step runs
_ROWS_AT_ONCE = 8  # decoded by a thread before it asks again: 5 ms

BadImages = Literal["raise", "skip"]
Fill = Callable[[Row, int, NDArray[np.uint8]], None]  # row, its place, where its pixels go

log = logging.getLogger(__name__)


class SparseTargets(NamedTuple):
    """Image i has the classes classes[offsets[i]:offsets[i + 1]], and as many confidences."""

    offsets: Tensor  # int64 (batch + 1)
    classes: Tensor  # int64
    confidences: Tensor  # float32

    def dense(self, num_classes: int, mask: Tensor, device: torch.device) -> Tensor:
        """float32 (batch, num_classes) on `device`: a confidence, 0 absent, UNKNOWN not told; UNKNOWN throughout for
        images that `mask` leaves out, so that they count for nothing."""
        batch = len(self.offsets) - 1
        targets = torch.zeros((batch, num_classes), dtype=torch.float32, device=device)
        targets[~mask.to(device, non_blocking=True)] = UNKNOWN
        image = torch.repeat_interleave(torch.arange(batch), self.offsets.diff())
        cells = (image * num_classes + self.classes).to(device, non_blocking=True)
        targets.view(-1)[cells] = self.confidences.to(device, non_blocking=True)
        return targets

    def only(self, mask: Tensor) -> "SparseTargets":
        """Without the labels of images that `mask`, bool (batch,), leaves out."""
        lengths = self.offsets.diff()
        kept = torch.repeat_interleave(mask, lengths)
        offsets = torch.cat([self.offsets[:1], (lengths * mask).cumsum(0)])
        return SparseTargets(offsets, self.classes[kept], self.confidences[kept])


class Batch(NamedTuple):
    """`images` is lent: the next batch but one may be written into it."""

    keys: list[str]  # empty where `mask` is False
    places: NDArray[np.int64]  # in the epoch
    images: Tensor  # uint8 (batch, 3, side, side), channels last in memory
    targets: SparseTargets
    mask: Tensor  # bool (batch,): False for what pads the last batch, and for broken pictures that are skipped
    skipped: int = 0  # broken pictures among them


@dataclass
class Stages:
    """Seconds that each stage took with all of its threads at work, so the larger one is what all wait for."""

    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "decode": 0.0})
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def slowest(self) -> str:
        return max(self.seconds, key=self.seconds.__getitem__)

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] += seconds


@dataclass(frozen=True)
class Reader:
    """What all epochs of a run share. side: of the pictures; num_classes: what targets may name. How much memory it
    takes is told by reading_memory.py."""

    groups: RowGroups
    side: int
    num_classes: int
    threads: int
    bad_images: BadImages = "raise"
    stages: Stages = field(default_factory=Stages)

    def batches(self, order: EpochOrder, stretch: Stretch, fill: Fill) -> Iterator[Batch]:
        """The batches of `stretch`, one after the other. Raises InputError for a damaged file and, unless those are
        skipped, for a broken picture."""
        ring = collections.deque(self._slots(stretch.batch_size) for _ in range(BATCHES_AHEAD + 1))
        held = HeldGroups(self.groups, order, stretch, self.stages)
        reading = ThreadPoolExecutor(self.groups.at_once, thread_name_prefix="read")
        decoding = ThreadPoolExecutor(self.threads, thread_name_prefix="decode")
        ahead: collections.deque[_Begun] = collections.deque()
        try:
            for step in range(stretch.steps):
                if len(ahead) == BATCHES_AHEAD:
                    yield self._finish(ahead[0])
                    ring.append(ahead.popleft().images)
                held.advance(step, step - len(ahead), reading)
                ahead.append(self._begin(held.rows(step), stretch.places(step), ring.popleft(), fill, decoding))
            while ahead:
                yield self._finish(ahead.popleft())
        finally:
            for pool in (reading, decoding):
                pool.shutdown(wait=True, cancel_futures=True)

    def _slots(self, batch_size: int) -> Tensor:
        shape = (batch_size, self.side, self.side, 3)
        return torch.zeros(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())

    def _begin(
        self,
        rows: list[tuple[RowGroup, int] | None],
        places: NDArray[np.int64],
        images: Tensor,
        fill: Fill,
        pool: ThreadPoolExecutor,
    ) -> "_Begun":
        slots: NDArray[np.uint8] = images.numpy()
        work = list(enumerate(rows))
        shares = (work[start : start + _ROWS_AT_ONCE] for start in range(0, len(work), _ROWS_AT_ONCE))
        return _Begun(places, images, [pool.submit(self._fill, share, places, slots, fill) for share in shares])

    def _fill(
        self,
        work: list[tuple[int, tuple[RowGroup, int] | None]],
        places: NDArray[np.int64],
        slots: NDArray[np.uint8],
        fill: Fill,
    ) -> "_Filled":
        began, skipped = time.perf_counter(), 0
        rows: list[Row] = []
        keys, lengths, present, where = [""] * len(work), [0] * len(work), [False] * len(work), []
        for nth, (slot, found) in enumerate(work):
            if found is None:
                slots[slot] = 0
                continue
            group, number = found
            row = group.row(number)
            try:
                fill(row, int(places[slot]), slots[slot])
            except BadImage as error:
                told = f"the image of key '{row.key}' ({group.place}, row {number}) cannot be decoded: {error}"
                if self.bad_images == "raise":
                    raise InputError(f"{told}; data.bad_images=skip leaves such pictures out") from error
                log.warning("%s: skipped", told)
                skipped += 1
                slots[slot] = 0
                continue
            rows.append(row)
            where.append(group.place)
            keys[nth], lengths[nth], present[nth] = row.key, len(row.classes), True
        filled = _Filled(keys, lengths, present, *_labels_of(rows), skipped)
        if not (_are_classes(filled.classes, self.num_classes) and _are_confidences(filled.confidences)):
            self._refuse(rows, where)
        work.clear()  # the thread has its task in hand until long after the batch is ready, and with it row groups
        self.stages.add("decode", (time.perf_counter() - began) / self.threads)
        return filled

    def _refuse(self, rows: list[Row], where: list[str]) -> NoReturn:
        """One of the rows, each from its place, has labels that cannot be."""
        for row, place in zip(rows, where, strict=True):
            if not _are_classes(row.classes, self.num_classes):
                raise InputError(
                    f"key '{row.key}' ({place}) has classes {row.classes.tolist()}, the manifest says "
                    f"{self.num_classes} classes"
                )
            if not _are_confidences(row.confidences):
                raise InputError(
                    f"key '{row.key}' ({place}) has confidences {row.confidences.tolist()}; they are 0 to 1, or "
                    f"{UNKNOWN:g} for unknown"
                )
        raise AssertionError("no row is wrong alone")

    def _finish(self, begun: "_Begun") -> Batch:
        wait(begun.tasks, return_when=FIRST_EXCEPTION)  # wakes this thread once and not for each share
        shares = [task.result() for task in begun.tasks]
        keys = list(itertools.chain.from_iterable(share.keys for share in shares))
        lengths = np.concatenate([[0], *(share.lengths for share in shares)])
        classes = np.concatenate([share.classes for share in shares])
        sure = np.concatenate([share.confidences for share in shares])
        return Batch(
            keys,
            begun.places,
            begun.images.permute(0, 3, 1, 2),
            SparseTargets(
                torch.from_numpy(np.cumsum(lengths)),
                torch.from_numpy(classes.astype(np.int64)),
                torch.from_numpy(sure),
            ),
            torch.tensor([each for share in shares for each in share.present]),
            sum(share.skipped for share in shares),
        )


def _are_classes(classes: NDArray[np.int32], num_classes: int) -> bool:
    return not len(classes) or bool(0 <= classes.min() <= classes.max() < num_classes)


def _are_confidences(sure: NDArray[np.float32]) -> bool:
    return bool((((sure >= 0) & (sure <= 1)) | (sure == UNKNOWN)).all())


def _labels_of(rows: list[Row]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Classes and confidences of rows, one after the other."""
    if not rows:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    return np.concatenate([row.classes for row in rows]), np.concatenate([row.confidences for row in rows])


class _Filled(NamedTuple):
    """What a thread knows of its share of a batch, beside the pixels."""

    keys: list[str]
    lengths: list[int]  # how many labels each has
    present: list[bool]  # False for what is no row, or a broken picture
    classes: NDArray[np.int32]
    confidences: NDArray[np.float32]
    skipped: int  # broken pictures


class _Begun(NamedTuple):
    places: NDArray[np.int64]
    images: Tensor  # (batch, side, side, 3)
    tasks: list[Future[_Filled]]


class HeldGroups:
    """The row groups that a rank holds: read before they are needed, as far ahead as `limit` allows, and let go after
    the last picture of theirs was decoded."""

    def __init__(self, groups: RowGroups, order: EpochOrder, stretch: Stretch, stages: Stages) -> None:
        self._groups, self._order, self._stretch, self._stages = groups, order, stretch, stages
        end = min(stretch.end, order.total)
        self._pieces = collections.deque(order.pieces(stretch.rank, stretch.size, stretch.start, end))
        self.limit = most_held(self._pieces, order.lanes, stretch)
        self._held: dict[int, tuple[Piece, Future[_Loaded]]] = {}  # by row group, of the pieces in turn

    def advance(self, step: int, oldest: int, pool: ThreadPoolExecutor) -> None:
        """Before `step`: let go of what steps before `oldest`, whose pictures are still being decoded, were the last to
        need, and read on."""
        assert step - oldest < BATCHES_AHEAD
        first = self._stretch.start + oldest * self._stretch.batch_size * self._stretch.size
        for group in [group for group, (piece, _) in self._held.items() if piece.last < first]:
            del self._held[group]
        while self._pieces and len(self._held) < self.limit:
            piece = self._pieces.popleft()
            if piece.group in self._held:  # the end of one lane and the beginning of another
                other, loaded = self._held[piece.group]
                self._held[piece.group] = other._replace(last=max(other.last, piece.last)), loaded
            else:
                self._held[piece.group] = piece, pool.submit(self._load, piece.group)

    def rows(self, step: int) -> list[tuple[RowGroup, int] | None]:
        """(row group, row of it) at each place of the rank in `step`; None behind the end of the epoch."""
        places = self._stretch.places(step)
        inside = places < self._order.total
        groups, nth = self._order.at(np.where(inside, places, 0))
        found: list[tuple[RowGroup, int] | None] = []
        for is_inside, group, number in zip(inside.tolist(), groups.tolist(), nth.tolist(), strict=True):
            if not is_inside:
                found.append(None)
                continue
            loaded = self._held[group][1].result()
            found.append((loaded.group, int(loaded.rows[number])))
        return found

    def _load(self, group: int) -> "_Loaded":
        began = time.perf_counter()
        loaded = _Loaded(self._groups.read(group), self._order.rows_of(group))
        self._stages.add("read", (time.perf_counter() - began) / self._groups.at_once)
        return loaded


class _Loaded(NamedTuple):
    group: RowGroup
    rows: NDArray[np.int64]  # of it, in the order of the epoch


def most_held(pieces: Iterable[Piece], lanes: int, stretch: Stretch) -> int:
    """How many row groups a rank holds at most: two for each of its lanes, the one that is being used and the next, or
    as many as a step and those before it that are still being decoded need, where row groups are small."""
    begun = np.zeros(stretch.steps + BATCHES_AHEAD, np.int64)  # less ended, summed up: needed at each step
    per_step = stretch.batch_size * stretch.size
    for piece in pieces:
        begun[(piece.first - stretch.start) // per_step] += 1
        begun[(piece.last - stretch.start) // per_step + BATCHES_AHEAD] -= 1
    return max(2 * lanes_of_rank(lanes, stretch.size), int(begun.cumsum().max()))


def lanes_of_rank(lanes: int, size: int) -> int:
    """From how many lanes a rank takes its rows."""
    return lanes // gcd(lanes, size)
