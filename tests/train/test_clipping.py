import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from ml_images.train.clipping import clipped


def stepped(kind: type[Optimizer], gradients: list[list[float]]) -> list[list[float]]:
    """How far each parameter goes, at a learning rate of 1."""
    parameters = [nn.Parameter(torch.zeros(len(gradient))) for gradient in gradients]
    groups = [{"params": [parameter], "clip_norm": 2.0} for parameter in parameters]
    optimizer = kind(groups, lr=1.0)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    optimizer.step()
    return [(-parameter.detach()).tolist() for parameter in parameters]


def test_all_gradients_together_are_shortened_to_the_norm() -> None:
    (a,), (b,) = stepped(clipped(SGD), [[6.0], [8.0]])
    assert (a, b) == pytest.approx((1.2, 1.6), rel=1e-5)


def test_shorter_ones_are_left_alone() -> None:
    assert stepped(clipped(SGD), [[0.6], [0.8]]) == [[pytest.approx(0.6)], [pytest.approx(0.8)]]


def test_parameters_without_a_gradient_do_not_matter() -> None:
    parameters = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    optimizer = clipped(SGD)([{"params": parameters, "clip_norm": 1.0}], lr=1.0)
    parameters[0].grad = torch.tensor([5.0])
    optimizer.step()
    assert [float(p.detach()) for p in parameters] == pytest.approx([-1.0, 0.0], rel=1e-5)
