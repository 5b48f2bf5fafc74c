from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.budget import PIECE, Budget


class Body:
    """A transfer of so many bytes, read piece by piece while it is not paused."""

    def __init__(self, number: int, size: int, budget: Budget) -> None:
        self.number, self.left, self.held, self.budget = number, size, 0, budget
        self.is_paused = False

    def read(self) -> None:
        assert not self.is_paused
        piece = min(PIECE, self.left)
        self.left -= piece
        self.held += piece
        self.budget.taken += piece
        if self.left and self.budget.must_pause(self):
            self.is_paused = True

    def go_on(self) -> None:
        assert self.is_paused
        self.is_paused = False


@given(
    sizes=st.lists(st.integers(1, 40 * PIECE), max_size=30),
    most=st.integers(0, 60 * PIECE),
    dies=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 2**32),
)
def test_the_bound_holds_and_everybody_comes_to_an_end_whatever_the_order(
    sizes: list[int], most: int, dies: float, seed: int
) -> None:
    budget, rng = Budget(), Random(seed)
    budget.most = most
    under_way = [Body(number, size, budget) for number, size in enumerate(sizes)]
    complete: list[int] = []
    decoding: list[int] = []
    for _ in range(20_000):
        if not under_way and not complete and not decoding:
            break
        readable = [body for body in under_way if not body.is_paused]
        action = rng.randrange(3)
        if action == 0 and readable:
            body = rng.choice(readable)
            body.read()
            if body.left == 0 or rng.random() < dies:
                under_way.remove(body)
                budget.leave(body)
                if body.left:
                    budget.taken -= body.held
                else:
                    complete.append(body.held)
        elif action == 1 and complete:
            budget.taken -= complete[0]
            decoding.append(complete.pop(0))
        elif action == 2 and decoding:
            decoding.pop(0)
        budget.elsewhere = sum(decoding)
        budget.let_go_on(is_handing_over=bool(complete))
        assert budget.taken + budget.elsewhere <= most + max(sizes) + PIECE * len(sizes)
    assert not under_way and not complete and not decoding and budget.taken == 0


def paused(*sizes: int, most: int) -> tuple[Budget, list[Body]]:
    budget = Budget()
    budget.most = most
    bodies = [Body(number, size, budget) for number, size in enumerate(sizes)]
    for body in reversed(bodies):
        body.read()
    return budget, bodies


def test_nobody_waits_while_there_is_room() -> None:
    budget, bodies = paused(2 * PIECE, 2 * PIECE, most=2 * PIECE)
    assert not any(body.is_paused for body in bodies)
    budget.let_go_on(is_handing_over=False)


def test_those_go_on_that_there_is_room_for_the_oldest_first() -> None:
    budget, bodies = paused(*[3 * PIECE] * 4, most=0)
    budget.most = 6 * PIECE
    budget.let_go_on(is_handing_over=False)
    assert [body.is_paused for body in bodies] == [False, False, True, True]


@pytest.mark.parametrize(("elsewhere", "is_handing_over"), [(1, False), (0, True)])
def test_nobody_goes_beyond_while_room_will_come_back_by_itself(elsewhere: int, is_handing_over: bool) -> None:
    budget, bodies = paused(3 * PIECE, 3 * PIECE, most=PIECE // 2)
    budget.elsewhere = elsewhere
    budget.let_go_on(is_handing_over=is_handing_over)
    assert all(body.is_paused for body in bodies)


def test_only_the_oldest_goes_beyond_and_to_its_end() -> None:
    budget, bodies = paused(3 * PIECE, 3 * PIECE, 3 * PIECE, most=PIECE // 2)
    for _ in range(3):
        budget.let_go_on(is_handing_over=False)
        assert [body.is_paused for body in bodies] == [False, True, True]
    bodies[0].read()
    assert not bodies[0].is_paused
    bodies[0].read()
    budget.leave(bodies[0])
    budget.taken -= bodies[0].held
    budget.let_go_on(is_handing_over=False)
    assert [body.is_paused for body in bodies[1:]] == [False, True]
