"""Losing ranks and getting others, played by one process that is told so: the real ones are in tests/cluster."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ml_images.errors import InputError
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Position
from ml_images.train.comm import LocalComm, RanksLost
from ml_images.train.data import DataConfig
from ml_images.train.elastic import MOST_LOSSES, Commit, ElasticConfig, through_changes
from ml_images.train.ema import EmaConfig, WeightMean
from ml_images.train.job import TrainJob
from ml_images.train.losses import LossConfig, make_loss
from ml_images.train.model import ModelConfig
from ml_images.train.optimizers import OptimConfig, build_optimizer
from ml_images.train.run_state import RunState
from ml_images.train.schedule import ScheduleConfig
from ml_images.train.session import Session
from ml_images.train.targets import Targets
from ml_images.train.tencent_loss import MlImagesConfig


class Fate(LocalComm):
    """A rank whose sums number `losses` fail, and who hears of another rank before those number `changes`."""

    def __init__(self, losses: tuple[int, ...] = (), changes: tuple[int, ...] = (), sums: str = "step") -> None:
        self.losses, self.changes, self.sums = losses, changes, sums
        self.done, self.groups = 0, 1
        self.unmet = 0  # regroupings that fail

    def sum(self, values: Tensor, name: str) -> Tensor:
        if name.startswith(self.sums):
            self.done += 1
            if self.done in self.losses:
                raise RanksLost("somebody is gone")
        return super().sum(values, name)

    def is_changing(self) -> bool:
        return self.done + 1 in self.changes

    def regroup(self) -> None:
        self.groups += 1
        if self.unmet:
            self.unmet -= 1
            raise RanksLost("nobody is there")


def trained(dataset: Path, output: Path, comm: LocalComm, every: int = 5) -> dict[str, Tensor]:
    """What a run of two epochs, 16 steps each, ends with."""
    job = TrainJob(
        output=str(output),
        epochs=2,
        data=DataConfig(path=str(dataset), batch_size=12, image_size=32),
        model=ModelConfig("tiny_cnn"),
        loss=LossConfig("ml_images"),
        ema=EmaConfig(1.0),
        schedule=ScheduleConfig(warmup_epochs=0.5),
        elastic=ElasticConfig(every),
    )
    end = Session(job, {}, comm, threading.Event).run()
    assert (end.step, end.epoch) == (32, 2)
    saved = checkpoint.latest(output / "checkpoints")
    assert saved is not None and saved.position == end
    history = [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]
    assert [(record["epoch"], record["step"]) for record in history] == [(1, 16), (2, 32)]
    return dict(saved.tensors)


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return trained(dataset, tmp_path_factory.mktemp("undisturbed") / "run", LocalComm())


@pytest.mark.parametrize(
    ("comm", "sums", "groups"),
    [
        (Fate(losses=(8,)), 1 + 32 + 2, 2),  # the steps 6 and 7 are made again
        (Fate(losses=(1,)), 1 + 32, 2),
        (Fate(losses=(8, 9, 10)), 3 + 32 + 2, 4),
        (Fate(losses=(17,)), 1 + 32, 2),  # between epochs there is a commit
        (Fate(losses=(2,), sums="not_finite"), 3, 2),  # before the second evaluation
        (Fate(changes=(8, 20)), 32, 3),
        (Fate(changes=(32,)), 32, 2),
        (Fate(losses=(3,), changes=(7,)), 1 + 32 + 2, 3),
    ],
    ids=[
        "lost",
        "lost at once",
        "lost thrice",
        "lost between epochs",
        "lost at the end",
        "come",
        "come at the end",
        "both",
    ],
)
def test_a_run_ends_bit_for_bit_as_if_nobody_had_been_lost_or_come(
    dataset: Path, tmp_path: Path, undisturbed: dict[str, Tensor], comm: Fate, sums: int, groups: int
) -> None:
    found = trained(dataset, tmp_path / "run", comm)
    assert found.keys() == undisturbed.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in undisturbed.items())
    assert (comm.done, comm.groups) == (sums, groups)


def test_a_run_that_gets_nowhere_is_given_up(dataset: Path, tmp_path: Path) -> None:
    comm = Fate(losses=tuple(range(8, 32)))
    with pytest.raises(InputError, match=r"ranks were lost 6 times behind step 5, and the run came no further"):
        trained(dataset, tmp_path / "run", comm)


def test_ranks_that_do_not_find_each_other_try_again() -> None:
    comm, commit, tried = Fate(), Commit(1), []
    comm.unmet = 2

    def train(stop: Callable[[], bool]) -> bool:
        tried.append(stop())
        return len(tried) == 2

    through_changes(train, comm, lambda: False, commit)
    assert (tried, comm.groups) == ([False, False], 1 + 3)


def test_who_is_to_stop_stops_and_regroups_no_more() -> None:
    comm, tried = Fate(), []

    def train(stop: Callable[[], bool]) -> bool:
        tried.append(stop())
        return False

    through_changes(train, comm, lambda: True, Commit(1))
    assert (tried, comm.groups) == ([True], 1)


def state() -> RunState:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    return RunState(
        model, build_optimizer(OptimConfig(), model), make_loss(LossConfig(), 2, LocalComm()), WeightMean(model)
    )


def moved(state: RunState) -> dict[str, Tensor]:
    """Its tensors after a step, copied."""
    state.model(torch.randn(4, 2)).sum().backward()
    state.optimizer.step()
    assert state.mean
    state.mean.update(state.model, 0.9)
    return {name: tensor.clone() for name, tensor in state.tensors().items()}


def at(step: int, step_in_epoch: int = 1) -> Position:
    return Position(step, step_in_epoch, 10, {"epoch": 0, "place": 0})


def test_a_commit_brings_back_all_that_was_there_then() -> None:
    run, commit = state(), Commit(3)
    assert commit.position is None
    fresh = {name: tensor.clone() for name, tensor in run.tensors().items()}
    commit.take(run, at(0))
    moved(run)
    commit.restore(run)
    found = run.tensors()
    assert found.keys() == fresh.keys()  # the optimizer has forgotten what it had not seen then
    assert all(torch.equal(found[name], tensor) for name, tensor in fresh.items())
    expected = moved(run)
    commit.take(run, at(1))
    moved(run)
    commit.restore(run)
    assert run.tensors().keys() == expected.keys() > fresh.keys()
    moved(run)
    commit.restore(run)  # what was restored once can be restored again
    assert all(torch.equal(run.tensors()[name], tensor) for name, tensor in expected.items())


def test_a_commit_of_two_ranks_goes_on_with_three_and_with_one() -> None:
    """Where the loss counts for each rank by itself."""

    class Ranks(LocalComm):
        def gather(self, rows: Tensor, name: str) -> Tensor:
            return torch.cat([rows, *(torch.zeros_like(rows) for _ in range(self.size - 1))])

    def learn() -> list[list[int]]:
        targets = Targets(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1, dtype=torch.bool))
        run.loss(run.model(torch.randn(1, 4)), targets)
        commit.take(run, at(1))
        return run.tensors()["loss.positive_run"].tolist()

    comm, commit = Ranks(), Commit(1)
    comm.size = 2
    model = nn.Linear(4, 2)
    loss = make_loss(LossConfig("ml_images", ml_images=MlImagesConfig(counters="rank")), 2, comm)
    run = RunState(model, build_optimizer(OptimConfig(), model), loss)
    assert learn() == [[1, 1], [0, 0]]
    for comm.size, wanted in ((3, [[2, 2], [0, 0], [0, 0]]), (1, [[3, 3]]), (2, [[4, 4], [0, 0]])):
        run.fit_ranks()
        commit.restore(run)
        assert learn() == wanted


def test_commits_come_every_few_steps_and_between_epochs() -> None:
    run, commit, taken = state(), Commit(3), []
    for step in range(1, 9):
        commit.take_if_due(run, at(step, step % 5))
        assert commit.position or step < 3
        taken.append(commit.position and commit.position.step)
    assert taken == [None, None, 3, 3, 5, 6, 6, 6]


def test_losses_count_until_there_is_a_newer_commit() -> None:
    run, commit = state(), Commit(1)
    for step in range(3):
        commit.take(run, at(step))
        for _ in range(MOST_LOSSES):
            commit.count_loss()
            commit.take(run, at(step))  # where the run goes on: no progress
        assert commit.position == at(step)
    commit.count_loss()
    with pytest.raises(InputError, match="behind step 2"):
        _ = commit.position


def test_commits_that_never_come_are_refused() -> None:
    with pytest.raises(ValueError, match=r"elastic.commit_every_steps must be >= 1, got 0"):
        ElasticConfig(0)
