import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.train.dataset import Split
from ml_images.train.group_size import GroupSize
from ml_images.train.plan import EpochPlan, Stretch, evaluation_stretch, plan_epoch, times_read


def split_of(*row_groups: int) -> Split:
    return Split("somewhere", 1, 1, ("a",), (len(row_groups),), row_groups, GroupSize())


def test_batches_of_a_step_are_planned_as_one_and_told_apart() -> None:
    split = split_of(24, 24, 24, 24)
    assert plan_epoch(split, 10, 2, accumulate=2) == plan_epoch(split, 20, 2)
    line = r"^data.batch_size=15 x engine.accumulate=4 = 60 on each of 2 ranks is more than the 96 rows of somewhere: "
    with pytest.raises(InputError, match=line + "choose at most 48$"):
        plan_epoch(split, 15, 2, accumulate=4)


def test_the_plan_says_what_it_leaves_over() -> None:
    plan = plan_epoch(split_of(24, 24, 25, 24), 10, 2)
    assert str(plan).startswith("97 rows = 4 steps x 2 ranks x 10 images + 17 left over")


def test_row_groups_are_read_once_where_ranks_divide_the_lanes() -> None:
    ranks = {1: 1, 8: 1, 16: 1, 32: 1, 24: 3, 20: 5, 31: 31, 33: 33, 64: 2}
    assert {size: times_read(32, size) for size in ranks} == ranks


def test_more_ranks_than_row_groups_are_planned() -> None:
    assert plan_epoch(split_of(24, 24, 25), 2, 8).steps == 4


@pytest.mark.parametrize(
    ("batch_size", "size", "line"),
    [
        (50, 2, "data.batch_size=50 on each of 2 ranks is more than the 96 rows .* at most 48"),
        (1, 97, "start at most 96 ranks"),
    ],
)
def test_what_cannot_fill_one_step_is_refused_with_what_can(batch_size: int, size: int, line: str) -> None:
    with pytest.raises(InputError, match=line):
        plan_epoch(split_of(24, 24, 24, 24), batch_size, size)


@given(st.integers(1, 200), st.integers(1, 32), st.integers(1, 9), st.integers(0, 60))
def test_ranks_share_the_places_of_every_step(steps: int, size: int, batch_size: int, start: int) -> None:
    stretches = [Stretch(rank, size, batch_size, start, steps) for rank in range(size)]
    for step in {0, steps // 2, steps - 1}:
        places = np.concatenate([stretch.places(step) for stretch in stretches])
        first = start + step * batch_size * size
        assert sorted(places.tolist()) == list(range(first, first + batch_size * size))
    assert {int(place) % size for place in stretches[-1].places(0)} == {size - 1}
    assert stretches[0].end == start + steps * batch_size * size


@given(st.integers(0, 5000), st.integers(1, 32), st.integers(1, 40))
def test_an_evaluation_makes_as_many_steps_on_every_rank_and_reaches_all_rows(
    rows: int, size: int, batch_size: int
) -> None:
    stretches = [evaluation_stretch(rows, batch_size, rank, size) for rank in range(size)]
    assert len({stretch.steps for stretch in stretches}) == 1
    assert rows <= stretches[0].end < rows + batch_size * size


@given(st.integers(1, 5000), st.integers(1, 9), st.integers(1, 32), st.integers(0, 5000))
def test_what_is_left_of_an_epoch_is_counted_in_whole_steps(rows: int, batch: int, size: int, place: int) -> None:
    plan = EpochPlan(rows, rows // (batch * size), batch, size)
    assert plan.steps_from(0) == plan.steps
    assert place + plan.steps_from(place) * batch * size <= max(rows, place)
