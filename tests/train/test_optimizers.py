import math

import pytest
import torch
from torch import Tensor, nn

from ml_images.train.lamb import Lamb
from ml_images.train.lars import Lars
from ml_images.train.model import ModelConfig, build_model
from ml_images.train.optimizers import OptimConfig, build_optimizer

NAMES = ("sgd", "lars", "adamw", "lamb")


def decays(config: OptimConfig, model: nn.Module) -> dict[str, float]:
    """parameter -> its weight decay."""
    groups = build_optimizer(config, model).param_groups
    by_id = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    return {name: by_id[id(parameter)] for name, parameter in model.named_parameters() if id(parameter) in by_id}


@pytest.mark.parametrize("name", NAMES)
def test_only_weights_are_decayed(name: str) -> None:
    model = build_model(ModelConfig("tiny_cnn"), 2)
    found = decays(OptimConfig(name, weight_decay=0.5), model)
    assert found == {name: 0.5 if p.ndim > 1 else 0.0 for name, p in model.named_parameters()}


def test_biases_and_norms_are_decayed_on_request() -> None:
    model = nn.ModuleDict({"conv": nn.Conv2d(1, 1, 1), "bn": nn.BatchNorm2d(1), "ln": nn.LayerNorm(2)})
    found = decays(OptimConfig(weight_decay=0.5, bias_decay=1, norm_decay=0.1), model)
    weights, norms = {"conv.weight": 0.5, "conv.bias": 0.5}, ("bn.weight", "bn.bias", "ln.weight", "ln.bias")
    assert found == weights | dict.fromkeys(norms, 0.05)


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)).requires_grad_(False)
    model[1].weight.requires_grad_()
    assert set(decays(OptimConfig(), model)) == {"1.weight"}


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_biases_and_norms_do_not_adapt(name: str) -> None:
    model = build_model(ModelConfig("tiny_cnn"), 2)
    groups = build_optimizer(OptimConfig(name), model).param_groups
    assert {group["adapt"]: {p.ndim for p in group["params"]} for group in groups} == {True: {2, 4}, False: {1}}


def weight_after(config: OptimConfig, gradient: Tensor) -> Tensor:
    torch.manual_seed(0)
    model = nn.Linear(4, 3, bias=False)
    optimizer = build_optimizer(config, model)
    for scale in (1.0, 2.0, -0.5):
        model.weight.grad = scale * gradient
        optimizer.step()
    return model.weight.detach()


@pytest.mark.parametrize(
    ("config", "kind", "options"),
    [
        (OptimConfig(lr=0.2, weight_decay=0.1), torch.optim.SGD, {"momentum": 0.9}),
        (OptimConfig(lr=0.2, nesterov=True, weight_decay=0.1), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (OptimConfig("adamw", lr=0.2, momentum=0.8, weight_decay=0.1), torch.optim.AdamW, {"betas": (0.8, 0.999)}),
        (OptimConfig("lars", lr=0.2, momentum=0.8, weight_decay=0.1), Lars, {"momentum": 0.8}),
        (OptimConfig("lamb", lr=0.2, momentum=0.8, weight_decay=0.1), Lamb, {"betas": (0.8, 0.999)}),
    ],
)
def test_options_reach_the_optimizer(config: OptimConfig, kind: type[torch.optim.Optimizer], options: dict) -> None:
    gradient = torch.arange(12.0).view(3, 4)
    torch.manual_seed(0)
    weight = nn.Linear(4, 3, bias=False).weight
    expected = kind([weight], lr=0.2, weight_decay=0.1, **options)
    for scale in (1.0, 2.0, -0.5):
        weight.grad = scale * gradient
        expected.step()
    assert torch.allclose(weight_after(config, gradient), weight)


@pytest.mark.parametrize("name", NAMES)
def test_the_norm_of_gradients_can_be_limited_for_all_of_them(name: str) -> None:
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(OptimConfig(name, clip_norm=1.0), model)
    model.weight.grad, model.bias.grad = torch.full((1, 1), 3.0), torch.full((1,), 4.0)
    optimizer.step()
    assert [float(model.weight.grad), float(model.bias.grad)] == pytest.approx([0.6, 0.8], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"lr": 0}, "optim.lr must be > 0 and finite, got 0"),
        ({"lr": math.nan}, "optim.lr must be > 0 and finite, got nan"),
        ({"momentum": 1}, r"optim.momentum must be in \[0, 1\), got 1"),
        ({"momentum": math.nan}, r"optim.momentum must be in \[0, 1\), got nan"),
        ({"weight_decay": -1}, "optim.weight_decay must be >= 0 and finite, got -1"),
        ({"norm_decay": math.inf}, "optim.norm_decay must be >= 0 and finite, got inf"),
        ({"clip_norm": -1}, "optim.clip_norm must be >= 0 and finite, got -1"),
        ({"nesterov": True, "momentum": 0}, "optim.nesterov=true needs optim.name=sgd and .* got sgd and 0"),
        ({"nesterov": True, "name": "lars"}, "optim.nesterov=true needs optim.name=sgd and .* got lars and 0.9"),
    ],
)
def test_impossible_numbers_are_refused(options: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        OptimConfig(**options)
