from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ml_images.errors import InputError
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Checkpoint, Position
from ml_images.train.comm import Comm, LocalComm
from ml_images.train.ema import WeightMean
from ml_images.train.losses import LossConfig, make_loss
from ml_images.train.model import ModelConfig, build_model
from ml_images.train.optimizers import OptimConfig, build_optimizer
from ml_images.train.run_state import RunState
from ml_images.train.targets import Targets

AT = Position(1, 1, 10, {"epoch": 0, "place": 2})


def make(
    optim: OptimConfig | None = None,
    loss: LossConfig | None = None,
    *,
    seed: int = 0,
    mean: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> RunState:
    torch.manual_seed(seed)
    model = build_model(ModelConfig("tiny_cnn"), 4).to(memory_format=memory_format)
    made = make_loss(loss or LossConfig(), 4, LocalComm())
    return RunState(model, build_optimizer(optim or OptimConfig(), model), made, WeightMean(model) if mean else None)


def step(state: RunState, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    state.optimizer.zero_grad()
    values = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    targets = Targets(values, torch.ones(2, 4, dtype=torch.bool), torch.ones(2, dtype=torch.bool))
    state.loss(state.model(torch.randn(2, 3, 32, 32, generator=generator)), targets).backward()
    state.optimizer.step()
    if state.mean:
        state.mean.update(state.model, 0.9)


def same(one: RunState, other: RunState) -> bool:
    a, b = one.tensors(), other.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


EVERY: dict[str, dict[str, Any]] = {
    "momentum": {},
    "no momentum": {"optim": OptimConfig(momentum=0.0)},
    "adamw": {"optim": OptimConfig("adamw")},
    "lars and a mean": {"optim": OptimConfig("lars"), "mean": True},
    "lamb and counters": {"optim": OptimConfig("lamb"), "loss": LossConfig("ml_images")},
    "lamb and channels last": {"optim": OptimConfig("lamb"), "memory_format": torch.channels_last},
    "counters and a mean": {"loss": LossConfig("ml_images"), "mean": True},
}


@pytest.mark.parametrize("options", EVERY.values(), ids=EVERY)
def test_a_run_restored_from_a_file_makes_the_same_next_steps(tmp_path: Path, options: dict[str, Any]) -> None:
    one, other = make(**options), make(**options, seed=5)
    for number in range(3):
        step(one, number)
    step(other, 99)
    path = checkpoint.save(tmp_path, Checkpoint(AT, None, {}, one.tensors()), keep=1)
    other.load(checkpoint.load(path).tensors)
    assert same(one, other)
    for number in (7, 8):
        step(one, number)
        step(other, number)
    assert same(one, other)


def test_the_tensors_say_what_they_are() -> None:
    state = make(loss=LossConfig("ml_images"), mean=True)
    step(state)
    tensors = state.tensors()
    assert {"model.fc.bias", "mean.fc.bias", "mean.updates", "optimizer.fc.bias.momentum_buffer"} <= tensors.keys()
    assert int(tensors["loss.steps"]) == 1
    assert {name.partition(".")[0] for name in tensors} == {"model", "optimizer", "loss", "mean"}


def test_a_mean_that_was_not_kept_begins_with_the_weights_and_one_that_was_may_end() -> None:
    without, with_mean = make(seed=3), make(mean=True)
    step(without)
    step(with_mean)
    with_mean.load(without.tensors())
    found = with_mean.tensors()
    assert all(torch.equal(found[f"mean.{name}"], found[f"model.{name}"]) for name in without.model.state_dict())
    assert int(found["mean.updates"]) == 0
    step(with_mean)
    without.load(with_mean.tensors())
    assert torch.equal(without.model.get_parameter("fc.bias"), with_mean.model.get_parameter("fc.bias"))


def test_another_network_and_another_loss_are_refused_by_name_and_nothing_changes() -> None:
    other = build_model(ModelConfig("tiny_cnn"), 7)
    network = RunState(other, build_optimizer(OptimConfig(), other), make_loss(LossConfig(), 7, LocalComm()))
    before = {name: tensor.clone() for name, tensor in network.tensors().items()}
    with pytest.raises(InputError, match=r"of another network \(2 tensors differ, first 'fc"):
        network.load(make().tensors())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.tensors().items())
    counting, before = make(loss=LossConfig("ml_images")), {}
    before = {name: tensor.clone() for name, tensor in counting.tensors().items()}
    with pytest.raises(
        InputError, match=r"of another loss \(3 tensors differ, first 'negative_run'\): the section loss"
    ):
        counting.load(make(seed=1).tensors())
    assert all(torch.equal(tensor, before[name]) for name, tensor in counting.tensors().items())


class Sender(LocalComm):
    """Rank 0 of two; keeps what it says."""

    size = 2

    def __init__(self) -> None:
        self.said: list[Any] = []

    def broadcast(self, tensors: Any) -> None:
        self.said.append({name: tensor.clone() for name, tensor in tensors.items()})

    def broadcast_json(self, value: Any, name: str) -> Any:
        self.said.append(value)
        return value


class Receiver(LocalComm):
    """Rank 1, which hears that."""

    rank, size = 1, 2

    def __init__(self, said: list[Any]) -> None:
        self.said = list(said)

    def broadcast(self, tensors: Any) -> None:
        told = self.said.pop(0)
        assert told.keys() == tensors.keys()
        for name, tensor in tensors.items():
            tensor.detach().copy_(told[name])

    def broadcast_json(self, value: Any, name: str) -> Any:
        return self.said.pop(0)


@pytest.mark.parametrize("options", EVERY.values(), ids=EVERY)
def test_all_ranks_get_all_that_rank_0_has(options: dict[str, Any]) -> None:
    one, other, comm = make(**options), make(**options, seed=5), Sender()
    step(one)
    one.share(comm)
    other.share(Receiver(comm.said))
    assert same(one, other)
    for state in (one, other):
        step(state, 3)
    assert same(one, other)


class Twin(LocalComm):
    """Rank 0 of two; the statistics of the other one are 0."""

    size = 2

    def sum(self, values: Tensor, name: str) -> Tensor:
        return values.clone()


@pytest.mark.parametrize("comm", [LocalComm(), Twin()], ids=["one rank", "two ranks"])
def test_within_statistics_are_the_mean_over_ranks_and_the_best_weights_are_their_mean(comm: Comm) -> None:
    state = make(mean=True)
    for number in range(3):
        step(state, number)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    statistics = "features.1.running_mean"
    with state.averaged(comm):
        within = state.tensors()
        for prefix in ("model.", "mean."):
            assert torch.equal(within[prefix + statistics], before[prefix + statistics] / comm.size)
        with state.best_weights():
            held = state.model.state_dict()
            assert torch.equal(held[statistics], before[f"mean.{statistics}"] / comm.size)
            assert torch.equal(held["fc.weight"], before["mean.fc.weight"])
        assert torch.equal(state.model.state_dict()["fc.weight"], before["model.fc.weight"])
    after = state.tensors()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not torch.equal(before["mean.fc.weight"], before["model.fc.weight"])
