"""The reader over row groups that are made up: every promise for any number of ranks, threads and rows."""

import threading
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.train.dataset import Split
from ml_images.train.decode import BadImage
from ml_images.train.group_size import GroupSize
from ml_images.train.order import EpochOrder
from ml_images.train.plan import Stretch, evaluation_stretch
from ml_images.train.reader import (
    BATCHES_AHEAD,
    Batch,
    HeldGroups,
    Reader,
    Stages,
    lanes_of_rank,
    most_held,
)
from ml_images.train.reading_memory import most_bytes
from ml_images.train.row_groups import Row, RowGroup

SIDE = 2


class Groups:
    """Row groups whose key says where a row lies; counts what is read."""

    at_once = 2

    def __init__(self, sizes: list[int], slow_s: float = 0.0, image: bytes = b"picture", sure: float = 0.5) -> None:
        self.sizes, self.slow_s, self.image, self.sure = sizes, slow_s, image, sure
        self.read_groups: list[int] = []
        self._lock = threading.Lock()

    def read(self, group: int) -> RowGroup:
        with self._lock:
            self.read_groups.append(group)
        if self.slow_s:
            time.sleep(self.slow_s * (group % 3))
        rows = self.sizes[group]
        keys = pa.array([f"{group}.{row}" for row in range(rows)], pa.string())
        classes = np.arange(rows, dtype=np.int32) % 5
        sure = np.full(rows, self.sure, np.float32)
        images = [self.image] * rows
        return RowGroup(f"file, row group {group}", keys, images, np.arange(rows + 1, dtype=np.int64), classes, sure)

    def beside(self, size: GroupSize) -> int:
        return 0


def fill(row: Row, place: int, out: np.ndarray) -> None:
    """Pixels that tell the place."""
    out[:] = place % 251


def reader(groups: Groups, threads: int = 2, **options: Any) -> Reader:
    return Reader(groups, SIDE, 5, threads, **options)


def order_of(groups: Groups, lanes: int, seed: int | None = 1, epoch: int = 0) -> EpochOrder:
    return EpochOrder(np.array(groups.sizes, np.int64), lanes, seed, epoch)


def keys_of(batches: Iterator[Batch] | list[Batch]) -> list[str]:
    return [key for batch in batches for key in batch.keys if key]


def all_keys(sizes: list[int]) -> list[str]:
    return sorted(f"{group}.{row}" for group, rows in enumerate(sizes) for row in range(rows))


sizes_strategy = st.lists(st.integers(0, 40), min_size=1, max_size=14).filter(any)


@settings(max_examples=30)
@given(sizes_strategy, st.integers(1, 32), st.integers(1, 12), st.integers(1, 9), st.integers(1, 3), st.data())
def test_an_epoch_interrupted_anywhere_shows_every_row_once_on_any_numbers_of_ranks(
    sizes: list[int], size: int, lanes: int, batch_size: int, threads: int, data: st.DataObject
) -> None:
    groups = Groups(sizes)
    total = sum(sizes)
    shown: list[str] = []
    place = 0
    while total - place >= batch_size * size:  # run by run, each with its own ranks
        steps = data.draw(st.integers(1, (total - place) // (batch_size * size)))
        for rank in range(size):
            stretch = Stretch(rank, size, batch_size, place, steps)
            batches = list(reader(groups, threads).batches(order_of(groups, lanes), stretch, fill))
            assert [len(batch.keys) for batch in batches] == [batch_size] * steps
            assert all(bool(batch.mask.all()) for batch in batches)
            shown += keys_of(batches)
        place += steps * batch_size * size
        size, batch_size = data.draw(st.integers(1, 32)), data.draw(st.integers(1, 9))
    assert len(shown) == len(set(shown)) == place
    stretch = Stretch(0, 1, 1, place, total - place)
    shown += keys_of(reader(groups).batches(order_of(groups, lanes), stretch, fill))
    assert sorted(shown) == all_keys(sizes)


@settings(max_examples=30)
@given(sizes_strategy, st.integers(1, 32), st.integers(1, 12), st.integers(1, 9))
def test_an_evaluation_shows_every_row_once_in_equal_steps_and_pads_the_rest(
    sizes: list[int], size: int, lanes: int, batch_size: int
) -> None:
    groups, shown = Groups(sizes), []
    steps = set()
    for rank in range(size):
        stretch = evaluation_stretch(sum(sizes), batch_size, rank, size)
        batches = list(reader(groups).batches(order_of(groups, lanes, seed=None), stretch, fill))
        steps.add(len(batches))
        shown += keys_of(batches)
        assert all(
            bool(key) == bool(seen) for batch in batches for key, seen in zip(batch.keys, batch.mask, strict=True)
        )
    assert sorted(shown) == all_keys(sizes)
    assert len(steps) == 1


@settings(max_examples=30)
@given(sizes_strategy, st.integers(1, 8), st.integers(1, 4), st.sampled_from([1, 2, 4, 8]), st.integers(1, 8))
def test_a_step_of_all_ranks_is_the_same_rows_however_many_there_are(
    sizes: list[int], lanes: int, per_rank: int, size: int, threads: int
) -> None:
    groups, step_rows = Groups(sizes), 8 * per_rank
    steps = sum(sizes) // step_rows
    alone = list(reader(groups).batches(order_of(groups, lanes), Stretch(0, 1, step_rows, 0, steps), fill))
    ranks = [
        list(
            reader(groups, threads).batches(
                order_of(groups, lanes), Stretch(r, size, step_rows // size, 0, steps), fill
            )
        )
        for r in range(size)
    ]
    for step in range(steps):
        assert set(alone[step].keys) == {key for batches in ranks for key in batches[step].keys}


@pytest.mark.parametrize("sure", [1.001953125, -0.5, float("nan")])
def test_confidences_out_of_range_are_named(sure: float) -> None:
    groups = Groups([3], sure=sure)
    with pytest.raises(InputError, match=r"^key '0\.\d' \(file, row group 0\) has confidences .* or -1 for unknown$"):
        list(reader(groups).batches(order_of(groups, 1), Stretch(0, 1, 3, 0, 1), fill))


def test_what_comes_does_not_depend_on_timing() -> None:
    sizes = [9, 14, 3, 20, 11, 7]

    def epoch(threads: int, slow_s: float) -> list[tuple[list[str], list[int]]]:
        groups = Groups(sizes, slow_s)
        batches = reader(groups, threads).batches(order_of(groups, 3), Stretch(0, 1, 4, 0, 16), fill)
        return [(batch.keys, batch.images[:, 0, 0, 0].tolist()) for batch in batches]

    assert epoch(1, 0.0) == epoch(6, 0.004)


def test_pixels_and_targets_are_those_of_the_row() -> None:
    groups = Groups([7, 8])
    for batch in reader(groups).batches(order_of(groups, 2), Stretch(0, 1, 3, 0, 5), fill):
        assert batch.images.shape == (3, 3, SIDE, SIDE) and batch.images.dtype == torch.uint8
        assert batch.images[:, 0, 0, 0].tolist() == (batch.places % 251).tolist()
        assert batch.targets.classes.tolist() == [int(key.split(".")[1]) % 5 for key in batch.keys]
        dense = batch.targets.dense(5, batch.mask, torch.device("cpu"))
        assert dense.sum(dim=1).tolist() == [0.5] * 3


def test_a_batch_is_not_written_over_before_the_next_but_one_is_asked_for() -> None:
    groups = Groups([60])
    batches = reader(groups).batches(order_of(groups, 1), Stretch(0, 1, 4, 0, 15), fill)
    before = next(batches)
    for batch in batches:
        time.sleep(0.002)
        assert before.images[:, 0, 0, 0].tolist() == (before.places % 251).tolist()
        before = batch


def test_row_groups_are_read_once_by_the_rank_that_needs_them_where_ranks_divide_the_lanes() -> None:
    groups = Groups([12] * 16)
    for rank in range(4):
        list(reader(groups).batches(order_of(groups, 8), Stretch(rank, 4, 6, 0, 8), fill))
    assert sorted(groups.read_groups) == list(range(16))


def test_a_run_that_goes_on_reads_only_what_is_left() -> None:
    groups = Groups([12] * 16)
    list(reader(groups).batches(order_of(groups, 4), Stretch(0, 1, 12, 144, 4), fill))
    assert len(groups.read_groups) == 4


@settings(max_examples=60)
@given(sizes_strategy, st.integers(1, 12), st.integers(1, 9), st.integers(1, 20))
def test_a_rank_never_holds_more_row_groups_than_it_promised(
    sizes: list[int], lanes: int, size: int, batch_size: int
) -> None:
    class Pool:
        """Reads at once, in the order in which it is asked."""

        def submit(self, function: Any, group: int) -> Any:
            value = function(group)
            return type("Done", (), {"result": lambda _: value})()

    groups, order = Groups(sizes), order_of(Groups(sizes), lanes)
    steps = sum(sizes) // (batch_size * size)
    stretch = Stretch(0, size, batch_size, 0, steps)
    held = HeldGroups(groups, order, stretch, Stages())
    rows_at_once, pool = min(steps, 1) * batch_size, Pool()
    assert held.limit <= max(2 * lanes_of_rank(lanes, size), BATCHES_AHEAD * rows_at_once)
    for step in range(steps):
        held.advance(step, max(0, step + 1 - BATCHES_AHEAD), pool)
        assert len(held._held) <= held.limit
        assert all(found is not None for found in held.rows(step))


def test_threads_that_are_late_in_letting_go_hold_no_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread has a task in hand for as long as the machine makes it wait after the result is known."""
    living: list[weakref.ref[np.ndarray]] = []

    class Watched(Groups):
        def read(self, group: int) -> RowGroup:
            read = super().read(group)
            living.append(weakref.ref(read.offsets))
            return read

    def late(future: Future[Any], result: Any) -> None:
        told(future, result)
        if threading.current_thread().name.startswith("decode"):
            time.sleep(0.2)

    told = Future.set_result
    monkeypatch.setattr(Future, "set_result", late)
    groups, stretch = Watched([2] * 24), Stretch(0, 1, 4, 0, 12)
    order = order_of(groups, 4)
    limit = most_held(order.pieces(0, 1, 0, order.total), 4, stretch)
    for _ in reader(groups).batches(order, stretch, fill):
        assert sum(seen() is not None for seen in living) <= limit
    assert limit < len(living) == 24


def test_memory_is_what_was_told_and_flat_over_fifty_epochs() -> None:
    picture = bytes(50_000)
    groups, stretch = Groups([8] * 24, image=picture), Stretch(0, 1, 4, 0, 48)
    largest = GroupSize(8, keys=80, pictures=8 * len(picture), labels=8)
    split = Split("somewhere", 5, 2, ("a",), (24,), tuple(groups.sizes), largest)
    told = most_bytes(reader(groups), split, 4, 1)
    highest, after = 0, []
    list(reader(groups).batches(order_of(groups, 2), stretch, fill))  # torch loads 27 MB of itself at first use
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes()
    for epoch in range(50):
        for batch in reader(groups).batches(order_of(groups, 2, epoch=epoch), stretch, fill):
            assert len(batch.keys) == 4
            highest = max(highest, tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - before)
        after.append(tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - before)
    tracemalloc.stop()
    assert highest <= told < sum(groups.sizes) * len(picture)
    assert max(after[25:]) < max(after[:25]) + len(picture)


def no_picture(row: Row, place: int, out: np.ndarray) -> None:
    if row.key == "0.3":
        raise BadImage("half of it is missing")
    out[:] = 1


def test_a_broken_picture_is_named_or_left_out() -> None:
    groups = Groups([6, 6])
    with pytest.raises(
        InputError, match=r"key '0.3' \(file, row group 0, row 3\) cannot be decoded: half of it is mis"
    ):
        list(reader(groups).batches(order_of(groups, 1), Stretch(0, 1, 4, 0, 3), no_picture))
    skipping = reader(groups, bad_images="skip")
    batches = list(skipping.batches(order_of(groups, 1), Stretch(0, 1, 4, 0, 3), no_picture))
    assert sorted(keys_of(batches)) == [key for key in all_keys([6, 6]) if key != "0.3"]
    assert [batch.skipped for batch in batches if batch.skipped] == [1]
    assert sum(len(batch.targets.classes) for batch in batches) == 11


def test_an_error_of_reading_comes_out_and_leaves_no_thread_behind() -> None:
    class Broken(Groups):
        def read(self, group: int) -> RowGroup:
            raise InputError("the disk is gone")

    before = threading.active_count()
    with pytest.raises(InputError, match="the disk is gone"):
        list(reader(Broken([5, 5])).batches(order_of(Groups([5, 5]), 1), Stretch(0, 1, 2, 0, 5), fill))
    groups = Groups([50])
    batches = reader(groups).batches(order_of(groups, 1), Stretch(0, 1, 2, 0, 25), fill)
    next(batches)
    batches.close()  # as a consumer that stops in the middle
    assert threading.active_count() == before


def test_stages_say_what_the_threads_did_and_which_of_them_the_others_wait_for() -> None:
    groups = Groups([9] * 3, slow_s=0.01)
    stages = Stages()
    list(reader(groups, stages=stages).batches(order_of(groups, 1), Stretch(0, 1, 9, 0, 3), fill))
    assert stages.seconds["read"] >= 0.03 / groups.at_once and stages.seconds["decode"] > 0

    def slowly(row: Row, place: int, out: np.ndarray) -> None:
        time.sleep(0.005)

    for threads, slowest in ((16, "read"), (1, "decode")):  # 27 pictures, 0.135 s of one thread; reading 0.12 s of two
        groups, stages = Groups([9] * 3, slow_s=0.04), Stages()
        list(reader(groups, threads, stages=stages).batches(order_of(groups, 1), Stretch(0, 1, 9, 0, 3), slowly))
        assert stages.slowest == slowest
