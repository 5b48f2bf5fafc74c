from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from ml_images.train.comm import LocalComm
from ml_images.train.optimizer_state import load_state_tensors, share_state, state_tensors
from ml_images.train.optimizers import OptimConfig, build_optimizer

NAMES = ("sgd", "lars", "adamw", "lamb")


def make(name: str, seed: int) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    return model, build_optimizer(OptimConfig(name, lr=0.1), model)


def train(model: nn.Module, optimizer: Optimizer, steps: int) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        (model(torch.full((1, 3), float(step + 1))) ** 2).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_from_a_file_as_if_it_had_never_stopped(name: str, tmp_path: Path) -> None:
    model, optimizer = make(name, seed=1)
    train(model, optimizer, 3)
    save_file(state_tensors(model, optimizer), tmp_path / "state")
    other, resumed = make(name, seed=2)
    other.load_state_dict(model.state_dict())
    train(other, resumed, 1)  # what it remembers of this has to go
    other.load_state_dict(model.state_dict())
    load_state_tensors(other, resumed, load_file(tmp_path / "state"))
    train(model, optimizer, 2)
    train(other, resumed, 2)
    assert torch.equal(other.weight, model.weight)
    assert torch.equal(other.bias, model.bias)


def test_tensors_are_named_by_parameter_and_purpose() -> None:
    names = {}
    for name in NAMES:
        model, optimizer = make(name, seed=0)
        assert state_tensors(model, optimizer) == {}
        train(model, optimizer, 1)
        names[name] = set(state_tensors(model, optimizer))
    assert names["sgd"] == names["lars"] == {"weight.momentum_buffer", "bias.momentum_buffer"}
    adam = {f"{p}.{what}" for p in ("weight", "bias") for what in ("exp_avg", "exp_avg_sq", "step")}
    assert names["adamw"] == names["lamb"] == adam


def test_what_is_loaded_is_a_copy() -> None:
    model, optimizer = make("sgd", seed=0)
    train(model, optimizer, 1)
    other, resumed = make("sgd", seed=0)
    load_state_tensors(other, resumed, state_tensors(model, optimizer))
    before = state_tensors(other, resumed)["weight.momentum_buffer"].clone()
    train(model, optimizer, 1)
    assert torch.equal(state_tensors(other, resumed)["weight.momentum_buffer"], before)


class First(LocalComm):
    """Rank 0, which says things."""

    size = 2

    def __init__(self) -> None:
        self.said: list[Any] = []

    def broadcast_json(self, value: Any, name: str) -> Any:
        self.said.append(value)
        return value

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        self.said.append({name: tensor.clone() for name, tensor in tensors.items()})


class Second(LocalComm):
    """Rank 1, which hears them in the same order."""

    rank, size = 1, 2

    def __init__(self, said: list[Any]) -> None:
        self._said = iter(said)

    def broadcast_json(self, value: Any, name: str) -> Any:
        return next(self._said)

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        said = next(self._said)
        assert {name: t.shape for name, t in tensors.items()} == {name: t.shape for name, t in said.items()}
        for name, tensor in tensors.items():
            tensor.copy_(said[name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [0, 2])
def test_every_rank_gets_what_the_first_remembers(name: str, steps: int) -> None:
    first, second = make(name, seed=0), make(name, seed=1)
    train(*first, steps)
    train(*second, 1)
    comm = First()
    share_state(*first, comm)
    share_state(*second, Second(comm.said))
    expected, found = state_tensors(*first), state_tensors(*second)
    assert set(expected) == set(found)
    assert bool(expected) == (steps > 0)
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_loaded_lies_in_memory_as_the_optimizer_made_it(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(OptimConfig(name, lr=0.1), model)
    model(torch.ones(1, 4, 5, 5).to(memory_format=torch.channels_last)).sum().backward()
    optimizer.step()
    made = state_tensors(model, optimizer)
    layout = {key: tensor.stride() for key, tensor in made.items()}
    assert (3 * 3 * 4, 1, 3 * 4, 4) in layout.values()
    load_state_tensors(model, optimizer, {key: tensor.contiguous() for key, tensor in made.items()})
    loaded = state_tensors(model, optimizer)
    assert {key: tensor.stride() for key, tensor in loaded.items()} == layout
    assert all(torch.equal(loaded[key], tensor) for key, tensor in made.items())
